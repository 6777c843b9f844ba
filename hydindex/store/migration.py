"""Brings an index to the present schema with Alembic, after copying it aside."""

import logging
from collections.abc import Collection
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from hydindex.common.errors import IndexDamaged, IndexOutdated, IndexTooNew, IndexUnusable
from hydindex.store.backup import copy_aside
from hydindex.store.schema import REVISION

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
    raise too_new(path, revision)


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
        raise too_new(path, revision)

    copy = None if revision is None else copy_aside(path, before="migration")
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
    if is_of_another_program(tables):
        raise foreign(path)
    if "alembic_version" in tables:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if revision is not None:
            return str(revision)
    raise IndexDamaged(path, "it does not tell its schema")


def is_of_another_program(tables: Collection[str]) -> bool:
    """Whether these are the tables of something else."""
    return not {"alembic_version", "file", "pair"} & set(tables)


def foreign(path: Path) -> IndexUnusable:
    """Say that a file is no index."""
    return IndexUnusable(
        f"The file {path} is a database, but no index of hydindex",
        "Name another file in index.path of the config.",
    )


def _run_migrations(engine: Engine, migrations: Path, target: str) -> None:
    from alembic import command  # slow to import, and seldom needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, target)


def too_new(path: Path, revision: str) -> IndexTooNew:
    """Say that a newer hydindex is needed."""
    return IndexTooNew(
        f"A newer hydindex wrote the index {path} (its schema is {revision}, this hydindex "
        f"knows {REVISION})",
        "Install the newer hydindex again. Nothing was changed.",
    )
