"""Upgrade the schema of an index with Alembic, after a backup."""

import logging
from collections.abc import Collection
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from hydindex.common.errors import IndexDamaged, IndexOutdated, IndexTooNew, IndexUnusable
from hydindex.store.backup import back_up
from hydindex.store.schema import REVISION

log = logging.getLogger(__name__)

MIGRATIONS_PACKAGE: Final = "hydindex.migrations"


def require_present_schema(engine: Engine, path: Path) -> None:
    """Check that an index has the current schema.

    Raises:
        IndexOutdated, IndexTooNew: an older or newer hydindex wrote it.
    """
    with engine.connect() as connection:
        revision = _revision(connection, path)
    if revision == REVISION:
        return
    if revision is None or revision < REVISION:
        raise IndexOutdated(
            f"The index {path} has the schema of an older hydindex",
            "Run hydindex update, which upgrades it.",
        )
    raise too_new(path, revision)


def upgrade(
    engine: Engine, path: Path, *, migrations: Path | None = None, target: str = REVISION
) -> Path | None:
    """Upgrade an empty or older index to the schema `target`, in one transaction.

    Returns the backup that was made of an older index, or None.

    Raises:
        IndexTooNew: a newer hydindex wrote it.
    """
    with engine.connect() as connection:
        revision = _revision(connection, path)
    if revision == target:
        return None
    if revision is not None and revision > target:
        raise too_new(path, revision)

    backup = None if revision is None else back_up(path, before="upgrade")
    if backup is not None:
        log.info("upgrading the index from schema %s to %s; backup: %s", revision, target, backup)
    try:
        if migrations is not None:
            _run_migrations(engine, migrations, target)
        else:
            with as_file(files(MIGRATIONS_PACKAGE)) as packaged:
                _run_migrations(engine, packaged, target)
    except BaseException:
        if backup is not None:  # the index is unchanged; failed tries must not leave backups
            backup.unlink()
        raise
    return backup


def _revision(connection: Connection, path: Path) -> str | None:
    """Return the schema's revision; None for a file without tables."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if is_of_another_program(tables):
        raise foreign(path)
    if "alembic_version" in tables:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if revision is not None:
            return str(revision)
    raise IndexDamaged(path, "its schema version is missing")


def is_of_another_program(tables: Collection[str]) -> bool:
    """Return whether these tables belong to another program."""
    return not {"alembic_version", "file", "pair"} & set(tables)


def foreign(path: Path) -> IndexUnusable:
    """Return the error that a file is not an index."""
    return IndexUnusable(
        f"The file {path} is a database, but not an index of hydindex",
        "Name another file in index.path of the config.",
    )


def _run_migrations(engine: Engine, migrations: Path, target: str) -> None:
    from alembic import command  # slow to import
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, target)


def too_new(path: Path, revision: str) -> IndexTooNew:
    """Return the error that a newer hydindex is needed."""
    return IndexTooNew(
        f"A newer hydindex wrote the index {path} (schema {revision}; this hydindex knows "
        f"{REVISION})",
        "Install the newer hydindex. Nothing was changed.",
    )
