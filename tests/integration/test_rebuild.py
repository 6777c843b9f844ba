"""`hydindex rebuild`: redoes what a changed config makes necessary, and posts nothing twice."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from conftest import THRESHOLD, Home, Library, Serve, assert_sent_once, fetched
from PIL import Image

from hydindex.standin.server import DROP_BEFORE_WORK, StandIn

Config = dict[str, Any]
PREPARED_DIFFERENTLY: Config = {"ahash": {"resize": [32, 32]}}


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        ({}, {"ahash": {"resize": [32, 32]}}, "ahash.resize: [64, 64] -> [32, 32]"),
        ({}, {"decision": {"min_probability": 0.7}}, "decision.min_probability: 0.6 -> 0.7"),
        (THRESHOLD, {"preprocessing": {"histEq": True}}, "preprocessing.histEq: False -> True"),
        (THRESHOLD, {"similarity_threshold": 0.7}, "similarity_threshold: 0.6 -> 0.7"),
    ],
)
def test_update_refuses_a_changed_config_and_changes_nothing(
    home: Home, serve: Serve, library: Library, config: Config, change: Config, message: str
) -> None:
    home.configure(**config)
    client = serve(library[:5])
    home.update()
    before = home.index.read_bytes()
    client.clear_log()
    home.configure(**change)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    error = outcome.json["error"]
    assert error["kind"] == "config_changed"
    assert message in error["message"]
    assert "rebuild" in error["remedy"]
    prepares_again = "resize" in message or "histEq" in message
    assert ("every stored thumbnail" in error["remedy"]) == prepares_again
    assert home.index.read_bytes() == before
    assert client.requests == []


@pytest.mark.usefixtures("client")
def test_other_keys_need_no_rebuild(home: Home) -> None:
    home.update()
    home.configure(
        tags=["system:filetype is video", "meta:demo"],
        post={"batch_size": 7},
        timeouts={"api": 5},
        ahash={"io_workers": 2, "prefixBits": 8},
        preprocessing={"preBlurSigma": 0.8},  # a key of the other method
    )
    assert home.update()["pairs"]["scored"] == 0


def test_rebuild_works_offline_and_posts_nothing(
    home: Home, serve: Serve, library: Library
) -> None:
    home.configure(decision={"min_probability": 0.999})
    client = serve(library)
    home.update()
    before = client.potentials
    client.__exit__(None, None, None)
    home.configure(
        **PREPARED_DIFFERENTLY,
        decision={"min_probability": 0.6},
        api_key="your-hydrus-api-key-here",
    )
    rebuilt = home.rebuild()["pairs"]
    assert rebuilt["scored"] > rebuilt["queued"] > rebuilt["posted"] == 0

    client.__enter__()
    home.configure(client)
    assert home.update()["pairs"]["posted"] == rebuilt["queued"]
    assert client.potentials > before
    assert_sent_once(client)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        ({}, {"ahash": {"resize": [32, 32], "hammingMax": 20}}),
        (THRESHOLD, {"preprocessing": {"histEq": True}}),
        (THRESHOLD, {"decision": {"method": "calibrated"}}),
    ],
    ids=["calibrated", "threshold", "to calibrated"],
)
def test_a_rebuilt_index_holds_the_pairs_of_a_new_one(
    home: Home, serve: Serve, library: Library, config: Config, change: Config
) -> None:
    home.configure(**config)
    serve(library)
    home.update("--dry-run")
    home.configure(**change)
    home.rebuild()
    rebuilt = home.scores()
    home.forget()
    home.update("--dry-run")
    assert rebuilt == home.scores() != {}


def test_pairs_that_no_longer_match_leave_only_the_queue(home: Home, client: StandIn) -> None:
    home.update("--dry-run")
    queued = home.pairs("queued")
    home.configure(decision={"min_probability": 0.999})
    home.rebuild()
    assert home.pairs("queued") < queued
    home.update()
    posted = home.pairs("posted")
    assert set() < posted == client.potentials < queued

    home.configure(decision={"min_probability": 1.0})
    assert home.rebuild()["pairs"]["matched"] < len(posted)
    assert home.pairs("posted") == posted


@pytest.mark.parametrize(
    ("change", "key", "to_prepare"),
    [
        ({"decision": {"min_probability": 0.9}}, "decision.min_probability", 0),
        (PREPARED_DIFFERENTLY, "ahash.resize", 40),
    ],
)
def test_a_dry_run_announces_the_work_and_changes_nothing(
    home: Home, client: StandIn, change: Config, key: str, to_prepare: int
) -> None:
    home.update()
    home.configure(**change)
    before = home.index.read_bytes()
    client.clear_log()
    plan = home.rebuild("--dry-run")
    assert [each["key"] for each in plan["changes"]] == [key]
    work = plan["work"]
    assert (work["files_to_fetch"], work["files_to_prepare"]) == (0, to_prepare)
    assert work["files_to_compare"] == 40
    assert key in home.run("rebuild", "--dry-run").out
    assert home.index.read_bytes() == before
    assert client.requests == []

    candidates = home.rebuild()["pairs"]["candidates"]
    if to_prepare:  # average hashes that are yet to be computed can't rule out any pair
        assert 0 < candidates <= work["max_pairs_to_score"]
    else:
        assert candidates == work["max_pairs_to_score"] > 0


def test_refetch_takes_changed_thumbnails(home: Home, serve: Serve, library: Library) -> None:
    serve(library)
    scored = home.update("--dry-run")["pairs"]["scored"]
    pair = min(home.pairs("queued"), key=sorted)
    noise = BytesIO()
    Image.effect_noise((150, 84), 90).save(noise, "PNG")
    client = serve([file for file in library if file.hash != min(pair)])
    (changed,) = (file for file in library if file.hash == min(pair))
    client.add([replace(changed, thumbnail=noise.getvalue())])
    result = home.rebuild("--refetch")
    assert len(fetched(client)) == 40
    assert 0 < result["pairs"]["scored"] <= scored
    assert pair not in home.pairs("queued")
    assert home.update()["pairs"]["scored"] == 0


def test_refetching_the_same_thumbnails_leaves_nothing_to_do(home: Home, client: StandIn) -> None:
    home.update()
    before = home.sql("SELECT * FROM pair ORDER BY low_id, high_id")
    home.rebuild("--refetch")
    assert home.sql("SELECT * FROM pair ORDER BY low_id, high_id") == before
    plan = home.rebuild("--dry-run")
    assert (plan["changes"], set(plan["work"].values())) == ([], {0})
    assert home.rebuild()["pairs"]["scored"] == home.update()["pairs"]["posted"] == 0
    assert_sent_once(client)


@pytest.mark.parametrize(
    ("config", "table"),
    [({}, "signature"), (THRESHOLD, "prepared_picture")],
    ids=["calibrated", "threshold"],
)
def test_a_damaged_picture_is_repaired_by_the_remedy_that_the_error_names(
    home: Home, serve: Serve, library: Library, config: Config, table: str
) -> None:
    home.configure(**config)
    client = serve(library[:30])
    home.update()
    home.sql(f"UPDATE {table} SET picture = x'00'")
    client.add(library[30:])
    failed = home.run("update", "--json")
    assert failed.exit_code == 4
    assert "rebuild --refetch" in failed.json["error"]["remedy"]
    home.rebuild("--refetch")
    assert home.update()["files"]["indexed"] == 40
    assert_sent_once(client)


@pytest.mark.usefixtures("client")
def test_refetch_keeps_pictures_that_hydrus_lost(
    home: Home, serve: Serve, library: Library
) -> None:
    """For example because its folder of thumbnails is not mounted."""
    home.update("--dry-run")
    queued = home.pairs("queued")
    serve([replace(file, thumbnail=b"") for file in library])
    outcome = home.run("rebuild", "--refetch", "--json")
    assert outcome.exit_code == 0
    assert "rebuild --refetch" in outcome.err
    files = outcome.json["files"]
    assert (files["not_fetched"], files["unusable"]) == (40, 0)
    assert home.pairs("queued") == queued


@pytest.mark.usefixtures("client")
def test_refetch_without_permission_changes_nothing(home: Home) -> None:
    home.update("--dry-run")
    before = home.sql("SELECT * FROM pair"), home.sql("SELECT * FROM file")
    home.configure(api_key=StandIn.SEARCH_ONLY_KEY, decision={"min_probability": 0.9})
    assert home.run("rebuild", "--refetch").exit_code == 3
    assert (home.sql("SELECT * FROM pair"), home.sql("SELECT * FROM file")) == before


def test_the_plan_covers_an_interrupted_rebuild(
    home: Home, client: StandIn, library: Library
) -> None:
    """In the middle of a rebuild some files are compared, some only fetched."""
    home.update()
    client.trash(library[0].hash)
    home.update()
    home.sql("UPDATE file SET compared_since = NULL WHERE id % 2")
    home.sql(
        "UPDATE file SET compared_since = NULL, average_hash = NULL, state = 'fetched' "
        "WHERE id % 5 = 0"
    )
    ((uncompared, unprepared),) = home.sql(
        "SELECT count(*), count(*) FILTER (WHERE state = 'fetched') FROM file "
        "WHERE compared_since IS NULL AND gone_at IS NULL"
    )
    work = home.rebuild("--dry-run")["work"]
    assert (work["files_to_compare"], work["files_to_prepare"]) == (uncompared, unprepared)
    assert 0 < home.rebuild()["pairs"]["candidates"] <= work["max_pairs_to_score"]


def test_an_interrupted_refetch_loses_nothing(home: Home, client: StandIn) -> None:
    home.update()
    client.clear_log()
    client.faults = lambda _, path, nth: (
        DROP_BEFORE_WORK
        if (path == "/get_files/thumbnail" and nth > 10) or (path == "/api_version" and nth > 1)
        else None
    )
    assert home.run("rebuild", "--refetch").exit_code == 3
    client.faults = lambda *_: None
    assert home.update()["files"]["indexed"] == 40
    assert_sent_once(client)


@pytest.mark.parametrize("words", [["rebuild"], ["rebuild", "--dry-run"], ["stats"]], ids=" ".join)
def test_a_missing_index_names_the_command_that_makes_one(home: Home, words: list[str]) -> None:
    outcome = home.run(*words, "--json")
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_missing"
    assert "hydindex update" in outcome.json["error"]["remedy"]
    assert not home.index.exists()
