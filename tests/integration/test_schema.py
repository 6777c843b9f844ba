"""The index file: constraints, SQL indexes, files that aren't an index, and the single writer."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import ColumnElement, Engine, event, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from hydindex.common.errors import IndexDamaged, IndexLocked, IndexMissing, IndexUnusable
from hydindex.records.files import FileMetadata, PreparedFile, Thumbnail
from hydindex.records.pair_states import TRANSITIONS, Event, PairState
from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store import schema
from hydindex.store.compared_set import ComparedSet
from hydindex.store.database import opened_database
from hydindex.store.decision_log import DecisionLog
from hydindex.store.migration import upgrade
from hydindex.store.store import Store, open_for_reading, open_for_writing

OPEN = [open_for_reading, open_for_writing]


def save_file(store: Store, name: str = "a") -> None:
    metadata = FileMetadata(1, name * 64, 1000, "video/mp4", 480, 270, 8000.0, 96)
    prepared = PreparedThumbnail(average_hash=2**63, blobs={"signature": b"views"})
    store.files.save([PreparedFile(Thumbnail(metadata, b"picture"), prepared)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of an index that doesn't exist yet."""
    return tmp_path / "hydindex.db"


@pytest.fixture
def index(path: Path) -> Path:
    """An index with one file, closed."""
    with open_for_writing(path) as store:
        save_file(store)
    return path


def query(path: Path, sql: str) -> list[Any]:
    """Query the file itself, without hydindex."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def other_files(path: Path) -> list[str]:
    """Files in the folder of the index, without those that SQLite and the lock create."""
    ignored = {f"{path.name}{suffix}" for suffix in ("", "-wal", "-shm", ".lock", ".holder")}
    return sorted(each.name for each in path.parent.iterdir() if each.name not in ignored)


def test_opening_an_index_again_changes_nothing(index: Path) -> None:
    def content() -> list[Any]:
        return query(index, "SELECT * FROM sqlite_master") + query(index, "SELECT * FROM file")

    before = content()
    for open_index in OPEN:
        with open_index(index):
            pass
    assert content() == before
    assert other_files(index) == []


def test_reading_a_missing_index_does_not_create_it(path: Path) -> None:
    with pytest.raises(IndexMissing), open_for_reading(path):
        pass
    assert not path.exists()


def test_an_index_opened_for_reading_cannot_be_changed(index: Path) -> None:
    with open_for_reading(index) as store, pytest.raises(IndexUnusable):
        save_file(store, "b")
    assert query(index, "SELECT count(*) FROM file") == [(1,)]


# Files that aren't an index


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


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        pytest.param(make_random, IndexDamaged, id="random bytes"),
        pytest.param(cut_to(0.001), IndexDamaged, id="cut after a few bytes"),
        pytest.param(cut_to(0.5), IndexDamaged, id="cut in the middle"),
        pytest.param(cut_to(0.9), IndexDamaged, id="cut near the end"),
        pytest.param(make_foreign, IndexUnusable, id="of another program"),
    ],
)
@pytest.mark.parametrize("open_index", OPEN)
def test_a_file_that_is_not_a_sound_index_is_refused_and_left_unchanged(
    open_index: Callable[[Path], Any],
    spoil: Callable[[Path], None],
    error: type[IndexUnusable],
    index: Path,
) -> None:
    spoil(index)
    before = index.read_bytes()
    with pytest.raises(error, match=re.escape(str(index))) as caught, open_index(index) as store:
        store.summary()
    assert ("hydindex repair" if error is IndexDamaged else "index.path") in caught.value.remedy
    assert index.read_bytes() == before
    assert other_files(index) == []


@pytest.mark.parametrize("open_index", OPEN)
def test_a_folder_is_not_an_index(open_index: Callable[[Path], Any], path: Path) -> None:
    path.mkdir()
    with pytest.raises(IndexUnusable), open_index(path):
        pass


@pytest.mark.parametrize("command", ["stats", "update", "rebuild"])
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        pytest.param(make_random, "index_damaged", id="damaged"),
        pytest.param(make_foreign, "index_unusable", id="foreign"),
    ],
)
def test_a_command_exits_with_4_before_it_asks_hydrus(
    spoil: Callable[[Path], None], kind: str, command: str, index: Path
) -> None:
    spoil(index)
    config = index.with_name("hydrus_config.json")
    # Nothing listens on port 1: a command that asks Hydrus first exits with 3.
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


PICTURES = ["thumbnail", *schema.PICTURE_TABLES]
ACCEPTED = [
    insert_file(SHA_A),
    insert_file(SHA_B, compared_since=1),
    insert_file(SHA_C, state="unusable", average_hash=None, unusable_reason="no picture"),
    insert_pair(1, 2),
    insert_pair(1, 3, state="refused", reason="'no'"),
    *(f"INSERT INTO {table} VALUES (1, 'x')" for table in PICTURES),
    "INSERT INTO membership VALUES (1, 1, 2)",
    "INSERT INTO index_state VALUES (1, '{}', 1)",
]
REJECTED = {
    "a second file with a sha256": (insert_file(SHA_A), "UNIQUE.*file.sha256"),
    "half a sha256": (insert_file("x'abcd'"), "ck_file_sha256"),
    "a file without a sha256": (insert_file("NULL"), "NOT NULL.*file.sha256"),
    "an unknown state of a file": (
        "UPDATE file SET state = 'lost', average_hash = NULL WHERE id = 1",
        "ck_file_state",
    ),
    "an unusable file without a reason": (
        "UPDATE file SET unusable_reason = NULL WHERE id = 3",
        "ck_file_reason",
    ),
    "a usable file with a reason": (
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
    "a pair twice": (insert_pair(1, 2, state="posted"), "UNIQUE.*pair.low_id"),
    "a pair with an unknown file": (insert_pair(2, 77), "FOREIGN KEY"),
    "a pair of unknown files": (insert_pair(76, 77), "FOREIGN KEY"),
    "an unknown state of a pair": (insert_pair(2, 3, state="lost"), "ck_pair_state"),
    "an unknown decision": ("UPDATE pair SET decision = 'maybe'", "ck_pair_decision"),
    "a refused pair without a reason": (insert_pair(2, 3, state="refused"), "ck_pair_reason"),
    "a queued pair with a reason": (insert_pair(2, 3, reason="'no'"), "ck_pair_reason"),
    "deleting a file of a pair": ("DELETE FROM file WHERE id = 2", "FOREIGN KEY"),
    **{
        f"a {table} of an unknown file": (f"INSERT INTO {table} VALUES (77, 'x')", "FOREIGN KEY")
        for table in PICTURES
    },
    **{
        f"a second {table} of a file": (f"INSERT INTO {table} VALUES (1, 'x')", "UNIQUE")
        for table in PICTURES
    },
    "an interval that ends before it begins": (
        "INSERT INTO membership VALUES (2, 4, 4)",
        "ck_membership_order",
    ),
    "a second state of the index": (
        "INSERT INTO index_state VALUES (2, '{}', 1)",
        "ck_index_state_single",
    ),
}


@pytest.mark.parametrize(("statement", "constraint"), REJECTED.values(), ids=REJECTED)
def test_the_database_rejects(statement: str, constraint: str, path: Path) -> None:
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
with open_for_writing(Path(sys.argv[1]), "update") as store:
    store.runs.start("update", dry_run=False, config={})
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


def test_a_second_writer_is_refused_while_readers_are_not(index: Path) -> None:
    with held_by_another_process(index) as holder:
        named = rf"update, process {holder.pid}\b"
        with pytest.raises(IndexLocked, match=named), open_for_writing(index):
            pass
        with open_for_reading(index) as store:
            assert store.summary().waiting_files == 1
            assert store.runs.latest()[0].finished_at is None


def test_one_process_cannot_open_the_index_for_writing_twice(index: Path) -> None:
    with open_for_writing(index, "rebuild"):
        named = rf"rebuild, process {os.getpid()}\b"
        with pytest.raises(IndexLocked, match=named), open_for_writing(index):
            pass


def test_a_reader_does_not_block_the_writer(index: Path) -> None:
    with closing(sqlite3.connect(index)) as reader, open_for_writing(index) as store:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM file").fetchall()
        save_file(store, "b")
        assert reader.execute("SELECT count(*) FROM file").fetchone() == (1,)


def test_a_writer_that_ends_or_is_killed_releases_the_index(index: Path) -> None:
    with held_by_another_process(index) as holder:
        holder.kill()
        holder.wait()
        for name in "bc":
            with open_for_writing(index) as store:
                save_file(store, name)
    assert query(index, "SELECT count(*) FROM file") == [(3,)]


# The states of a pair


@pytest.mark.parametrize("state", PairState)
@pytest.mark.parametrize("event", Event)
def test_an_event_moves_a_pair_only_from_the_states_of_the_table(
    event: Event, state: PairState, path: Path
) -> None:
    reason = "'no'" if state is PairState.REFUSED else "NULL"
    with open_for_writing(path) as store:
        for statement in (
            insert_file(SHA_A),
            insert_file(SHA_B),
            insert_pair(1, 2, state=state, reason=reason),
        ):
            query(path, statement)
        pair = OutboxPair(FilePair(1, 2), "a" * 64, "b" * 64, 0.9)
        new_reason = "no" if event is Event.REFUSE else None
        if state in TRANSITIONS[event].sources:
            store.outbox.apply(event, [pair], reason=new_reason)
            state = TRANSITIONS[event].target
        else:
            with pytest.raises(ValueError, match=event.name):
                store.outbox.apply(event, [pair], reason=new_reason)
    assert query(path, "SELECT state FROM pair") == [(state.value,)]


# SQL indexes


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        (schema.IS_COMPARED & schema.file.c.duration_ms.between(1, 2), "ix_file_compared"),
        (schema.IS_UNCOMPARED, "ix_file_uncompared"),
        (schema.IS_UNPREPARED, "ix_file_unprepared"),
        (schema.IS_UNUSABLE & (schema.file.c.checked_at <= "now"), "ix_file_unusable"),
        (schema.IS_GONE, "ix_file_gone"),
    ],
)
def test_an_update_finds_waiting_files_through_a_sql_index(
    index: Path, condition: ColumnElement[bool], name: str
) -> None:
    query_text = (
        select(schema.file.c.mime)
        .where(condition)
        .compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    )
    (step,) = query(index, f"EXPLAIN QUERY PLAN {query_text}")
    assert name in step[3]


def plan_of(path: Path, read: Callable[[Engine], object]) -> list[str]:
    """Return SQLite's plan for the last statement of a call."""
    executed: list[tuple[str, Any]] = []
    with opened_database(path) as engine:
        upgrade(engine, path)
        event.listen(engine, "before_cursor_execute", lambda *call: executed.append(call[2:4]))
        read(engine)
    statement, parameters = executed[-1]
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return [step for *_, step in plan]


def test_candidates_are_found_without_reading_rows_of_files(path: Path) -> None:
    (step,) = plan_of(path, lambda engine: ComparedSet(engine).compared_between(1.0, 2.0))
    assert "COVERING INDEX ix_file_compared" in step


def test_pairs_to_check_for_decisions_are_found_without_sorting(path: Path) -> None:
    steps = plan_of(path, lambda engine: DecisionLog(engine).least_recently_checked(500))
    assert "INDEX ix_pair_open" in steps[0]
    assert not any("TEMP B-TREE" in step for step in steps)
