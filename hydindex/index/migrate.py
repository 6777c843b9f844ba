"""Brings an index to the present schema with Alembic, after copying it aside."""

import logging
import sqlite3
from contextlib import closing
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from hydindex.clock import file_timestamp
from hydindex.errors import IndexOutdated, IndexTooNew
from hydindex.index.database import unusable
from hydindex.index.schema import REVISION

log = logging.getLogger(__name__)

MIGRATIONS_PACKAGE: Final = "hydindex.migrations"


def require_present_schema(engine: Engine, path: Path) -> None:
    """Make sure that an index can be read as it stands.

    Raises:
        IndexOutdated, IndexTooNew: an older or a newer hydindex wrote it.
    """
    with engine.connect() as connection:
        revision = _revision(connection, path)
    if revision == REVISION:
        return
    if revision is None or revision < REVISION:
        raise IndexOutdated(
            f"The index {path} has the schema of an older hydindex",
            "Run hydindex update, which brings it up to date.",
        )
    raise _too_new(path, revision)


def upgrade(
    engine: Engine, path: Path, *, migrations: Path | None = None, target: str = REVISION
) -> Path | None:
    """Bring an index, empty or older, to the schema `target`.

    Returns the copy that was made of an older index first, or None where none was needed. All
    migrations run in one transaction: they all count, or none.

    Raises:
        IndexTooNew: a newer hydindex wrote it.
    """
    with engine.connect() as connection:
        revision = _revision(connection, path)
    if revision == target:
        return None
    if revision is not None and revision > target:
        raise _too_new(path, revision)

    copy = None if revision is None else _copy_aside(path, revision)
    if copy is not None:
        log.info("bringing the index from schema %s to %s; a copy is at %s", revision, target, copy)
    try:
        if migrations is not None:
            _run_migrations(engine, migrations, target)
        else:
            with as_file(files(MIGRATIONS_PACKAGE)) as packaged:
                _run_migrations(engine, packaged, target)
    except BaseException:
        if copy is not None:  # the index is as it was: every failed try would leave one more copy
            copy.unlink()
        raise
    return copy


def _revision(connection: Connection, path: Path) -> str | None:
    """Read the schema's revision; None for a file without any tables."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise unusable(path, "file is not a database of hydindex")
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


def _copy_aside(path: Path, revision: str) -> Path:
    """Copy the index as SQLite sees it, what waits in its write-ahead log included."""
    copy = path.with_name(f"{path.name}.schema-{revision}.{file_timestamp()}.bak")
    half_copy = copy.with_suffix(".part")
    try:
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(half_copy)) as target,
        ):
            source.backup(target)
        half_copy.rename(copy)
    except (sqlite3.Error, OSError) as error:
        half_copy.unlink(missing_ok=True)
        raise unusable(path, f"it cannot be copied aside before the migration: {error}") from None
    return copy


def _run_migrations(engine: Engine, migrations: Path, target: str) -> None:
    from alembic import command  # slow to import, and seldom needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, target)


def _too_new(path: Path, revision: str) -> IndexTooNew:
    return IndexTooNew(
        f"A newer hydindex wrote the index {path} (its schema is {revision}, this hydindex "
        f"knows {REVISION})",
        "Install the newer hydindex again. Nothing was changed.",
    )
