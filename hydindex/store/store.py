"""The index as a whole: opened for one writer or for reading, and its recipe."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select

from hydindex.common.errors import IndexDamaged, IndexMissing
from hydindex.store.backup import copies, copy_aside
from hydindex.store.compared_set import ComparedSet
from hydindex.store.database import opened_database, require_sound
from hydindex.store.decision_log import DecisionStore
from hydindex.store.file_store import FileStore
from hydindex.store.frame_store import FrameStore
from hydindex.store.lock import exclusive
from hydindex.store.migration import require_present_schema, upgrade
from hydindex.store.outbox import OutboxStore
from hydindex.store.pair_list import PairStore
from hydindex.store.posted_record import PostedRecord
from hydindex.store.run_log import RunStore
from hydindex.store.schema import file, index_state
from hydindex.store.summary import Summary, summarize

log = logging.getLogger(__name__)


class Store:
    """One SQLite file; each part of it has its own store."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        self.files = FileStore(engine)
        self.comparisons = ComparedSet(engine)
        self.second_look = FrameStore(engine)
        self.outbox = OutboxStore(engine)
        self.pairs = PairStore(engine)
        self.posted = PostedRecord(engine)
        self.decisions = DecisionStore(engine)
        self.runs = RunStore(engine)
        self._engine = engine

    def begin_with(self, recipe: dict[str, Any]) -> None:
        """Take up a recipe where nothing is made with any yet."""
        if self.stored_recipe() is None or not self.holds_files():
            with self._engine.begin() as connection:
                connection.execute(delete(index_state))
                connection.execute(insert(index_state).values(id=1, recipe=recipe, next_step=1))

    def copy_aside(self, *, before: str) -> None:
        """Copy the index, before what changes much of it."""
        copy = copy_aside(self.path, before=before)
        log.info("a copy of the index is at %s", copy)

    def require_sound(self) -> None:
        """Look through the whole file for damages; some seconds a gigabyte.

        Raises:
            IndexDamaged: there are some.
        """
        require_sound(self._engine, self.path)

    def summary(self) -> Summary:
        """Count what the index holds."""
        return summarize(self._engine)

    def stored_recipe(self) -> dict[str, Any] | None:
        """Return the recipe that the data was made with; None for a new index."""
        with self._engine.connect() as connection:
            return connection.execute(select(index_state.c.recipe)).scalar_one_or_none()

    def holds_files(self) -> bool:
        """Return whether the index has any file."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.max(file.c.id))).scalar() is not None


@contextmanager
def open_for_writing(path: Path, command: str = "hydindex") -> Iterator[Store]:
    """Open or create the index, bring it to the present schema, and hold it for one command.

    Raises:
        IndexLocked, IndexTooNew, IndexDamaged, IndexUnusable: it cannot be held or read.
    """
    with exclusive(path, command) as ended_well:
        require_not_lost(path)
        with opened_database(path) as engine:
            if not ended_well:
                log.info("the last run was cut short: looking through the index for damages")
                require_sound(engine, path)
            upgrade(engine, path)
            yield Store(engine, path)


def require_not_lost(path: Path) -> None:
    """Make sure that an index that is not there never was.

    Raises:
        IndexDamaged: copies of it lie beside its place.
    """
    if (not path.exists() or path.stat().st_size == 0) and copies(path):
        raise IndexDamaged(path, "it is empty or missing, though copies of it lie beside it")


@contextmanager
def open_for_reading(path: Path) -> Iterator[Store]:
    """Open the index without holding it: a run may go on meanwhile. Nothing can be changed.

    Raises:
        IndexMissing, IndexOutdated, IndexTooNew, IndexUnusable: there is none, or none to read.
    """
    if not path.exists():
        raise IndexMissing(f"There is no index at {path} yet", "Run hydindex update first.")
    with opened_database(path, read_only=True) as engine:
        require_present_schema(engine, path)
        yield Store(engine, path)
