"""Upgrade the schema of an index with Alembic, after a backup."""

import logging
from collections.abc import Collection
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import Engine, inspect, text

from hydindex.common.errors import IndexDamaged, IndexOutdated, IndexTooNew, IndexUnusable
from hydindex.store.backup import back_up
from hydindex.store.schema import REVISION

log = logging.getLogger(__name__)

MIGRATIONS = files("hydindex.migrations")


def require_current_schema(engine: Engine, path: Path) -> None:
    """Check that an index has the current schema.

    Raises:
        IndexOutdated, IndexTooNew: an older or newer hydindex wrote it.
    """
    if _revision(engine, path) != REVISION:
        raise IndexOutdated(
            f"The index {path} has the schema of an older hydindex",
            "Run hydindex update, which upgrades it.",
        )


def upgrade(engine: Engine, path: Path) -> None:
    """Upgrade an empty or older index to the current schema, in one transaction.

    Raises:
        IndexTooNew: a newer hydindex wrote it.
    """
    revision = _revision(engine, path)
    if revision == REVISION:
        return
    from alembic import command  # slow to import
    from alembic.config import Config

    backup = None
    if revision is not None:
        log.info("upgrading the index from schema %s to %s", revision, REVISION)
        backup = back_up(path, before="upgrade")
    try:
        with as_file(MIGRATIONS) as folder, engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(folder).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, REVISION)
    except BaseException:
        if backup is not None:  # the index is unchanged; failed tries must not leave backups
            backup.unlink()
        raise


def require_readable(path: Path, tables: Collection[str], revision: str | None) -> None:
    """Check that the tables and the schema's revision, if any, are those of an index.

    Raises:
        IndexTooNew: a newer hydindex wrote it.
        IndexUnusable: the tables belong to another program.
    """
    if tables and not {"alembic_version", "file", "pair"} & set(tables):
        raise IndexUnusable(
            f"The file {path} is a database, but not an index of hydindex",
            "Name another file in index.path of the config.",
        )
    if revision is not None and revision > REVISION:
        raise IndexTooNew(
            f"A newer hydindex wrote the index {path} (schema {revision}; this hydindex knows "
            f"{REVISION})",
            "Install the newer hydindex. Nothing was changed.",
        )


def _revision(engine: Engine, path: Path) -> str | None:
    """Return the schema's revision; None for a file without tables."""
    revision: str | None = None
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        if "alembic_version" in tables:
            query = text("SELECT version_num FROM alembic_version")
            revision = connection.execute(query).scalar()
    require_readable(path, tables, revision)
    if tables and revision is None:
        raise IndexDamaged(path, "its schema version is missing")
    return revision
