"""The record of posted pairs on its way to another machine."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Home, rows

from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile

Serve = Callable[..., StandIn]

GOOD = {
    "sha256_a": "a" * 64,
    "sha256_b": "b" * 64,
    "state": "posted",
    "score": 0.9,
    "state_at": "2026-11-22T02:00:00+00:00",
}


def elsewhere(home: Home, client: StandIn, capsys: pytest.CaptureFixture[str]) -> Home:
    """A home on another machine, without an index yet, that knows the same client."""
    (home.folder / "elsewhere").mkdir()
    other = Home(home.folder / "elsewhere", capsys)
    other.replace_config(json.loads(home.config.read_text()), client)
    return other


@pytest.fixture
def posted(home: Home, serve: Serve, library: list[HydrusFile]) -> StandIn:
    """A client to which all pairs were posted; one is decided, one removed."""
    client = serve(library)
    home.update("--dry-run")
    client.decide(*sorted(min(home.pairs("queued"), key=sorted)), 1)
    home.update()
    client.remove_potentials(*min(client.potentials, key=sorted))
    client.clear_log()
    return client


def test_a_new_index_that_takes_over_the_record_posts_nothing_again(
    home: Home, posted: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    record = home.folder / "posted.jsonl"
    assert home.run("export-posted", "--output", str(record)).out == ""
    told = home.pairs("posted", "known")
    assert len(record.read_text().splitlines()) == len(told) > 1

    potentials, new = posted.potentials, elsewhere(home, posted, capsys)
    assert f"{len(told)} of them are new" in new.run("import-posted", str(record)).out
    assert new.pairs("posted") == home.pairs("posted")
    assert new.pairs("known") == home.pairs("known")
    result = new.update()
    assert result["files"]["indexed"] == 40
    assert result["pairs"]["matched"] == len(told)
    assert rows(posted) == []
    assert posted.potentials == potentials


@pytest.mark.usefixtures("posted")
def test_to_export_and_import_again_changes_nothing(home: Home) -> None:
    record = home.folder / "posted.jsonl"
    text = home.run("export-posted").out
    record.write_text(text)
    assert "; 0 of them are new" in home.run("import-posted", str(record)).out
    assert home.run("export-posted").out == text


@pytest.mark.parametrize(
    ("here", "there", "becomes"),
    [
        ("queued", "posted", "posted"),
        ("refused", "known", "known"),
        ("sending", "posted", "posted"),
        ("known", "sending", "known"),
        ("posted", "known", "posted"),
    ],
)
@pytest.mark.usefixtures("posted")
def test_of_two_states_that_stays_which_says_more(
    home: Home, here: str, there: str, becomes: str
) -> None:
    record = home.folder / "posted.jsonl"
    first = json.loads(home.run("export-posted").out.splitlines()[0])
    record.write_text(json.dumps({**first, "state": there}))
    reason = "'no'" if here == "refused" else "NULL"
    home.sql(f"UPDATE pair SET state = '{here}', reason = {reason}")
    home.run("import-posted", str(record))
    assert home.pairs(becomes) >= {frozenset((first["sha256_a"], first["sha256_b"]))}


def test_pairs_of_files_that_never_come_are_kept_and_told_again(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    record = home.folder / "posted.jsonl"
    record.write_text(json.dumps(GOOD) + "\n\n")
    home.run("import-posted", str(record))
    result = home.update()
    assert result["files"]["found"] == result["files"]["new"] == 40
    assert result["files"]["gone"] == 0
    assert len(client.potentials) > 0
    assert json.dumps(GOOD, separators=(",", ":")) in home.run("export-posted").out.splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        json.dumps({**GOOD, "sha256_a": "A" * 64}),
        json.dumps({**GOOD, "sha256_a": "a" * 63}),
        json.dumps({**GOOD, "sha256_a": GOOD["sha256_b"]}),
        json.dumps({**GOOD, "state": "queued"}),
        json.dumps({**GOOD, "score": None}),
        json.dumps({**GOOD, "score": float("nan")}),
        json.dumps({**GOOD, "more": 1}),
        json.dumps({key: value for key, value in GOOD.items() if key != "state"}),
    ],
)
def test_a_line_that_is_no_pair_is_named_and_nothing_is_taken_in(
    home: Home, serve: Serve, line: str
) -> None:
    serve([])
    record = home.folder / "posted.jsonl"
    record.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    outcome = home.run("import-posted", str(record))
    assert outcome.exit_code == 2
    assert "Line 2 " in outcome.err
    assert not home.index.exists()


def test_a_file_that_is_not_there_or_no_text_is_named(home: Home, serve: Serve) -> None:
    serve([])
    assert home.run("import-posted", str(home.folder / "missing")).exit_code == 2
    (home.folder / "picture").write_bytes(b"\xff\xfe\x00")
    assert home.run("import-posted", str(home.folder / "picture")).exit_code == 2


@pytest.mark.usefixtures("posted")
def test_an_export_that_cannot_be_written_is_an_error(home: Home) -> None:
    nowhere = Path(home.folder / "missing" / "posted.jsonl")
    assert home.run("export-posted", "--output", str(nowhere)).exit_code == 2
