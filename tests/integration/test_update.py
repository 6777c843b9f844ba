"""`hydindex update` against the stand-in: what a run fetches, compares and posts."""

import json
from dataclasses import replace

import pytest
from conftest import THRESHOLD, Home, Library, Serve, assert_sent_once, at, count, fetched

from hydindex.standin.server import StandIn, refuse
from hydindex.standin.services import unknown_file_icon
from hydindex.standin.state import true_pairs

THUMBNAIL = "/get_files/thumbnail"


def test_posts_the_copies_and_then_is_quiet(home: Home, client: StandIn, library: Library) -> None:
    first = home.update()
    assert first["files"] == {
        **dict.fromkeys(("found", "new", "indexed", "ingested"), 40),
        **dict.fromkeys(("gone", "returned", "unusable", "not_fetched"), 0),
    }
    assert first["pairs"]["posted"] == first["pairs"]["matched"] == len(client.potentials) > 0
    assert len(true_pairs(library) & client.potentials) > len(true_pairs(library)) / 2

    client.clear_log()
    again = home.update()
    assert again["pairs"] == dict.fromkeys(again["pairs"], 0)
    assert again["files"]["new"] == 0
    assert count(client, "/thumbnail") == 0
    assert count(client, "/set_file_relationships") == 0
    assert len(client.requests) <= 8


def test_json_has_exactly_the_documented_keys_and_is_recorded(
    home: Home, serve: Serve, library: Library
) -> None:
    serve(library[:3])
    result = home.update()
    result.pop("left_over", None)
    report = {key: value for key, value in result.items() if isinstance(value, dict)}
    assert result.keys() - report.keys() == {"command", "exit_code", "dry_run"}
    assert {stage: " ".join(sorted(counts)) for stage, counts in report.items()} == {
        "files": "found gone indexed ingested new not_fetched returned unusable",
        "pairs": "candidates known matched posted queued refused scored",
        "held_back": "implied improbable over_limit shared_picture",
        "matcher": "confirmed_by_library levels similar_enough",
        "frame_verification": ("bytes matched not_fetched sampled unverifiable verified waiting"),
        "seconds": "compare fetch post prepare search total verify_frames",
    }
    assert set(report["matcher"]["levels"]) == set("54321")

    ((command, exit_code, config, recorded, finished_at),) = home.sql(
        "SELECT command, exit_code, config, report, finished_at FROM run"
    )
    assert (command, exit_code) == ("update", 0)
    assert json.loads(config)["decision"]["min_probability"] == 0.6
    assert json.loads(recorded)["files"] == report["files"]
    assert finished_at


def test_growing_in_parts_gives_the_same_pairs(home: Home, serve: Serve, library: Library) -> None:
    client = serve([])
    for start in range(0, 40, 11):
        client.add(library[start : start + 11])
        earlier = len(client.requests)
        home.update()
        new = {str(file_id) for file_id in range(start + 1, min(start + 11, 40) + 1)}
        assert fetched(client, since=earlier) == new
    assert_sent_once(client)

    home.forget()
    whole = serve(library)
    home.update()
    assert client.potentials == whole.potentials


def test_a_dry_run_leaves_hydrus_alone_and_the_pairs_queued(home: Home, client: StandIn) -> None:
    dry = home.update("--dry-run")
    assert dry["dry_run"] is True
    assert dry["pairs"]["queued"] == dry["pairs"]["matched"] > 0
    assert not any(request.method == "POST" for request in client.requests)
    assert "would post" in home.run("update", "--dry-run").out

    client.clear_log()
    assert home.update()["pairs"]["posted"] == dry["pairs"]["queued"]
    assert count(client, "/thumbnail") == 0


def test_a_returning_file_meets_the_new_ones(home: Home, serve: Serve, library: Library) -> None:
    everything = serve(library)
    home.update("--dry-run")
    pairs = home.pairs("queued")
    away, newcomer = min(map(sorted, pairs))
    everything.trash(away)  # pairs that are queued wait for it
    home.update()
    assert everything.potentials == {pair for pair in pairs if away not in pair}

    home.forget()
    client = serve([file for file in library if file.hash != newcomer])
    home.update()
    client.trash(away)
    assert home.update()["files"]["gone"] == 1
    client.add([file for file in library if file.hash == newcomer])
    home.update()
    assert frozenset((away, newcomer)) not in client.potentials

    client.restore(away)
    earlier = len(client.requests)
    back = home.update()
    assert (back["files"]["returned"], back["files"]["new"]) == (1, 0)
    assert fetched(client, since=earlier) == set()
    assert client.potentials == pairs
    assert_sent_once(client)


def test_unusable_files_are_retried_after_a_week(
    home: Home, serve: Serve, library: Library
) -> None:
    """Hydrus serves a placeholder for a missing thumbnail; hydindex learns it from the client."""
    missing = replace(library[0], thumbnail=unknown_file_icon())
    undecodable = replace(library[1], thumbnail=b"?")
    client = serve([missing, undecodable, *library[2:]])
    files = home.update()["files"]
    assert (files["indexed"], files["unusable"]) == (38, 2)
    reasons = home.run("stats", "--json").json["files"]["unusable"]
    assert "placeholder" in " ".join(reasons)
    assert "cannot be decoded" in " ".join(reasons)

    client.clear_log()
    home.update()
    assert count(client, THUMBNAIL) == 0

    client = serve([replace(missing, thumbnail=library[2].thumbnail), undecodable, *library[2:]])
    home.sql("UPDATE file SET checked_at = '2020-01-01T00:00:00+00:00'")
    files = home.update()["files"]
    assert fetched(client) == {"1", "2"}
    assert (files["new"], files["indexed"], files["unusable"]) == (0, 39, 1)


def test_a_key_that_may_not_see_the_placeholder_still_works(home: Home, client: StandIn) -> None:
    """A key restricted by tags may not ask for files outside its searches."""
    client.faults = at(THUMBNAIL, refuse(403), times=1)
    assert home.update()["files"]["indexed"] == 40


def test_a_thumbnail_that_fails_is_fetched_by_the_next_run(home: Home, client: StandIn) -> None:
    home.configure(network={"max_connections": 1})
    # The first request is for the placeholder, the second for file 1.
    client.faults = at(THUMBNAIL, refuse(500), since=2, times=4)
    files = home.update()["files"]
    assert (files["indexed"], files["not_fetched"]) == (39, 1)
    client.clear_log()
    client.faults = lambda *_: None
    assert home.update()["files"]["indexed"] == 40
    assert fetched(client) == {"1"}


def test_still_images_are_compared(home: Home, serve: Serve, library: Library) -> None:
    home.configure(tags=["system:filetype is image"])
    stills = [
        replace(file, mime="image/jpeg", ext=".jpg", duration_ms=None, num_frames=None)
        for file in library[:12]
    ]
    client = serve(stills)
    assert home.update()["pairs"]["posted"] == len(client.potentials)
    assert true_pairs(stills) & client.potentials


def test_a_file_without_dimensions_has_no_aspect_ratio(
    home: Home, serve: Serve, library: Library
) -> None:
    widths = {"a" * 64: None, "b" * 64: 0}
    serve([replace(library[0], hash=name, width=width) for name, width in widths.items()])
    home.configure(filters={"use_ar_filter": True})
    assert home.update()["pairs"]["candidates"] == 0
    home.configure(filters={"use_ar_filter": False})
    assert home.rebuild()["pairs"]["matched"] == 1


def test_or_groups_reach_hydrus_and_an_empty_search_is_reported(
    home: Home, client: StandIn
) -> None:
    tags = [["system:filetype is webm", "scene:nothing"], "meta:demo"]
    home.configure(tags=tags)
    assert 0 < home.update()["files"]["found"] < 40
    (search,) = [request for request in client.requests if "search" in request.path]
    assert json.loads(search.query["tags"]) == tags

    home.configure(tags=["meta:nowhere"])
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert "meta:nowhere" in outcome.err


@pytest.mark.usefixtures("client")
def test_verbose_logs_every_score(home: Home) -> None:
    home.configure(**THRESHOLD, verbose=True)
    outcome = home.run("update", "--json")
    scores = [line for line in outcome.err.splitlines() if "score " in line]
    assert len(scores) == outcome.json["pairs"]["scored"] > 0
