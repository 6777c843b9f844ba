"""The index file: constraints, SQL indexes, files that aren't an index, and the single writer."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Home, Library, Serve
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import IntegrityError

from hydindex.records.pair_states import TRANSITIONS, Event, PairState
from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.standin.server import StandIn
from hydindex.store import schema
from hydindex.store.compared_set import ComparedSet
from hydindex.store.database import opened_database
from hydindex.store.decision_log import DecisionLog
from hydindex.store.file_store import FileStore
from hydindex.store.migration import upgrade
from hydindex.store.store import open_for_writing


@pytest.fixture
def library(library: Library) -> Library:
    return library[:3]


# Files that aren't an index


def make_foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipe AS SELECT 'pancakes' AS name")


def make_random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(20_000))


def cut_to(share: float) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return cut


@pytest.mark.parametrize(
    ("spoil", "kind", "remedy"),
    [
        pytest.param(make_random, "index_damaged", "hydindex repair", id="random bytes"),
        pytest.param(cut_to(0.001), "index_damaged", "hydindex repair", id="a few bytes"),
        pytest.param(cut_to(0.5), "index_damaged", "hydindex repair", id="half"),
        pytest.param(cut_to(0.9), "index_damaged", "hydindex repair", id="most"),
        pytest.param(make_foreign, "index_unusable", "index.path", id="of another program"),
    ],
)
def test_a_file_that_is_not_a_sound_index_is_refused_before_any_request_and_left_unchanged(
    home: Home, posted: StandIn, spoil: Callable[[Path], None], kind: str, remedy: str
) -> None:
    spoil(home.index)
    before = home.index.read_bytes()
    posted.clear_log()
    for command in ("stats", "update", "rebuild"):
        error = home.fail(command, expect=4, kind=kind)
        assert str(home.index) in error
        assert remedy in error
    assert home.index.read_bytes() == before
    assert not list(home.folder.glob("*.bak"))
    assert posted.requests == []


def test_a_folder_is_not_an_index(home: Home, client: StandIn) -> None:
    home.index.mkdir()
    for command in ("stats", "update"):
        home.fail(command, expect=4, kind="index_unusable")
    assert client.requests == []


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
    insert_file(SHA_A, hydrus_id=7),
    insert_file(SHA_B, compared_since=1),
    insert_file(SHA_C, state="unusable", average_hash=None, unusable_reason="no picture"),
    insert_pair(1, 2),
    insert_pair(1, 3, state="refused", reason="'no'"),
    *(f"INSERT INTO {table} VALUES (1, 'x')" for table in PICTURES),
    "INSERT INTO membership VALUES (1, 1, 2)",
    "INSERT INTO index_state VALUES (1, '{}', 1, NULL)",
]
UNPREPARED = "average_hash = NULL"
REJECTED = [
    (insert_file(SHA_A), "UNIQUE.*file.sha256"),
    (insert_file("x'abcd'"), "ck_file_sha256"),
    (insert_file("NULL"), "NOT NULL.*file.sha256"),
    (f"UPDATE file SET state = 'lost', {UNPREPARED} WHERE id = 1", "ck_file_state"),
    ("UPDATE file SET unusable_reason = NULL WHERE id = 3", "ck_file_reason"),
    ("UPDATE file SET unusable_reason = 'none' WHERE id = 1", "ck_file_reason"),
    ("UPDATE file SET state = 'fetched' WHERE id = 1", "ck_file_prepared"),
    ("UPDATE file SET gone_at = 'now' WHERE id = 2", "ck_file_compared"),
    (f"UPDATE file SET state = 'fetched', {UNPREPARED} WHERE id = 2", "ck_file_compared"),
    ("UPDATE file SET gone_at = 'now' WHERE id = 1", "ck_file_identified"),
    ("UPDATE file SET hydrus_id = 7 WHERE id = 2", "UNIQUE.*file.hydrus_id"),
    (insert_pair(3, 2), "ck_pair_order"),
    (insert_pair(2, 2), "ck_pair_order"),
    (insert_pair(1, 2, state="posted"), "UNIQUE.*pair.low_id"),
    (insert_pair(2, 77), "FOREIGN KEY"),
    (insert_pair(2, 3, state="lost"), "ck_pair_state"),
    ("UPDATE pair SET decision = 'maybe'", "ck_pair_decision"),
    (insert_pair(2, 3, state="refused"), "ck_pair_reason"),
    (insert_pair(2, 3, reason="'no'"), "ck_pair_reason"),
    ("DELETE FROM file WHERE id = 2", "FOREIGN KEY"),
    *((f"INSERT INTO {table} VALUES (77, 'x')", "FOREIGN KEY") for table in PICTURES),
    *((f"INSERT INTO {table} VALUES (1, 'x')", "UNIQUE") for table in PICTURES),
    ("INSERT INTO membership VALUES (2, 4, 4)", "ck_membership_order"),
    ("INSERT INTO index_state VALUES (2, '{}', 1, NULL)", "ck_index_state_single"),
]


def test_the_database_rejects_what_breaks_a_constraint(tmp_path: Path) -> None:
    path = tmp_path / "hydindex.db"
    with opened_database(path) as engine:
        upgrade(engine, path)
        with engine.begin() as connection:
            for accepted in ACCEPTED:
                connection.exec_driver_sql(accepted)
        for statement, constraint in REJECTED:
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


@pytest.mark.usefixtures("posted")
def test_a_second_writer_is_refused_until_the_first_is_killed_while_readers_are_not(
    home: Home,
) -> None:
    arguments = [sys.executable, "-c", HOLD_THE_INDEX, str(home.index)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            locked = home.fail("update", expect=4, kind="index_locked")
            assert f"update, process {holder.pid}," in locked
            assert home.run("stats").exit_code == home.run("pairs").exit_code == 0
        finally:
            holder.kill()
    for _ in range(2):
        home.update()


@pytest.mark.usefixtures("posted")
def test_a_reader_does_not_block_the_writer(home: Home, library: Library, serve: Serve) -> None:
    with closing(sqlite3.connect(home.index)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM file").fetchall()
        serve(library[:2])
        assert home.update()["files"]["gone"] == 1
        assert reader.execute("SELECT count(gone_at) FROM file").fetchone() == (0,)


# The states of a pair


@pytest.mark.parametrize("event", Event)
def test_an_event_moves_a_pair_only_from_the_states_of_the_table(
    event: Event, tmp_path: Path
) -> None:
    pair = OutboxPair(FilePair(1, 2), "a" * 64, "b" * 64, 0.9)
    new_reason = "no" if event is Event.MARK_REFUSED else None
    transition = TRANSITIONS[event]
    for state in PairState:
        home = tmp_path / f"{state}.db"
        reason = "'no'" if state is PairState.REFUSED else "NULL"
        with open_for_writing(home, "test") as store, closing(sqlite3.connect(home)) as connection:
            for sha256 in (SHA_A, SHA_B):
                connection.execute(insert_file(sha256))
            connection.execute(insert_pair(1, 2, state=state, reason=reason))
            connection.commit()
            if state in transition.sources:
                store.outbox.apply(event, [pair], reason=new_reason)
            else:
                with pytest.raises(ValueError, match=event.name):
                    store.outbox.apply(event, [pair], reason=new_reason)
            expected = transition.target if state in transition.sources else state
            assert connection.execute("SELECT state FROM pair").fetchall() == [(expected.value,)]


# SQL indexes


NO_FILES = np.empty(0, np.int64)


def files_where(condition: Any) -> Callable[[Engine], object]:
    def read(engine: Engine) -> None:
        with engine.connect() as connection:
            connection.execute(select(schema.file.c.mime).where(condition))

    return read


@pytest.mark.parametrize(
    ("read", "plan"),
    [
        (lambda engine: ComparedSet(engine).members(), "COVERING.* ix_file_compared"),
        (files_where(schema.IS_UNCOMPARED), "ix_file_uncompared"),
        (files_where(schema.IS_UNPREPARED), "ix_file_unprepared"),
        (files_where(schema.IS_UNUSABLE & (schema.file.c.checked_at <= "")), "ix_file_unusable"),
        (files_where(schema.IS_GONE), "ix_file_gone"),
        (lambda engine: FileStore(engine).hydrus_ids(), "COVERING.* ix_file_hydrus_id"),
        (lambda engine: FileStore(engine).unidentified(), "ix_file_unidentified"),
        (lambda engine: FileStore(engine).hashes_by_hydrus_id(NO_FILES), "ix_file_hydrus_id"),
        (lambda engine: FileStore(engine).due_for_recheck(), "ix_file_unusable"),
        (lambda engine: DecisionLog(engine).least_recently_checked(500), "INDEX ix_pair_open"),
    ],
    ids=[
        *("candidates", "uncompared", "unprepared", "unusable", "gone"),
        *("ids in Hydrus", "unidentified", "checked", "recheck", "pairs to check"),
    ],
)
def test_a_run_reads_through_sql_indexes_without_sorting(
    tmp_path: Path, read: Callable[[Engine], object], plan: str
) -> None:
    path = tmp_path / "hydindex.db"
    executed: list[tuple[str, Any]] = []
    with opened_database(path) as engine:
        upgrade(engine, path)
        event.listen(engine, "before_cursor_execute", lambda *call: executed.append(call[2:4]))
        read(engine)
    statement, parameters = executed[-1]
    with closing(sqlite3.connect(path)) as connection:
        steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    assert re.search(plan, steps[0][3])
    assert "TEMP B-TREE" not in str(steps)
