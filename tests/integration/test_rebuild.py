"""`hydindex rebuild`: redoes what a changed config makes necessary, and posts nothing twice."""

import sys
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from conftest import THRESHOLD, Home, Library, Serve, assert_sent_once, fetched, from_then_on, rows
from PIL import Image

from hydindex.matching.calibrated import efficientnet
from hydindex.matching.calibrated.efficientnet import load_network
from hydindex.standin.server import DROP_BEFORE_WORK, StandIn

Config = dict[str, Any]
PREPARED_DIFFERENTLY: Config = {"preprocessing": {"histEq": True}}


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (THRESHOLD, {"ahash": {"resize": [32, 32]}}, "ahash.resize: [64, 64] -> [32, 32]"),
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
    error = home.fail("update", expect=4, kind="config_changed")
    assert message in error
    assert "rebuild" in error
    prepares_again = "resize" in message or "histEq" in message
    assert ("every stored thumbnail" in error) == prepares_again
    assert home.index.read_bytes() == before
    assert client.requests == []


@pytest.mark.usefixtures("client")
def test_other_keys_need_no_rebuild(home: Home) -> None:
    home.update()
    home.configure(
        tags=["system:filetype is video", "meta:demo"],
        post={"batch_size": 7},
        timeouts={"api": 5},
        preprocessing={"preBlurSigma": 0.8},  # keys of the other method
        ahash={"io_workers": 2, "prefixBits": 8, "resize": [32, 32], "hammingMax": 8},
    )
    assert home.update()["pairs"]["scored"] == 0


def test_rebuild_works_offline_and_posts_nothing(
    home: Home, serve: Serve, library: Library
) -> None:
    home.configure(**THRESHOLD, similarity_threshold=0.97)
    client = serve(library)
    home.update()
    before = client.potentials
    client.__exit__(None, None, None)
    home.configure(
        **PREPARED_DIFFERENTLY,
        similarity_threshold=0.6,
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
        ({}, {"candidate_generation": {"tolSeconds": 2.0}}),
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
    home.update()
    posted = home.pairs("posted")
    assert set() < posted == client.potentials < queued
    home.configure(decision={"min_probability": 1.0})
    assert home.rebuild()["pairs"]["matched"] < len(posted)
    assert home.pairs("posted") == posted


@pytest.mark.parametrize(
    ("config", "change", "key", "to_prepare"),
    [
        ({}, {"decision": {"min_probability": 0.9}}, "decision.min_probability", 0),
        (THRESHOLD, PREPARED_DIFFERENTLY, "preprocessing.histEq", 40),
    ],
)
def test_a_dry_run_announces_the_work_and_changes_nothing(
    home: Home, client: StandIn, config: Config, change: Config, key: str, to_prepare: int
) -> None:
    home.configure(**config)
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
    (changed,) = (file for file in library if file.hash == min(pair))
    client = serve([file for file in library if file != changed])
    client.add([replace(changed, thumbnail=noise.getvalue())])
    result = home.rebuild("--refetch")
    assert len(fetched(client)) == 40
    assert 0 < result["pairs"]["scored"] <= scored
    assert pair not in home.pairs("queued")

    before = home.pair_rows("score, features, pair.state")
    home.rebuild("--refetch")
    assert home.pair_rows("score, features, pair.state") == before
    plan = home.rebuild("--dry-run")
    assert (plan["changes"], set(plan["work"].values())) == ([], {0})
    assert home.rebuild()["pairs"]["scored"] == home.update()["pairs"]["scored"] == 0


@pytest.mark.parametrize(
    ("config", "damage"),
    [
        ({}, "UPDATE signature SET picture = x'00'"),
        ({}, "UPDATE descriptor SET picture = x'00' WHERE file_id = 7"),
        ({}, "DELETE FROM descriptor WHERE file_id = 7"),
        (THRESHOLD, "UPDATE prepared_picture SET picture = x'00'"),
    ],
    ids=["signature", "descriptor", "no descriptor", "prepared picture"],
)
def test_a_damaged_picture_is_repaired_by_the_remedy_that_the_error_names(
    home: Home, serve: Serve, library: Library, config: Config, damage: str
) -> None:
    home.configure(**config)
    client = serve(library[:30])
    home.update()
    home.sql(damage)
    client.add(library[30:])
    assert "rebuild --refetch" in home.fail("update", expect=4)
    home.rebuild("--refetch")
    assert home.update()["files"]["indexed"] == 40
    assert_sent_once(client)


@pytest.mark.usefixtures("client")
def test_a_refetch_without_pictures_or_permission_keeps_the_old_ones(
    home: Home, serve: Serve, library: Library
) -> None:
    """For example because the folder of thumbnails of Hydrus is not mounted."""
    home.update("--dry-run")
    queued = home.pairs("queued")
    serve([replace(file, thumbnail=b"") for file in library])
    outcome = home.run("rebuild", "--refetch", "--json")
    assert outcome.exit_code == 0
    assert "rebuild --refetch" in outcome.err
    files = outcome.json["files"]
    assert (files["not_fetched"], files["unusable"]) == (40, 0)
    assert home.pairs("queued") == queued

    before = home.sql("SELECT * FROM pair"), home.sql("SELECT * FROM file")
    home.configure(api_key=StandIn.SEARCH_ONLY_KEY, decision={"min_probability": 0.9})
    home.fail("rebuild", "--refetch", expect=3, kind="hydrus_access")
    assert (home.sql("SELECT * FROM pair"), home.sql("SELECT * FROM file")) == before


@pytest.mark.usefixtures("posted")
def test_the_plan_covers_an_interrupted_rebuild(home: Home) -> None:
    """In the middle of a rebuild some files are compared, some only fetched."""
    home.sql("UPDATE file SET compared_since = NULL WHERE id % 2")
    home.sql(
        "UPDATE file SET compared_since = NULL, content_aspect_factor = NULL, "
        "state = 'fetched' WHERE id % 5 = 0"
    )
    work = home.rebuild("--dry-run")["work"]
    assert (work["files_to_compare"], work["files_to_prepare"]) == (24, 8)
    assert 0 < home.rebuild()["pairs"]["candidates"] <= work["max_pairs_to_score"]


def test_an_interrupted_refetch_loses_nothing(home: Home, posted: StandIn) -> None:
    posted.clear_log()
    posted.faults = from_then_on("/get_files/thumbnail", DROP_BEFORE_WORK, since=11)
    home.fail("rebuild", "--refetch", expect=3)
    posted.faults = lambda *_: None
    assert home.update()["files"]["indexed"] == 40
    assert rows(posted) == []


@pytest.mark.parametrize("words", [["rebuild"], ["rebuild", "--dry-run"], ["stats"]], ids=" ".join)
def test_a_missing_index_names_the_command_that_makes_one(home: Home, words: list[str]) -> None:
    assert "hydindex update" in home.fail(*words, expect=4, kind="index_missing")
    assert not home.index.exists()


@pytest.mark.parametrize("words", [[], ["--refetch"]])
def test_a_method_that_cannot_run_leaves_the_index_as_it_was(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    home.configure(**THRESHOLD)
    home.update("--dry-run")
    before = [home.sql(f"SELECT * FROM {table}") for table in ("file", "pair", "prepared_picture")]
    home.configure(decision={"method": "calibrated"})
    load_network.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    client.clear_log()
    assert "ONNX Runtime" in home.fail("rebuild", *words, expect=2, kind="config")
    after = [home.sql(f"SELECT * FROM {table}") for table in ("file", "pair", "prepared_picture")]
    assert after == before
    assert fetched(client) == set()


@pytest.mark.usefixtures("posted")
def test_another_version_of_the_descriptor_computes_all_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet, "VERSION", efficientnet.VERSION + 1)
    assert "every stored thumbnail" in home.fail("update", expect=4, kind="config_changed")
    assert home.rebuild("--dry-run")["work"]["files_to_prepare"] == 40
    before = home.scores()
    home.rebuild()
    assert home.scores() == before
    assert home.update()["pairs"]["posted"] == 0
