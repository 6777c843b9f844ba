"""The index as a whole: opened for one writer or for reading, and its recipe."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select

from hydindex.errors import ConfigChanged, HydindexError, IndexLocked, IndexMissing
from hydindex.index.comparisons import ComparisonStore
from hydindex.index.database import open_database
from hydindex.index.files import FileStore
from hydindex.index.lock import exclusive
from hydindex.index.migrate import require_present_schema, upgrade
from hydindex.index.outbox import OutboxStore
from hydindex.index.runs import RunStore
from hydindex.index.schema import file, index_state
from hydindex.index.summary import Summary, summarize
from hydindex.recipe import Recipe, RecipeChange, changes, redo_text


class Index:
    """One SQLite file; each part of it has its own store."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.path = path
        self.files = FileStore(engine)
        self.comparisons = ComparisonStore(engine)
        self.outbox = OutboxStore(engine)
        self.runs = RunStore(engine)
        self._engine = engine

    def recipe_changes(self, recipe: Recipe) -> list[RecipeChange]:
        """Tell in which keys a recipe differs from the one that the data was made with."""
        stored = self._recipe()
        return [] if stored is None else changes(stored, recipe)

    def adopt(self, recipe: dict[str, Any]) -> None:
        """Make sure that the data is made with this recipe, which an empty index simply takes up.

        Raises:
            ConfigChanged: the data was made with another one.
        """
        found = self.recipe_changes(recipe)
        if not self._holds_files():
            with self._engine.begin() as connection:
                connection.execute(delete(index_state))
                connection.execute(insert(index_state).values(id=1, recipe=recipe, next_step=1))
        elif found:
            raise ConfigChanged(
                "The config has changed since the index was made:\n"
                + "\n".join(f"  {change}" for change in found),
                f"Run hydindex rebuild, which {redo_text(found)} and fetches nothing, "
                "or take the change back. Nothing was done.",
            )

    def summary(self) -> Summary:
        """Count what the index holds."""
        return summarize(self._engine)

    def _recipe(self) -> Recipe | None:
        with self._engine.connect() as connection:
            return connection.execute(select(index_state.c.recipe)).scalar_one_or_none()

    def _holds_files(self) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(select(func.max(file.c.id))).scalar() is not None


@contextmanager
def open_for_writing(path: Path) -> Iterator[Index]:
    """Open or create the index, bring it to the present schema, and hold it for one run.

    Raises:
        IndexLocked, IndexTooNew, IndexUnusable: it cannot be held or read.
    """
    try:
        with exclusive(path), _engine(path) as engine:
            upgrade(engine, path)
            yield Index(engine, path)
    except IndexLocked as error:
        raise IndexLocked(f"{error.message}{_holder(path)}", error.remedy) from None


@contextmanager
def open_for_reading(path: Path) -> Iterator[Index]:
    """Open the index without holding it: a run may go on meanwhile. Nothing can be changed.

    Raises:
        IndexMissing, IndexOutdated, IndexTooNew, IndexUnusable: there is none, or none to read.
    """
    if not path.exists():
        raise IndexMissing(f"There is no index at {path} yet", "Run hydindex update first.")
    with _engine(path, read_only=True) as engine:
        require_present_schema(engine, path)
        yield Index(engine, path)


@contextmanager
def _engine(path: Path, *, read_only: bool = False) -> Iterator[Engine]:
    engine = open_database(path, read_only=read_only)
    try:
        yield engine
    finally:
        engine.dispose()


def _holder(path: Path) -> str:
    """Say which run holds the index, as far as the index tells."""
    try:
        with open_for_reading(path) as index:
            latest = index.runs.latest()
    except HydindexError:  # it is being made, or brought up to date, just now
        return ""
    if not latest or latest[0].finished_at is not None:
        return ""
    return f": {latest[0].command}, process {latest[0].process_id}, since {latest[0].started_at}"
