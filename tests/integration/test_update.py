"""`hydindex update` against the stand-in: what a night fetches, compares and posts."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import pytest
from conftest import Home, count, fetched, rows
from PIL import Image

from hydindex.standin.faults import DROP_BEFORE_WORK, refuse
from hydindex.standin.library_files import HydrusFile, true_pairs
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
METADATA = "/get_files/file_metadata"
THUMBNAIL = "/get_files/thumbnail"


def test_posts_the_copies_and_then_is_quiet(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    first = home.update()
    assert first["files"] == {
        "found": 40, "new": 40, "gone": 0, "returned": 0, "unusable": 0, "indexed": 40
    }  # fmt: skip
    assert first["pairs"]["posted"] == first["pairs"]["matched"] == len(client.potentials) > 0
    assert len(true_pairs(library) & client.potentials) > len(true_pairs(library)) / 2

    client.clear_log()
    again = home.update()
    assert again["pairs"] == dict.fromkeys(again["pairs"], 0)
    assert again["files"]["new"] == 0
    assert count(client, "/thumbnail") == 0
    assert count(client, "/set_file_relationships") == 0
    assert len(client.requests) <= 8


def test_json_has_just_the_promised_keys(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library[:3])
    result = home.update()
    assert {key: set(value) for key, value in result.items() if isinstance(value, dict)} == {
        "files": {"found", "new", "gone", "returned", "unusable", "indexed"},
        "pairs": {"candidates", "scored", "matched", "posted", "known", "refused", "queued"},
        "kept_back": {"doubtful", "implied", "later"},
        "sieve": {"levels", "settled", "weighed"},
        "second_look": {
            *("looked_at", "unseen", "matched", "waiting", "sampled", "not_fetched", "bytes"),
        },
        "seconds": {"search", "fetch", "prepare", "compare", "look", "post", "total"},
    }
    assert set(result["sieve"]["levels"]) == set("54321")
    assert {key for key, value in result.items() if not isinstance(value, dict)} == {
        "command", "exit_code", "dry_run"
    }  # fmt: skip


def test_fetches_only_what_is_new(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    client = serve(library[:30])
    home.update()
    client.clear_log()
    client.add(library[30:])
    assert home.update()["files"]["new"] == 10
    assert fetched(client) == {str(file_id) for file_id in range(31, 41)}


def test_growing_in_parts_posts_the_same_as_at_once(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve([])
    for start in range(0, 40, 7):
        client.add(library[start : start + 7])
        home.update()
    in_parts = client.potentials
    assert len(rows(client)) == len(in_parts)

    home.forget()
    at_once = serve(library)
    home.update()
    assert in_parts == at_once.potentials


def test_dry_run_leaves_hydrus_alone_and_the_pairs_queued(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    dry = home.update("--dry-run")
    assert dry["dry_run"] is True
    assert dry["pairs"]["queued"] == dry["pairs"]["matched"] > 0
    assert not any(request.method == "POST" for request in client.requests)
    assert "would post" in home.run("update", "--dry-run").out

    client.clear_log()
    assert home.update()["pairs"]["posted"] == dry["pairs"]["queued"]
    assert count(client, "/thumbnail") == 0


def test_a_file_that_returns_meets_those_that_came_meanwhile(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    everything = serve(library)
    home.update()
    pair = min(everything.potentials, key=sorted)
    away, newcomer = sorted(pair)

    home.forget()
    client = serve([file for file in library if file.hash != newcomer])
    home.update()
    client.trash(away)
    assert home.update()["files"]["gone"] == 1
    client.add([file for file in library if file.hash == newcomer])
    home.update()
    assert pair not in client.potentials

    client.clear_log()
    client.restore(away)
    back = home.update()
    assert back["files"]["returned"] == 1
    assert back["files"]["new"] == 0
    assert count(client, "/thumbnail") == 0
    assert client.potentials == everything.potentials
    assert len(set(rows(client))) == len(rows(client))


def test_a_queued_pair_waits_while_one_of_its_files_is_gone(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update("--dry-run")
    pair = min(home.pairs("queued"), key=sorted)
    client.trash(min(pair))
    home.update()
    assert pair not in client.potentials
    client.restore(min(pair))
    home.update()
    assert pair in client.potentials


def test_files_without_a_picture_are_set_aside_for_a_week(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    deleted, broken, *sound = library
    client = serve([deleted, replace(broken, thumbnail=b"no picture"), *sound])
    client.delete(deleted.hash)
    client.restore(deleted.hash)
    client.delete(deleted.hash)
    result = home.update()
    assert result["files"]["unusable"] >= 1
    assert result["files"]["found"] == result["files"]["indexed"] + result["files"]["unusable"]
    assert "cannot be decoded" in home.run("stats").out

    client.clear_log()
    home.update()
    assert count(client, "/thumbnail") == 0

    home.sql("UPDATE file SET checked_at = '2020-01-01T00:00:00+00:00'")
    home.update()
    assert fetched(client) == {"2"}


def test_placeholders_are_not_taken_for_thumbnails(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """The client's own placeholder, whatever it looks like, is learnt from the client."""
    first = serve([])
    home.update()
    placeholder = _placeholder_of(first)
    client = serve([replace(file, thumbnail=placeholder) for file in library[:5]])
    result = home.update(expect=0)
    assert result["files"]["unusable"] == 5
    assert result["pairs"]["candidates"] == 0
    assert client.potentials == frozenset()


def _placeholder_of(client: StandIn) -> bytes:
    from hydindex.hydrus.client import HydrusClient

    with HydrusClient(f"{client.url}:{client.port}", client.FULL_KEY) as hydrus:
        return hydrus.placeholder()


def test_a_thumbnail_that_fails_is_asked_for_by_the_next_run(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.configure(network={"max_connections": 1})
    # The placeholder is the first request for a thumbnail, file 1 the second.
    client.faults = lambda _, path, nth: (
        refuse(500) if path == THUMBNAIL and 2 <= nth <= 5 else None
    )
    assert home.update(expect=1)["files"]["indexed"] == 39

    client.faults = lambda *_: None
    client.clear_log()
    result = home.update()
    assert result["files"]["new"] == 1
    assert fetched(client) == {"1"}


def test_one_bad_id_costs_only_itself(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    client = serve(library)
    client.faults = lambda _, path, nth: (
        # The whole batch, then its first half, quarter, ... down to the first file.
        refuse(404) if path == METADATA and nth in (1, 2, 3, 4, 5, 6, 7) else None
    )
    result = home.update(expect=1)
    assert 0 < 40 - result["files"]["indexed"] <= 2
    client.faults = lambda *_: None
    assert home.update()["files"]["indexed"] == 40


def test_a_run_that_loses_its_client_keeps_what_came_and_goes_on(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.configure(network={"max_connections": 1})
    client.faults = lambda _, path, nth: DROP_BEFORE_WORK if _lost(path, nth) else None

    failed = home.run("update", "--json")
    assert failed.exit_code == 3
    assert failed.json["error"]["kind"] == "hydrus_unreachable"
    kept = home.sql("SELECT count(*) FROM file")[0][0]
    assert kept > 0

    client.faults = lambda *_: None
    client.clear_log()
    home.update()
    assert len(fetched(client)) == 40 - kept


def _lost(path: str, nth: int) -> bool:
    """From the twentieth thumbnail on, nothing answers any more."""
    return (path == THUMBNAIL and nth > 20) or (path == "/api_version" and nth > 1)


def test_still_images_are_compared_among_themselves(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    home.configure(tags=["system:filetype is image"])
    stills = [
        replace(file, mime="image/jpeg", ext=".jpg", duration_ms=None, num_frames=None)
        for file in library[:12]
    ]
    client = serve(stills)
    result = home.update()
    assert result["pairs"]["posted"] > 0
    assert len(true_pairs(stills) & client.potentials) > 0


def test_a_file_without_dimensions_has_no_ratio(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    twins = [replace(library[0], hash=digit * 64, width=None, height=None) for digit in ("a", "b")]
    serve(twins)
    assert home.update()["pairs"]["candidates"] == 0
    home.configure(filters={"use_ar_filter": False})
    assert home.rebuild()["pairs"]["matched"] == 1


def test_or_groups_reach_hydrus(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    client = serve(library)
    tags = [["system:filetype is webm", "scene:nothing"], "meta:demo"]
    home.configure(tags=tags)
    result = home.update()
    assert 0 < result["files"]["found"] < 40
    (search,) = [request for request in client.requests if "search" in request.path]
    assert json.loads(search.query["tags"]) == tags


def test_verbose_logs_every_score(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    serve(library)
    home.configure(verbose=True)
    outcome = home.run("update", "--json")
    scores = [line for line in outcome.err.splitlines() if "score " in line]
    assert len(scores) == outcome.json["pairs"]["scored"] > 0


def test_runs_are_recorded_without_the_key(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update()
    ((command, exit_code, config, report, finished_at),) = home.sql(
        "SELECT command, exit_code, config, report, finished_at FROM run"
    )
    assert (command, exit_code) == ("update", 0)
    assert json.loads(config)["preprocessing"]["fixedResize"] == [32, 32]
    assert json.loads(report)["files"]["found"] == 40
    assert finished_at
    assert client.SEARCH_AND_RELATIONSHIPS_KEY.encode() not in home.index.read_bytes()


def test_a_changed_picture_of_an_unusable_file_is_taken_in_later(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    empty = replace(library[0], thumbnail=b"")
    client = serve([empty, *library[1:]])
    assert home.update()["files"]["unusable"] == 1
    picture = BytesIO()
    Image.new("RGB", (150, 84), "navy").save(picture, "PNG")
    client = serve([replace(empty, thumbnail=picture.getvalue()), *library[1:]])
    home.sql("UPDATE file SET checked_at = '2020-01-01T00:00:00+00:00'")
    result = home.update()
    assert result["files"]["unusable"] == 0
    assert result["files"]["new"] == 0
    assert fetched(client) == {"1"}


def test_a_client_that_hides_its_placeholder_is_worked_with_all_the_same(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """A key that is restricted by tags may not ask for a file that its searches never found."""
    client = serve(library)
    client.faults = lambda _, path, nth: refuse(403) if path == THUMBNAIL and nth == 1 else None
    assert home.update()["files"]["indexed"] == 40


def test_a_row_of_metadata_that_makes_no_sense_costs_itself(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve([replace(library[0], num_frames=2**63), *library[1:]])
    assert home.update(expect=1)["files"]["indexed"] == 39


def test_a_width_of_zero_is_no_ratio(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    serve([replace(library[0], hash=digit * 64, width=0) for digit in ("a", "b")])
    assert home.update()["pairs"]["candidates"] == 0


def test_a_proxy_is_not_asked_about_a_client_on_this_machine(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(library[:3])
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert home.update()["files"]["indexed"] == 3


def test_a_search_that_finds_nothing_says_what_it_searched_for(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(tags=["meta:nowhere"])
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert "meta:nowhere" in outcome.err
