"""`hydindex repair`: whatever is destroyed of an index, what Hydrus was told is not forgotten."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Home, count, rows

from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]


@pytest.fixture
def client(home: Home, serve: Serve) -> StandIn:
    """A client whose twelve files are indexed, and whose pairs are posted; one is decided."""
    files = [replace(file, duration_ms=10_000) for file in generate_library(seed=3, pictures=12)]
    made = serve(files)
    home.update("--dry-run")
    made.decide(*sorted(min(home.pairs("queued"), key=sorted)), 1)
    home.update()
    assert len(home.pairs("posted")) > 3
    assert len(home.pairs("known")) == 1
    return made


def page_size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA page_size").fetchone()[0])


def destroy(path: Path, page: int, seed: int) -> None:
    """Overwrite a page of a database, the first of which is 0."""
    size = page_size(path)
    with path.open("r+b") as file:
        file.seek(page * size)
        file.write(np.random.default_rng(seed).bytes(size))


def stop(*_: object) -> None:
    """The user is impatient."""
    raise KeyboardInterrupt


def told(home: Home) -> set[frozenset[str]]:
    return home.pairs("posted", "known")


def assert_sound(home: Home) -> None:
    assert home.sql("PRAGMA integrity_check") == [("ok",)]
    assert home.sql("PRAGMA foreign_key_check") == []


def test_no_page_but_those_of_the_schema_holds_the_only_record_of_a_posted_pair(
    home: Home, client: StandIn
) -> None:
    """Every page is destroyed in its turn. The schema of a file this small takes three of them."""
    whole = home.index.with_name("whole")
    shutil.copy(home.index, whole)
    before, potentials = told(home), client.potentials
    repaired, unreadable = 0, 0
    pages = whole.stat().st_size // page_size(whole)
    for page in range(pages):
        for leftover in home.folder.glob("hydindex.db*"):
            leftover.unlink()
        shutil.copy(whole, home.index)
        destroy(home.index, page, seed=page)
        outcome = home.run("repair", "--json")
        assert_sound(home)
        if outcome.exit_code == 1:
            assert "Only a part of the record of posted pairs" in outcome.err
            unreadable += 1
        else:
            assert told(home) == before, page
            repaired += outcome.json["recovered"] is not None
    assert 0 < unreadable <= 3  # one of these may tell of nothing but other tables
    assert repaired > pages / 2

    destroy(home.index, 3, seed=0)  # the root of the table of files
    home.run("repair")
    client.clear_log()
    result = home.update()
    assert result["files"]["indexed"] == 12
    assert client.potentials == potentials
    assert rows(client) == []


def test_where_nothing_can_be_read_any_more_the_copies_still_know(
    home: Home, client: StandIn
) -> None:
    home.configure(preprocessing={"preBlurSigma": 0.9})
    home.rebuild()  # which begins with a copy
    before, potentials = told(home), client.potentials
    home.index.write_bytes(np.random.default_rng(1).bytes(50_000))
    assert home.run("update").exit_code == 4
    home.run("repair")
    assert told(home) == before
    client.clear_log()
    home.update()
    assert rows(client) == []
    assert client.potentials == potentials


@pytest.mark.parametrize("cut", [0, None], ids=["empty", "missing"])
def test_an_index_that_is_empty_or_missing_beside_its_copies_is_not_begun_anew(
    home: Home, client: StandIn, cut: int | None
) -> None:
    home.configure(preprocessing={"preBlurSigma": 0.9})
    home.rebuild()
    home.update()
    before, sent = told(home), rows(client)
    home.index.unlink()
    if cut is not None:
        home.index.write_bytes(b"")
    outcome = home.run("update", "--json")
    assert outcome.json["error"]["kind"] == "index_damaged"
    assert home.run("repair").exit_code == 1  # as what came after the copy may be lost
    assert told(home) == before
    home.update()
    assert rows(client) == sent


def test_a_record_that_is_lost_in_part_is_told(home: Home, client: StandIn) -> None:
    for name in ("pair", "ix_pair_state"):
        (root,) = home.sql(f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'")[0]
        destroy(home.index, root - 1, seed=1)
    outcome = home.run("repair", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["recovered"]["record_is_complete"] is False
    assert "Only a part" in outcome.err
    assert client.potentials


@pytest.mark.usefixtures("client")
def test_an_index_that_another_program_holds_is_not_taken_for_damaged(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{"timeout": 0.1, **k}))
    with closing(connect(home.index, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        outcome = home.run("repair", "--json")
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_unusable"
    assert home.run("repair", "--json").json["recovered"] is None


def test_odd_values_in_a_damaged_index_are_no_obstacle(home: Home, client: StandIn) -> None:
    before = told(home)
    home.sql("UPDATE pair SET score = 'odd' WHERE low_id = (SELECT min(low_id) FROM pair)")
    home.sql("UPDATE pair SET score = 9e999, state_at = x'00' WHERE low_id = "
             "(SELECT max(low_id) FROM pair)")  # fmt: skip
    home.sql("UPDATE file SET width_px = 'wide', mime = 7 WHERE id = 3")
    (root,) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_file_compared'")[0]
    destroy(home.index, root - 1, seed=1)
    assert home.run("repair").exit_code == 0
    assert told(home) == before
    (home.folder / "posted.jsonl").write_text(home.run("export-posted").out)
    assert home.run("import-posted", str(home.folder / "posted.jsonl")).exit_code == 0
    client.clear_log()
    home.update()
    assert rows(client) == []


def test_a_recipe_that_is_lost_is_taken_from_the_config(home: Home, client: StandIn) -> None:
    (root,) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'index_state'")[0]
    destroy(home.index, root - 1, seed=1)
    assert home.run("repair").exit_code == 0
    sent = rows(client)
    assert home.run("rebuild").exit_code == 0
    assert home.update()["files"]["indexed"] == 12
    assert rows(client) == sent


def test_thumbnails_that_were_saved_are_not_fetched_again(home: Home, client: StandIn) -> None:
    (root,) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_file_compared'")[0]
    destroy(home.index, root - 1, seed=1)
    outcome = home.run("repair")
    assert "12" in outcome.out
    (set_aside,) = home.folder.glob("*.damaged")
    assert str(set_aside) in outcome.out
    client.clear_log()
    result = home.update()
    assert count(client, "/thumbnail") == 0
    assert result["files"]["indexed"] == 12
    assert rows(client) == []


def what_is_known_of_pairs(home: Home) -> list[tuple[Any, ...]]:
    return sorted(
        home.sql(
            "SELECT min(hex(low.sha256), hex(high.sha256)), max(hex(low.sha256), "
            "hex(high.sha256)), pair.state, score, matches, evidence, outcome FROM pair "
            "JOIN file low ON low.id = low_id JOIN file high ON high.id = high_id"
        )
    )


def test_by_the_calibrated_decision_evidence_and_what_the_user_decided_come_back(
    home: Home, posted: StandIn
) -> None:
    """The one is computed again, and Hydrus is asked for the other."""
    posted.decide(*min(map(sorted, posted.potentials)), 1)
    home.update()
    before = what_is_known_of_pairs(home)
    assert {outcome for *_, outcome in before} == {None, "false_positive"}
    assert all(evidence for *_, evidence, _ in before)
    (root,) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'signature'")[0]
    destroy(home.index, root - 1, seed=1)
    assert home.run("repair").exit_code == 0
    posted.clear_log()
    home.update()
    assert what_is_known_of_pairs(home) == before
    assert rows(posted) == []
    assert count(posted, "/thumbnail") == 0


@pytest.mark.usefixtures("client")
def test_a_sound_index_is_left_as_it_is(home: Home) -> None:
    before = home.index.read_bytes()
    assert "nothing to repair" in home.run("repair").out
    assert home.index.read_bytes() == before
    assert not list(home.folder.glob("*.damaged"))


def test_what_is_no_index_is_left_as_it_is(home: Home, serve: Serve) -> None:
    serve([])
    assert home.run("repair", "--json").json["error"]["kind"] == "index_missing"
    with closing(sqlite3.connect(home.index)) as connection, connection:
        connection.execute("CREATE TABLE recipe AS SELECT 'pancakes' AS name")
        connection.execute("CREATE INDEX ix ON recipe (name)")
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'index'"
        ).fetchone()
    destroy(home.index, root - 1, seed=1)
    before = home.index.read_bytes()
    assert home.run("repair", "--json").json["error"]["kind"] == "index_unusable"
    assert home.index.read_bytes() == before


def test_a_damage_is_found_at_the_start_after_a_run_that_was_cut_short(
    home: Home, client: StandIn
) -> None:
    """Even one that this run would never come across."""
    (root,) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'membership'")[0]
    destroy(home.index, root - 1, seed=1)
    assert home.run("update").exit_code == 0
    holder = home.index.with_name("hydindex.db.holder")
    holder.write_text("update, process 1, since long ago")  # as one that is killed leaves it

    client.clear_log()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hydindex.store.store.require_sound", stop)
        assert home.run("update").exit_code == 130
    for _ in range(2):
        outcome = home.run("update", "--json")
        assert outcome.exit_code == 4
        assert outcome.json["error"]["kind"] == "index_damaged"
        assert "hydindex repair" in outcome.err
        assert client.requests == []
    assert home.run("repair").exit_code == 0
    home.update()
    assert not holder.exists()
