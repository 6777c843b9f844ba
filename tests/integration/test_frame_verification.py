"""Frame verification: frames of both videos, fetched in parts and once, decide doubtful pairs."""

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Home, Library, Serve, assert_sent_once, at, count, from_then_on, rows
from made_videos import doubtful_library, jpeg

from hydindex.standin.api import Reply
from hydindex.standin.server import DROP_AFTER_WORK, GARBAGE, Fault, FaultHook, StandIn, refuse
from hydindex.standin.state import HydrusFile

Videos = dict[str, HydrusFile]
FILE, PATH = "/get_files/file", "/get_files/file_path"
METADATA = "/get_files/file_metadata"
COUNTS = ("verified", "unverifiable", "matched", "waiting", "sampled", "not_fetched", "bytes")

FAULTS = {
    "refused": refuse(500),
    "a page": GARBAGE,
    "cut short": Fault(carried_out=False, instead=Reply(206, b"too short", "video/mp4")),
    "cut off": DROP_AFTER_WORK,
}

A, B, C = (frozenset((f"{letter}1", f"{letter}2")) for letter in "abc")
BY_THUMBNAILS = {A, B}
BY_FRAMES = {A, C}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return doubtful_library(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def library(videos: Videos) -> Library:
    return list(videos.values())


@pytest.fixture(autouse=True)
def _enabled(home: Home) -> None:
    home.configure(frames={"enabled": True})


def named(pairs: Iterable[frozenset[str]]) -> set[frozenset[str]]:
    """Return pairs of hashes by the names of the library."""
    return {frozenset(bytes.fromhex(each)[:2].decode() for each in pair) for pair in pairs}


def at_video(fault: Fault) -> FaultHook:
    return lambda _method, path, _nth: fault if path == FILE else None


def test_frames_confirm_or_reject_doubtful_pairs_once(home: Home, client: StandIn) -> None:
    result = home.update()
    assert named(client.potentials) == BY_FRAMES
    counts = result["frame_verification"]
    assert counts.pop("bytes") > 0
    expected = {"verified": 4, "matched": 2, "sampled": 8}
    assert counts == {key: expected.get(key, 0) for key in COUNTS if key != "bytes"}
    assert result["pairs"]["matched"] == result["pairs"]["posted"] == 2
    assert count(client, PATH) == 0  # the key may not read paths
    assert {each.status for each in client.requests if each.path == FILE} == {206}
    stored = [json.loads(features) for (features,) in home.sql("SELECT features FROM pair")]
    assert all({"thumbnails", "frames"} <= features.keys() for features in stored)

    client.clear_log()
    assert home.update()["frame_verification"] == dict.fromkeys(COUNTS, 0)
    assert len(client.requests) <= 5


def test_sampled_frames_survive_rebuilds(home: Home, client: StandIn) -> None:
    home.update()
    home.configure(decision={"min_probability": 0.5})
    rebuilt = home.rebuild()
    assert rebuilt["pairs"]["matched"] == 0
    assert rebuilt["frame_verification"]["waiting"] == 2  # the others are posted already
    client.clear_log()
    assert home.update()["frame_verification"]["verified"] == 2
    assert count(client, FILE) == 0
    assert named(client.potentials) == BY_FRAMES
    assert rows(client) == []


def test_enabling_it_needs_a_rebuild(home: Home, client: StandIn) -> None:
    home.configure(frames={"enabled": False})
    home.update()
    assert named(client.potentials) == BY_THUMBNAILS
    assert count(client, FILE) == 0

    home.configure(frames={"enabled": True})
    assert "frames.enabled" in home.fail("update", expect=4)
    home.rebuild()
    home.update()
    assert named(client.potentials) == BY_THUMBNAILS | BY_FRAMES
    assert home.pairs("posted") == client.potentials


@pytest.mark.parametrize("on_this_machine", [True, False])
def test_videos_are_read_from_disk_if_the_key_may_read_paths_and_they_are_here(
    home: Home, client: StandIn, on_this_machine: bool
) -> None:
    home.configure(api_key=client.LOCAL_PATHS_KEY)
    if not on_this_machine:
        body = b'{"path": "/nowhere/a1.mp4", "filetype": "video/mp4", "size": 1}'
        elsewhere = Reply(200, body, "application/json")
        client.faults = at(PATH, Fault(carried_out=False, instead=elsewhere))
    fetched = home.update()["frame_verification"]["bytes"]
    assert named(client.potentials) == BY_FRAMES
    assert (fetched == 0) == (count(client, FILE) == 0) == on_this_machine


def test_without_usable_frames_the_verdict_of_the_thumbnails_stays(
    home: Home, serve: Serve, videos: Videos, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"?" * 9999)
    without = {name: replace(videos[name], video=damaged, size=9999) for name in ("b2", "c2")}
    client = serve(list({**videos, **without}.values()))
    assert home.update()["frame_verification"]["unverifiable"] == 2
    assert named(client.potentials) == {A, B}
    client.clear_log()
    home.update()
    assert count(client, FILE) == 0


def test_without_the_file_the_verdict_of_the_thumbnails_stays(home: Home, client: StandIn) -> None:
    client.faults = at_video(refuse(404))
    assert home.update()["frame_verification"]["unverifiable"] == 4
    assert named(client.potentials) == BY_THUMBNAILS


@pytest.mark.parametrize("fault", FAULTS)
def test_pairs_wait_for_videos_and_for_files_that_are_gone(
    home: Home, client: StandIn, videos: Videos, fault: str
) -> None:
    client.faults = at_video(FAULTS[fault])
    result = home.update()
    assert result["frame_verification"]["not_fetched"] == 8
    assert result["frame_verification"]["waiting"] == 4
    assert result["pairs"]["posted"] == 0
    assert home.run("stats", "--json").json["pairs"]["doubtful"] == 4
    client.faults = lambda *_: None
    client.trash(videos["a1"].hash)
    assert home.update()["frame_verification"]["waiting"] == 1
    assert named(client.potentials) == {C}
    client.restore(videos["a1"].hash)
    assert home.update()["frame_verification"]["waiting"] == 0
    assert named(client.potentials) == BY_FRAMES


def test_certain_pairs_do_not_wait_for_videos(home: Home, serve: Serve, videos: Videos) -> None:
    clear = jpeg(np.random.default_rng(5).integers(0, 256, (12, 16), np.uint8))
    certain = [
        replace(file, hash=name.encode().hex().ljust(64, "0"), duration_ms=9000, thumbnail=clear)
        for name, file in {"s1": videos["a1"], "s2": videos["a2"]}.items()
    ]
    client = serve([*videos.values(), *certain])
    client.faults = from_then_on(FILE, refuse(503))
    assert home.run("update").exit_code == 3
    assert named(client.potentials) == {frozenset(("s1", "s2"))}
    client.faults = lambda *_: None
    home.update()
    assert named(client.potentials) == BY_FRAMES | {frozenset(("s1", "s2"))}
    assert_sent_once(client)


def test_the_most_probable_pairs_are_verified_first(home: Home, client: StandIn) -> None:
    home.configure(frames={"max_per_run": 2})
    assert home.update()["frame_verification"]["waiting"] == 2
    assert named(client.potentials) == {A}
    home.update()
    assert named(client.potentials) == BY_FRAMES


def test_still_images_are_not_verified(home: Home, serve: Serve, videos: Videos) -> None:
    home.configure(decision={"min_probability": 0.1})
    client = serve([replace(each, duration_ms=None, video=None) for each in videos.values()])
    assert home.update()["frame_verification"] == dict.fromkeys(COUNTS, 0)
    assert named(client.potentials) >= BY_THUMBNAILS


@pytest.mark.usefixtures("client")
def test_it_needs_pyav(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    assert "hydindex[frames]" in home.fail("update", expect=2)


def test_frames_of_another_video_are_never_used(
    home: Home, client: StandIn, videos: Videos
) -> None:
    """Its id may denote another file that the search did not check."""
    client.faults = at_video(refuse(500))
    home.update()
    client.clear_log()
    swapped = {
        client.ids[videos[a].hash]: client.ids[videos[b].hash]
        for a, b in (("a1", "c1"), ("c1", "a1"))
    }

    def swap(_method: str, path: str, nth: int) -> None:
        if path == METADATA and nth == 2:  # the first is that of the search
            client.replace_database(
                {each: swapped.get(number, number) for each, number in client.ids.items()}
            )

    client.faults = swap
    counts = home.update()["frame_verification"]
    assert (counts["not_fetched"], counts["waiting"]) == (2, 2)
    asked = {int(each.query["file_id"]) for each in client.requests if each.path == FILE}
    assert len(asked) == 6
    assert asked.isdisjoint(swapped)
    client.faults = lambda *_: None
    assert home.update()["frame_verification"]["waiting"] == 0
    assert named(client.potentials) == BY_FRAMES
