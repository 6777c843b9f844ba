"""`hydindex repair`: whatever part of an index is destroyed, no pair is posted twice."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Home, Serve, count, rows

from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import StandIn


@pytest.fixture
def client(home: Home, serve: Serve) -> StandIn:
    """A client with twelve indexed files, whose pairs are posted; the user decided one of them."""
    files = [replace(file, duration_ms=10_000) for file in generate_library(seed=3, pictures=12)]
    client = serve(files)
    home.update("--dry-run")
    client.decide(*sorted(min(home.pairs("queued"), key=sorted)), 1)
    home.update()
    assert len(home.pairs("posted")) > 3
    assert len(home.pairs("known")) == 1
    return client


def destroy_page(path: Path, page: int, *, page_size: int = 4096) -> None:
    """Overwrite a page of a SQLite file, counted from 0."""
    with path.open("r+b") as file:
        file.seek(page * page_size)
        file.write(np.random.default_rng(page).bytes(page_size))


def destroy(home: Home, *names: str) -> None:
    """Overwrite the first page of tables or SQL indexes."""
    for name in names:
        ((root,),) = home.sql(f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'")
        destroy_page(home.index, root - 1)


def in_hydrus(home: Home) -> set[frozenset[str]]:
    return home.pairs("posted", "known")


def assert_nothing_is_sent_again(home: Home, client: StandIn) -> None:
    potentials = client.potentials
    client.clear_log()
    assert home.update()["files"]["indexed"] == 12
    assert rows(client) == []
    assert client.potentials == potentials


def test_only_pages_of_the_schema_hold_the_single_record_of_a_posted_pair(
    home: Home, client: StandIn
) -> None:
    """Destroys each page in turn. The schema of a file this small takes three of them."""
    whole = home.index.read_bytes()
    assert home.sql("PRAGMA page_size") == [(4096,)]
    before = in_hydrus(home)
    repaired = incomplete = 0
    pages = len(whole) // 4096
    for page in range(pages):
        home.forget()
        home.index.write_bytes(whole)
        destroy_page(home.index, page)
        outcome = home.run("repair", "--json")
        home.assert_sound()
        if outcome.exit_code == 1:
            assert "Only part of the record of posted pairs" in outcome.err
            incomplete += 1
        else:
            assert in_hydrus(home) == before, page
            repaired += outcome.json["recovered"] is not None
    assert 0 < incomplete <= 3
    assert repaired > pages / 2

    destroy(home, "file")
    home.run("repair")
    assert_nothing_is_sent_again(home, client)


@pytest.mark.parametrize("content", [b"?" * 50_000, b"", None], ids=["noise", "empty", "missing"])
def test_backups_supply_the_record_if_nothing_else_is_readable(
    home: Home, client: StandIn, content: bytes | None
) -> None:
    home.configure(decision={"min_probability": 0.9})
    home.rebuild()
    assert len(list(home.folder.glob("*.bak"))) == 1
    before = in_hydrus(home)
    home.index.unlink()
    if content is not None:
        home.index.write_bytes(content)
    home.fail("update", expect=4, kind="index_damaged")
    assert home.run("repair").exit_code == 1  # what came after the backup may be lost
    assert in_hydrus(home) == before
    assert_nothing_is_sent_again(home, client)


@pytest.mark.usefixtures("client")
def test_an_incomplete_record_is_reported(home: Home) -> None:
    destroy(home, "pair", "ix_pair_state")
    outcome = home.run("repair", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["recovered"]["record_is_complete"] is False
    assert "Only part" in outcome.err


@pytest.mark.usefixtures("client")
def test_an_index_that_another_program_holds_is_not_damaged(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{"timeout": 0.1, **k}))
    with closing(connect(home.index, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        home.fail("repair", expect=4, kind="index_unusable")
    assert home.run("repair", "--json").json["recovered"] is None


def test_invalid_values_do_not_stop_a_repair(home: Home, client: StandIn) -> None:
    before = in_hydrus(home)
    for change in (
        "pair SET score = 'odd' WHERE low_id = (SELECT min(low_id) FROM pair)",
        "pair SET score = 9e999, state_at = x'00' WHERE low_id = (SELECT max(low_id) FROM pair)",
        "file SET width_px = 'wide', mime = 7 WHERE id = 3",
    ):
        home.sql(f"UPDATE {change}")
    destroy(home, "ix_file_compared")
    assert home.run("repair").exit_code == 0
    assert in_hydrus(home) == before
    record = home.folder / "posted.jsonl"
    record.write_text(home.run("export-posted").out)
    assert home.run("import-posted", str(record)).exit_code == 0
    assert_nothing_is_sent_again(home, client)


def test_a_lost_recipe_is_replaced_by_that_of_the_config(home: Home, client: StandIn) -> None:
    destroy(home, "index_state")
    assert home.run("repair").exit_code == 0
    assert home.run("rebuild").exit_code == 0
    assert_nothing_is_sent_again(home, client)


def test_the_next_update_computes_features_again_and_asks_for_decisions_but_fetches_nothing(
    home: Home, client: StandIn
) -> None:
    def pairs() -> list[tuple[Any, ...]]:
        return sorted(home.pair_rows("pair.state, score, matches, features, decision"))

    client.decide(*min(map(sorted, client.potentials)), 1)
    home.update()
    before = pairs()
    assert [decision for *_, decision in before].count("false_positive") == 2
    assert all(features for *_, features, _ in before)

    destroy(home, "ix_file_compared", "signature")
    outcome = home.run("repair")
    assert "12" in outcome.out
    (damaged,) = home.folder.glob("*.damaged")
    assert str(damaged) in outcome.out
    assert_nothing_is_sent_again(home, client)
    assert pairs() == before
    assert count(client, "/thumbnail") == 0


@pytest.mark.usefixtures("client")
def test_an_undamaged_index_is_left_unchanged(home: Home) -> None:
    before = home.index.read_bytes()
    assert "nothing to repair" in home.run("repair").out
    assert home.index.read_bytes() == before
    assert not list(home.folder.glob("*.damaged"))


def test_a_file_that_is_not_an_index_is_left_unchanged(home: Home) -> None:
    home.fail("repair", expect=4, kind="index_missing")
    home.sql("CREATE TABLE recipe AS SELECT 'pancakes' AS name")
    home.sql("CREATE INDEX ix ON recipe (name)")
    destroy(home, "ix")
    before = home.index.read_bytes()
    home.fail("repair", expect=4, kind="index_unusable")
    assert home.index.read_bytes() == before


def test_after_an_interrupted_run_the_next_one_finds_damage_before_it_starts(
    home: Home, client: StandIn
) -> None:
    """Even damage that the run itself would never meet."""
    destroy(home, "membership")
    assert home.run("update").exit_code == 0
    holder = home.index.with_name("hydindex.db.holder")
    holder.write_text("update, process 1, since long ago")  # as a killed run leaves it
    client.clear_log()
    for _ in range(2):
        assert "hydindex repair" in home.fail("update", expect=4, kind="index_damaged")
    assert client.requests == []
    assert home.run("repair").exit_code == 0
    home.update()
    assert not holder.exists()
