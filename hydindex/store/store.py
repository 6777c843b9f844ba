"""The index as a whole: opening it for one writer or for reading, and its recipe."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select

from hydindex.common.errors import IndexDamaged, IndexMissing
from hydindex.store.backup import backups
from hydindex.store.compared_set import ComparedSet
from hydindex.store.database import opened_database
from hydindex.store.decision_log import DecisionLog
from hydindex.store.file_store import FileStore
from hydindex.store.frame_store import FrameStore
from hydindex.store.lock import exclusive
from hydindex.store.migration import require_current_schema, upgrade
from hydindex.store.outbox import Outbox
from hydindex.store.pair_list import PairList
from hydindex.store.posted_record import PostedRecord
from hydindex.store.run_log import RunLog
from hydindex.store.schema import file, index_state
from hydindex.store.shared_pictures import SharedPictures
from hydindex.store.summary import Summary, summarize

log = logging.getLogger(__name__)


class Store:
    """The index. Each of its parts has an attribute."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        self.files = FileStore(engine)
        self.compared_set = ComparedSet(engine)
        self.frames = FrameStore(engine)
        self.outbox = Outbox(engine)
        self.pairs = PairList(engine)
        self.shared_pictures = SharedPictures(engine)
        self.posted = PostedRecord(engine)
        self.decisions = DecisionLog(engine)
        self.runs = RunLog(engine)
        self._engine = engine

    def set_initial_recipe(self, recipe: dict[str, Any]) -> None:
        """Set the recipe of an index that holds no files."""
        if self.stored_recipe() is None or not self.holds_files():
            with self._engine.begin() as connection:
                connection.execute(delete(index_state))
                connection.execute(insert(index_state).values(id=1, recipe=recipe, next_step=1))

    def require_undamaged(self) -> None:
        """Check the whole file for damage; this takes some seconds per gigabyte.

        Raises:
            IndexDamaged: it is damaged.
        """
        with self._engine.connect() as connection:
            finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if finding != "ok":
            raise IndexDamaged(self.path, str(finding))

    def summary(self) -> Summary:
        """Return counts of files and pairs."""
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
def open_for_writing(path: Path, command: str) -> Iterator[Store]:
    """Lock the index for one command, creating it or upgrading its schema if necessary.

    Raises:
        IndexLocked, IndexTooNew, IndexDamaged, IndexUnusable: it can't be locked or read.
    """
    with exclusive(path, command) as ended_cleanly:
        require_no_orphaned_backups(path)
        with opened_database(path) as engine:
            store = Store(engine, path)
            if not ended_cleanly:
                log.info("the last run was interrupted: checking the index for damage")
                store.require_undamaged()
            upgrade(engine, path)
            yield store


def require_no_orphaned_backups(path: Path) -> None:
    """Check that a missing index never existed.

    Raises:
        IndexDamaged: backups of it exist.
    """
    if (not path.exists() or path.stat().st_size == 0) and backups(path):
        raise IndexDamaged(path, "it is empty or missing, but backups of it exist")


@contextmanager
def open_for_reading(path: Path) -> Iterator[Store]:
    """Open the index without locking it: a run may write meanwhile. Nothing can be changed.

    Raises:
        IndexMissing, IndexOutdated, IndexTooNew, IndexUnusable: it doesn't exist or can't be read.
    """
    if not path.exists():
        raise IndexMissing(path)
    with opened_database(path, read_only=True) as engine:
        require_current_schema(engine, path)
        yield Store(engine, path)
