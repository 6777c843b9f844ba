"""The index file: its schema and constraints, its upgrades, its damages, and its one writer."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import ColumnElement, Engine, event, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from hydindex.common.errors import (
    IndexDamaged,
    IndexLocked,
    IndexMissing,
    IndexOutdated,
    IndexTooNew,
    IndexUnusable,
)
from hydindex.records.files import FileMetadata, PreparedFile, Thumbnail, hex_hashes
from hydindex.records.pictures import Packed
from hydindex.store import schema
from hydindex.store.compared_set import ComparedSet
from hydindex.store.database import opened_database
from hydindex.store.decision_log import DecisionStore
from hydindex.store.migration import MIGRATIONS_PACKAGE, upgrade
from hydindex.store.store import Store, open_for_reading, open_for_writing

DOORS = [open_for_reading, open_for_writing]


def save_file(index: Store, name: str = "a") -> None:
    remote = FileMetadata(1, name * 64, 1000, "video/mp4", 480, 270, 8000.0, 96)
    packed = Packed(average_hash=2**63, pixels=b"pixels", sums=b"sums")
    index.files.save([PreparedFile(Thumbnail(remote, b"picture"), packed)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an index may lie; none is there yet."""
    return tmp_path / "hydindex.db"


@pytest.fixture
def index_file(path: Path) -> Path:
    """An index with one file in it, closed."""
    with open_for_writing(path) as index:
        save_file(index)
    return path


def query(path: Path, sql: str) -> list[Any]:
    """Ask the file itself, past hydindex."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def revision(path: Path) -> str:
    return str(query(path, "SELECT version_num FROM alembic_version")[0][0])


def set_revision(path: Path, name: str) -> None:
    query(path, f"UPDATE alembic_version SET version_num = '{name}'")


def schema_sql(path: Path) -> dict[str, str]:
    """What SQLite keeps of every table and index, whatever the spacing."""
    rows = query(path, "SELECT name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'")
    return {name: re.sub(r"\s*([(),])\s*|\s+", r"\1 ", sql or "").strip() for name, sql in rows}


def neighbours(path: Path) -> list[str]:
    """Other files in the index's folder, but for those that SQLite and the lock make."""
    ignored = {f"{path.name}{suffix}" for suffix in ("", "-wal", "-shm", ".lock", ".holder")}
    return sorted(each.name for each in path.parent.iterdir() if each.name not in ignored)


# The schema


def test_the_migrations_make_the_tables_of_the_schema(path: Path) -> None:
    with opened_database(path) as engine:
        upgrade(engine, path)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, schema.metadata) == []


def test_the_migrations_make_them_word_by_word_with_all_constraints(
    path: Path, tmp_path: Path
) -> None:
    by_hand = tmp_path / "metadata.db"
    with opened_database(by_hand) as engine:
        schema.metadata.create_all(engine)
    with opened_database(path) as engine:
        upgrade(engine, path)
    assert schema_sql(path) == schema_sql(by_hand)
    assert {"file", "pair", "thumbnail", "ix_pair_state"} <= schema_sql(path).keys()


def test_the_schema_s_revision_is_the_newest_migration() -> None:
    with as_file(files(MIGRATIONS_PACKAGE)) as folder:
        config = AlembicConfig()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_a_new_index_has_the_newest_schema(path: Path) -> None:
    with opened_database(path) as engine:
        assert upgrade(engine, path) is None
    assert revision(path) == schema.REVISION
    assert neighbours(path) == []


def test_opening_again_changes_nothing(index_file: Path) -> None:
    before = schema_sql(index_file), query(index_file, "SELECT * FROM file")
    for door in DOORS:
        with door(index_file):
            pass
    assert (schema_sql(index_file), query(index_file, "SELECT * FROM file")) == before
    assert neighbours(index_file) == []


def test_an_index_that_is_not_there_cannot_be_read_and_is_not_made(path: Path) -> None:
    with pytest.raises(IndexMissing), open_for_reading(path):
        pass
    assert not path.exists()


# Upgrades

NEWER = "9999"
ADD_NOTE = 'op.execute("ALTER TABLE file ADD COLUMN note TEXT")'


def migrations_with(folder: Path, *upgrade_lines: str) -> Path:
    """The shipped migrations, and a newer one that hydindex does not know of."""
    copy = folder / "migrations"
    with as_file(files(MIGRATIONS_PACKAGE)) as shipped:
        shutil.copytree(shipped, copy, ignore=shutil.ignore_patterns("__pycache__"))
    body = "\n    ".join(upgrade_lines)
    (copy / "versions" / f"{NEWER}_newer.py").write_text(
        "from alembic import op\n"
        f'revision = "{NEWER}"\n'
        f'down_revision = "{schema.REVISION}"\n'
        f"def upgrade() -> None:\n    {body}\n",
        encoding="utf-8",
    )
    return copy


def columns(path: Path) -> set[str]:
    return {row[1] for row in query(path, "PRAGMA table_info(file)")}


def test_an_older_index_is_copied_aside_and_upgraded(path: Path, tmp_path: Path) -> None:
    migrations = migrations_with(tmp_path / "newer", ADD_NOTE)
    with open_for_writing(path) as index, opened_database(path) as engine:
        save_file(index)  # waits in the write-ahead log, and must be copied all the same
        copy = upgrade(engine, path, migrations=migrations, target=NEWER)
        assert upgrade(engine, path, migrations=migrations, target=NEWER) is None

    assert copy is not None
    assert neighbours(path) == sorted([copy.name, "newer"])
    assert revision(copy) == schema.REVISION
    assert revision(path) == NEWER
    assert columns(path) == columns(copy) | {"note"}
    for each in (path, copy):
        assert query(each, "SELECT hex(sha256) FROM file") == [("A" * 64,)]
        assert query(each, "SELECT picture FROM thumbnail") == [(b"picture",)]


def test_the_copy_of_an_older_index_is_an_index(index_file: Path, tmp_path: Path) -> None:
    migrations = migrations_with(tmp_path / "newer", ADD_NOTE)
    with opened_database(index_file) as engine:
        copy = upgrade(engine, index_file, migrations=migrations, target=NEWER)
    assert copy is not None
    with open_for_writing(copy) as index:
        assert index.summary().waiting_files == 1


@pytest.mark.parametrize(
    ("trouble", "error"),
    [('raise RuntimeError("no")', RuntimeError), ('op.execute("NO SQL")', IndexUnusable)],
)
def test_a_migration_that_fails_leaves_the_index_as_it_was(
    trouble: str, error: type[Exception], index_file: Path, tmp_path: Path
) -> None:
    before = columns(index_file)
    migrations = migrations_with(
        tmp_path / "newer", ADD_NOTE, 'op.execute("DELETE FROM thumbnail")', trouble
    )
    with opened_database(index_file) as engine, pytest.raises(error):
        upgrade(engine, index_file, migrations=migrations, target=NEWER)
    assert revision(index_file) == schema.REVISION
    assert columns(index_file) == before
    with open_for_writing(index_file) as index:
        assert hex_hashes(index.files.indexed().sha256) == ["a" * 64]
        assert index.files.unprepared_count() == 0


def test_an_older_index_is_not_upgraded_by_reading_it(index_file: Path) -> None:
    set_revision(index_file, "0000")
    with pytest.raises(IndexOutdated, match="older") as caught, open_for_reading(index_file):
        pass
    assert "hydindex update" in caught.value.remedy
    assert revision(index_file) == "0000"


@pytest.mark.parametrize("door", DOORS)
def test_a_newer_index_is_left_alone(
    door: Callable[[Path], Any], index_file: Path, tmp_path: Path
) -> None:
    with opened_database(index_file) as engine:
        newer = migrations_with(tmp_path / "newer", ADD_NOTE)
        upgrade(engine, index_file, migrations=newer, target=NEWER)
    before, beside = index_file.read_bytes(), neighbours(index_file)
    with pytest.raises(IndexTooNew, match=NEWER), door(index_file):
        pass
    assert index_file.read_bytes() == before
    assert neighbours(index_file) == beside


# Files that are no index, or no longer one


def make_newer(path: Path) -> None:
    set_revision(path, NEWER)


def make_foreign(path: Path) -> None:
    path.unlink()
    query(path, "CREATE TABLE recipe AS SELECT 'pancakes' AS name")


def make_random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(20_000))


def cut_to(share: float) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return cut


SPOILT = [
    pytest.param(make_random, id="random bytes"),
    pytest.param(cut_to(0.001), id="cut after a few bytes"),
    pytest.param(cut_to(0.5), id="cut in the middle"),
    pytest.param(cut_to(0.9), id="cut near the end"),
]


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("door", DOORS)
def test_a_file_that_is_no_sound_index_is_refused_and_left_untouched(
    door: Callable[[Path], Any], spoil: Callable[[Path], None], index_file: Path
) -> None:
    spoil(index_file)
    before = index_file.read_bytes()
    named = re.escape(str(index_file))
    with pytest.raises(IndexDamaged, match=named) as caught, door(index_file) as index:
        index.summary()
    assert "hydindex repair" in caught.value.remedy
    assert index_file.read_bytes() == before
    assert neighbours(index_file) == []


@pytest.mark.parametrize("door", DOORS)
def test_a_database_of_another_program_is_refused_and_left_untouched(
    door: Callable[[Path], Any], index_file: Path
) -> None:
    make_foreign(index_file)
    before = index_file.read_bytes()
    with pytest.raises(IndexUnusable, match="no index of hydindex"), door(index_file):
        pass
    assert index_file.read_bytes() == before
    assert neighbours(index_file) == []


def test_a_folder_is_no_index(path: Path) -> None:
    path.mkdir()
    for door in DOORS:
        with pytest.raises(IndexUnusable), door(path):
            pass


def test_an_index_that_is_opened_for_reading_cannot_be_changed(index_file: Path) -> None:
    with open_for_reading(index_file) as index, pytest.raises(IndexUnusable):
        save_file(index, "b")
    assert query(index_file, "SELECT count(*) FROM file") == [(1,)]


@pytest.mark.parametrize("command", ["stats", "update", "rebuild"])
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        pytest.param(make_newer, "index_too_new", id="newer"),
        pytest.param(make_random, "index_damaged", id="damaged"),
        pytest.param(make_foreign, "index_unusable", id="foreign"),
    ],
)
def test_every_command_ends_with_exit_code_4_before_hydrus_is_asked(
    spoil: Callable[[Path], None], kind: str, command: str, index_file: Path
) -> None:
    spoil(index_file)
    config = index_file.with_name("hydrus_config.json")
    # Nothing listens on port 1: whoever asks Hydrus first ends with exit code 3.
    config.write_text('{"api_key": "0123456789abcdef", "api_port": 1}', encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "hydindex", command, "--json", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    outcome = json.loads(ended.stdout)
    assert ended.returncode == outcome["exit_code"] == 4
    assert outcome["error"]["kind"] == kind
    assert "Traceback" not in ended.stderr


# Constraints

SHA_A, SHA_B, SHA_C = (f"x'{name * 64}'" for name in "abc")


def insert_file(
    sha256: str, *, state: str = "prepared", average_hash: int | None = 1, **values: Any
) -> str:
    values = {"state": state, "average_hash": average_hash, "checked_at": "now", **values}
    sql = ", ".join("NULL" if value is None else repr(value) for value in values.values())
    return f"INSERT INTO file (sha256, {', '.join(values)}) VALUES ({sha256}, {sql})"


def insert_pair(low: int, high: int, *, state: str = "queued", reason: str = "NULL") -> str:
    columns = "low_id, high_id, score, matches, state, reason, state_at"
    return (
        f"INSERT INTO pair ({columns}) VALUES ({low}, {high}, 0.9, 1, '{state}', {reason}, 'now')"
    )


ACCEPTED = [
    insert_file(SHA_A),
    insert_file(SHA_B, compared_since=1),
    insert_file(SHA_C, state="unusable", average_hash=None, unusable_reason="no picture"),
    insert_pair(1, 2),
    insert_pair(1, 3, state="refused", reason="'no'"),
    "INSERT INTO thumbnail VALUES (1, 'picture')",
    "INSERT INTO prepared_picture VALUES (1, 'pixels')",
    "INSERT INTO coarse_picture VALUES (1, 'sums')",
    "INSERT INTO signature VALUES (1, 'views')",
    "INSERT INTO membership VALUES (1, 1, 2)",
    "INSERT INTO index_state VALUES (1, '{}', 1)",
]
REFUSED = {
    "a sha256 that is there already": (insert_file(SHA_A), "UNIQUE.*file.sha256"),
    "half a sha256": (insert_file("x'abcd'"), "ck_file_sha256"),
    "a file without a sha256": (insert_file("NULL"), "NOT NULL.*file.sha256"),
    "a file's state that does not exist": (
        "UPDATE file SET state = 'lost', average_hash = NULL WHERE id = 1",
        "ck_file_state",
    ),
    "an unusable file without a reason": (
        "UPDATE file SET unusable_reason = NULL WHERE id = 3",
        "ck_file_reason",
    ),
    "a reason for a file that can be used": (
        "UPDATE file SET unusable_reason = 'none' WHERE id = 1",
        "ck_file_reason",
    ),
    "a prepared file without a hash": (
        "UPDATE file SET average_hash = NULL WHERE id = 1",
        "ck_file_prepared",
    ),
    "a compared file that is gone": (
        "UPDATE file SET gone_at = 'now' WHERE id = 2",
        "ck_file_compared",
    ),
    "a compared file that is not prepared": (
        "UPDATE file SET state = 'fetched', average_hash = NULL WHERE id = 2",
        "ck_file_compared",
    ),
    "a pair in the wrong order": (insert_pair(3, 2), "ck_pair_order"),
    "a file with itself": (insert_pair(2, 2), "ck_pair_order"),
    "a pair that is there already": (insert_pair(1, 2, state="posted"), "UNIQUE.*pair.low_id"),
    "a pair with an unknown file": (insert_pair(2, 77), "FOREIGN KEY"),
    "a pair of unknown files": (insert_pair(76, 77), "FOREIGN KEY"),
    "a pair's state that does not exist": (insert_pair(2, 3, state="lost"), "ck_pair_state"),
    "an outcome that does not exist": ("UPDATE pair SET outcome = 'maybe'", "ck_pair_outcome"),
    "a refused pair without a reason": (insert_pair(2, 3, state="refused"), "ck_pair_reason"),
    "a reason for a pair not refused": (insert_pair(2, 3, reason="'no'"), "ck_pair_reason"),
    "the loss of a file of a pair": ("DELETE FROM file WHERE id = 2", "FOREIGN KEY"),
    "a thumbnail of an unknown file": ("INSERT INTO thumbnail VALUES (77, 'x')", "FOREIGN KEY"),
    "a picture of an unknown file": (
        "INSERT INTO prepared_picture VALUES (77, 'x')",
        "FOREIGN KEY",
    ),
    "a coarse picture of an unknown file": (
        "INSERT INTO coarse_picture VALUES (77, 'x')",
        "FOREIGN KEY",
    ),
    "a signature of an unknown file": ("INSERT INTO signature VALUES (77, 'x')", "FOREIGN KEY"),
    "a second thumbnail of a file": ("INSERT INTO thumbnail VALUES (1, 'x')", "UNIQUE"),
    "a second picture of a file": ("INSERT INTO prepared_picture VALUES (1, 'x')", "UNIQUE"),
    "a second coarse picture of a file": ("INSERT INTO coarse_picture VALUES (1, 'x')", "UNIQUE"),
    "a second signature of a file": ("INSERT INTO signature VALUES (1, 'x')", "UNIQUE"),
    "a stay that ends before it began": (
        "INSERT INTO membership VALUES (2, 4, 4)",
        "ck_membership_order",
    ),
    "a second state of the index": (
        "INSERT INTO index_state VALUES (2, '{}', 1)",
        "ck_index_state_single",
    ),
}


@pytest.mark.parametrize(("statement", "constraint"), REFUSED.values(), ids=REFUSED)
def test_the_database_itself_refuses(statement: str, constraint: str, path: Path) -> None:
    with opened_database(path) as engine:
        upgrade(engine, path)
        with engine.begin() as connection:
            for accepted in ACCEPTED:
                connection.exec_driver_sql(accepted)
        with pytest.raises(IntegrityError, match=constraint), engine.begin() as connection:
            connection.exec_driver_sql(statement)


# One writer

HOLD_THE_INDEX = """
import sys
from pathlib import Path
from hydindex.store.store import open_for_writing
with open_for_writing(Path(sys.argv[1]), "update") as index:
    index.runs.start("update", dry_run=False, config={})
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", HOLD_THE_INDEX, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_second_writer_is_told_which_process_holds_the_index(index_file: Path) -> None:
    with held_by_another_process(index_file) as holder:
        named = rf"update, process {holder.pid}\b"
        with pytest.raises(IndexLocked, match=named), open_for_writing(index_file):
            pass


def test_one_process_cannot_open_the_index_for_writing_twice(index_file: Path) -> None:
    with open_for_writing(index_file, "rebuild"):
        named = rf"rebuild, process {os.getpid()}\b"
        with pytest.raises(IndexLocked, match=named), open_for_writing(index_file):
            pass


def test_an_index_that_is_being_written_can_be_read(index_file: Path) -> None:
    with held_by_another_process(index_file), open_for_reading(index_file) as index:
        assert index.summary().waiting_files == 1
        assert index.runs.latest()[0].finished_at is None


def test_a_reader_does_not_hinder_the_writer(index_file: Path) -> None:
    with closing(sqlite3.connect(index_file)) as reader, open_for_writing(index_file) as index:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM file").fetchall()
        save_file(index, "b")
        assert reader.execute("SELECT count(*) FROM file").fetchone() == (1,)


def test_a_writer_that_is_killed_frees_the_index(index_file: Path) -> None:
    with held_by_another_process(index_file) as holder:
        holder.kill()
        holder.wait()
        with open_for_writing(index_file) as index:
            save_file(index, "b")
    assert query(index_file, "SELECT count(*) FROM file") == [(2,)]


def test_a_writer_that_ends_frees_the_index(index_file: Path) -> None:
    for name in "bc":
        with open_for_writing(index_file) as index:
            save_file(index, name)
    assert query(index_file, "SELECT count(*) FROM file") == [(3,)]


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        (schema.IS_COMPARED & schema.file.c.duration_ms.between(1, 2), "ix_file_compared"),
        (schema.IS_UNCOMPARED, "ix_file_uncompared"),
        (schema.IS_UNPREPARED, "ix_file_unprepared"),
        (schema.IS_UNUSABLE & (schema.file.c.checked_at <= "now"), "ix_file_unusable"),
        (schema.IS_GONE, "ix_file_gone"),
    ],
)
def test_a_night_looks_up_what_waits_and_scans_no_table(
    tmp_path: Path, condition: ColumnElement[bool], index: str
) -> None:
    path = tmp_path / "hydindex.db"
    with open_for_writing(path):
        pass
    query = select(schema.file.c.mime).where(condition)
    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with closing(sqlite3.connect(path)) as connection:
        (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
    assert index in plan[3]


def plan_of(path: Path, ask: Callable[[Engine], object]) -> list[str]:
    """Say how SQLite goes about the last statement of a store, step by step."""
    asked: list[tuple[str, Any]] = []
    with opened_database(path) as engine:
        upgrade(engine, path)
        event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
        ask(engine)
    statement, parameters = asked[-1]
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return [step for *_, step in plan]


def test_neighbours_in_duration_are_found_without_touching_a_row_of_a_file(path: Path) -> None:
    (step,) = plan_of(path, lambda engine: ComparedSet(engine).compared_between(1.0, 2.0))
    assert "COVERING INDEX ix_file_compared" in step


def test_posted_pairs_are_asked_about_in_turn_without_sorting_them_all(path: Path) -> None:
    steps = plan_of(path, lambda engine: DecisionStore(engine).open_longest(500))
    assert "INDEX ix_pair_open" in steps[0]
    assert not any("TEMP B-TREE" in step for step in steps)
