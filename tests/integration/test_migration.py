"""Upgrading an older index: backup, Alembic run from inside hydindex, and rollback on failure.

No older schema exists yet. So the index of these tests has today's schema, and the test adds a
revision to a copy of the shipped migrations.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import as_file
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from conftest import Home, Library, count, rows
from newer_schema import NEW, install, uninstall, write_migrations

from hydindex.standin.server import StandIn
from hydindex.store import schema
from hydindex.store.database import opened_database
from hydindex.store.migration import MIGRATIONS, upgrade
from hydindex.store.store import open_for_writing

NewerHydindex = Callable[..., None]
ADD_COLUMN = 'op.execute("ALTER TABLE file ADD COLUMN note TEXT")'
DELETE_THUMBNAILS = 'op.execute("DELETE FROM thumbnail")'


@pytest.fixture
def library(library: Library) -> Library:
    return library[:12]


@pytest.fixture
def newer_hydindex(tmp_path: Path) -> Iterator[NewerHydindex]:
    """Let the commands of this process be those of a hydindex with one more revision."""
    yield lambda *lines: install(write_migrations(tmp_path / "newer", *lines))
    uninstall()


def dump(path: Path) -> list[str]:
    """The whole file as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def backups(home: Home) -> list[Path]:
    return list(home.folder.glob("*.before-upgrade.bak"))


def columns(home: Home) -> set[str]:
    return {row[1] for row in home.sql("PRAGMA table_info(file)")}


# The shipped migrations


def created(path: Path) -> dict[str, str]:
    """The SQL of every table and SQL index, whatever the spacing."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'"
        ).fetchall()
    return {name: re.sub(r"\s*([(),])\s*|\s+", r"\1 ", sql or "").strip() for name, sql in rows}


def test_the_migrations_create_the_tables_of_the_schema_with_all_constraints(
    tmp_path: Path,
) -> None:
    migrated, expected = tmp_path / "migrated.db", tmp_path / "expected.db"
    with opened_database(migrated) as engine:
        upgrade(engine, migrated)
    assert not list(tmp_path.glob("*.bak"))  # a new index needs no backup
    with opened_database(expected) as engine:
        schema.metadata.create_all(engine)
    assert created(migrated) == created(expected)
    assert {"file", "pair", "membership", "ix_pair_open"} <= created(migrated).keys()


def test_the_revision_of_the_schema_is_the_newest_migration() -> None:
    with as_file(MIGRATIONS) as folder:
        assert ScriptDirectory(str(folder)).get_heads() == [schema.REVISION]


# Upgrades


@pytest.mark.parametrize("words", [["update"], ["update", "--dry-run"], ["rebuild"]])
def test_a_command_that_writes_backs_up_and_upgrades_an_older_index(
    home: Home, posted: StandIn, newer_hydindex: NewerHydindex, words: list[str]
) -> None:
    before, potentials, old_columns = dump(home.index), posted.potentials, columns(home)
    newer_hydindex(ADD_COLUMN)
    posted.clear_log()
    for _ in range(2):  # the second run finds nothing to upgrade
        assert home.run(*words).exit_code == 0
        assert home.sql("SELECT version_num FROM alembic_version") == [(NEW,)]
        (backup,) = backups(home)
    assert dump(backup) == before
    assert columns(home) == old_columns | {"note"}
    home.assert_sound()
    assert count(posted, "/thumbnail") == 0
    assert home.pairs("posted") == potentials
    assert rows(posted) == []


def test_the_backup_includes_the_write_ahead_log_and_is_an_index(
    home: Home, posted: StandIn, newer_hydindex: Callable[..., None]
) -> None:
    with open_for_writing(home.index, "test") as written, opened_database(home.index) as engine:
        written.runs.start("update", dry_run=False, config={})  # is in the write-ahead log
        newer_hydindex(DELETE_THUMBNAILS)
        upgrade(engine, home.index)
    uninstall()
    (backup,) = backups(home)
    home.index = backup
    assert home.sql("SELECT count(*) FROM run") == [(2,)]
    assert home.sql("SELECT count(*) FROM thumbnail") == [(12,)]
    home.configure(index={"path": str(backup)})
    sent = rows(posted)
    home.update()
    assert rows(posted) == sent


@pytest.mark.usefixtures("posted")
def test_a_command_that_reads_leaves_an_older_index_unchanged(
    home: Home, newer_hydindex: NewerHydindex
) -> None:
    before = dump(home.index)
    newer_hydindex(ADD_COLUMN)
    for words in (["stats"], ["rebuild", "--dry-run"]):
        assert "hydindex update" in home.fail(*words, expect=4, kind="index_outdated")
    assert dump(home.index) == before
    assert backups(home) == []


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [
        ('raise RuntimeError("no")', 70),
        ("raise KeyboardInterrupt", 130),
        ('op.execute("NO SQL")', 4),
    ],
)
def test_a_failed_upgrade_leaves_the_index_unchanged_and_no_backup(
    home: Home, posted: StandIn, newer_hydindex: NewerHydindex, failure: str, exit_code: int
) -> None:
    before, potentials = dump(home.index), posted.potentials
    posted.clear_log()
    newer_hydindex(ADD_COLUMN, DELETE_THUMBNAILS, failure)
    for _ in range(2):
        assert home.run("update").exit_code == exit_code
        assert dump(home.index) == before
        assert backups(home) == []
    assert posted.requests == []

    uninstall()
    home.update()
    assert home.pairs("posted") == potentials
    assert rows(posted) == []


def test_no_upgrade_without_space_for_the_backup(
    home: Home,
    newer_hydindex: NewerHydindex,
    posted: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = dump(home.index)
    posted.clear_log()
    newer_hydindex(ADD_COLUMN)
    usage = shutil.disk_usage(home.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    error = home.fail("update", expect=4, kind="index_unusable")
    assert "too little space to back up the index" in error
    assert dump(home.index) == before
    assert posted.requests == []


def test_a_newer_index_is_refused_and_left_unchanged(
    home: Home, posted: StandIn, newer_hydindex: NewerHydindex
) -> None:
    newer_hydindex(ADD_COLUMN)
    home.update()
    uninstall()
    before, beside = home.index.read_bytes(), set(home.folder.iterdir())
    posted.clear_log()
    for command in ("stats", "update", "rebuild", "repair"):
        error = home.fail(command, expect=4, kind="index_too_new")
        assert NEW in error
        assert "newer hydindex" in error
    assert home.index.read_bytes() == before
    assert set(home.folder.iterdir()) - beside <= {home.folder / "hydindex.log"}
    assert posted.requests == []


def test_an_index_without_a_revision_is_damaged(home: Home, posted: StandIn) -> None:
    home.sql("DELETE FROM alembic_version")
    posted.clear_log()
    for command in ("stats", "update"):
        home.fail(command, expect=4, kind="index_damaged")
    assert posted.requests == []
