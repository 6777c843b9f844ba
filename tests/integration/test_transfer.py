"""`hydindex export-posted` and `import-posted`: move the record of posted pairs."""

import json

import pytest
from conftest import Home, rows

from hydindex.standin.server import StandIn

GOOD = {
    "sha256_a": "a" * 64,
    "sha256_b": "b" * 64,
    "state": "posted",
    "score": 0.9,
    "state_at": "2026-11-22T02:00:00+00:00",
}


@pytest.fixture
def other(home: Home, capsys: pytest.CaptureFixture[str]) -> Home:
    """A home on another machine, without a config and an index."""
    (home.folder / "elsewhere").mkdir()
    return Home(home.folder / "elsewhere", capsys)


@pytest.fixture
def posted(home: Home, client: StandIn) -> StandIn:
    """A client to which all pairs were posted; the user decided one and removed one."""
    home.update("--dry-run")
    client.decide(*sorted(min(home.pairs("queued"), key=sorted)), 1)
    home.update()
    client.remove_potentials(*min(client.potentials, key=sorted))
    client.clear_log()
    return client


def test_an_index_with_an_imported_record_posts_nothing_again(
    home: Home, posted: StandIn, other: Home
) -> None:
    record = home.folder / "posted.jsonl"
    assert home.run("export-posted", "--output", str(record)).out == ""
    recorded = home.pairs("posted", "known")
    assert len(record.read_text().splitlines()) == len(recorded) > 1

    other.replace_config(json.loads(home.config.read_text()), posted)
    potentials = posted.potentials
    assert f"{len(recorded)} of them are new" in other.run("import-posted", str(record)).out
    assert other.pairs("posted") == home.pairs("posted")
    assert other.pairs("known") == home.pairs("known")
    result = other.update()
    assert result["files"]["indexed"] == 40
    assert result["pairs"]["matched"] == len(recorded)
    assert rows(posted) == []
    assert posted.potentials == potentials


@pytest.mark.usefixtures("posted")
def test_importing_an_own_export_changes_nothing(home: Home) -> None:
    record = home.folder / "posted.jsonl"
    text = home.run("export-posted").out
    record.write_text(text)
    assert "; 0 of them are new" in home.run("import-posted", str(record)).out
    assert home.run("export-posted").out == text


@pytest.mark.usefixtures("posted")
def test_the_more_advanced_state_is_kept(home: Home) -> None:
    record = home.folder / "posted.jsonl"
    first = json.loads(home.run("export-posted").out.splitlines()[0])
    pair = frozenset((first["sha256_a"], first["sha256_b"]))
    for here, imported, kept in (
        ("queued", "posted", "posted"),
        ("refused", "known", "known"),
        ("sending", "posted", "posted"),
        ("known", "sending", "known"),
        ("posted", "known", "posted"),
    ):
        record.write_text(json.dumps({**first, "state": imported}))
        reason = "'no'" if here == "refused" else "NULL"
        home.sql(f"UPDATE pair SET state = '{here}', reason = {reason}")
        home.run("import-posted", str(record))
        assert pair in home.pairs(kept)


def test_pairs_of_files_that_hydrus_lacks_are_kept_and_exported_again(
    home: Home, client: StandIn
) -> None:
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
        json.dumps({**GOOD, "sha256_a": GOOD["sha256_b"]}),
        json.dumps({**GOOD, "state": "queued"}),
        json.dumps({**GOOD, "score": float("nan")}),
        json.dumps({**GOOD, "more": 1}),
        json.dumps({key: value for key, value in GOOD.items() if key != "state"}),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_imported(home: Home, line: str) -> None:
    record = home.folder / "posted.jsonl"
    record.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    outcome = home.run("import-posted", str(record))
    assert outcome.exit_code == 2
    assert "Line 2 " in outcome.err
    assert not home.index.exists()


@pytest.mark.usefixtures("posted")
def test_a_file_that_cannot_be_read_or_written_is_an_error(home: Home) -> None:
    (home.folder / "picture").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "picture"):
        assert name in home.run("import-posted", str(home.folder / name)).err
    output = home.folder / "missing" / "posted.jsonl"
    assert home.run("export-posted", "--output", str(output)).exit_code == 2
