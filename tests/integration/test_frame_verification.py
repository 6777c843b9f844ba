"""A second look at doubtful pairs: at frames of both videos, fetched in parts, once."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Home, count, rows
from made_videos import doubtful_library, jpeg

from hydindex.standin.faults import DROP_AFTER_WORK, GARBAGE, Fault, refuse
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.replies import Reply
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
FILE, PATH = "/get_files/file", "/get_files/file_path"

TROUBLES = {
    "refused": refuse(500),
    "a page": GARBAGE,
    "cut short": Fault(carried_out=False, instead=Reply(206, b"too short", "video/mp4")),
    "cut off": DROP_AFTER_WORK,
}


@pytest.fixture
def library(tmp_path: Path) -> dict[str, HydrusFile]:
    return doubtful_library(tmp_path / "videos")


@pytest.fixture(autouse=True)
def _calibrated(home: Home) -> None:
    home.configure(decision={"method": "calibrated"}, frames={"enabled": True})


def names(pairs: Any) -> set[tuple[str, ...]]:
    """Name pairs of hashes as the library does."""
    return {tuple(sorted(bytes.fromhex(each)[:2].decode() for each in pair)) for pair in pairs}


def pair(letter: str) -> tuple[str, str]:
    return f"{letter}1", f"{letter}2"


BY_THUMBNAILS = {pair("a"), pair("b")}
BY_FRAMES = {pair("a"), pair("c")}


def test_without_it_the_thumbnails_decide(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    home.configure(frames={"enabled": False})
    client = serve(list(library.values()))
    home.update()
    assert names(client.potentials) == BY_THUMBNAILS
    assert count(client, FILE) == 0


def test_decides_doubtful_pairs_by_their_frames(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    client = serve(list(library.values()))
    result = home.update()
    assert names(client.potentials) == BY_FRAMES
    looks = result["second_look"]
    assert looks["bytes"] > 0
    assert {key: looks[key] for key in ("looked_at", "unseen", "matched", "waiting")} == {
        "looked_at": 4,
        "unseen": 0,
        "matched": 2,
        "waiting": 0,
    }
    assert result["pairs"]["matched"] == result["pairs"]["posted"] == 2
    assert count(client, PATH) == 0  # the key may not know paths
    fetched = [each.status for each in client.requests if each.path == FILE]
    assert set(fetched) == {206}
    for _, evidence in home.sql("SELECT score, evidence FROM pair"):
        assert '"frames"' in evidence


def test_what_it_saw_is_kept_through_rebuilds(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    client = serve(list(library.values()))
    home.update()
    home.configure(decision={"min_probability": 0.5})
    rebuilt = home.rebuild()
    assert rebuilt["pairs"]["matched"] == 0
    assert rebuilt["second_look"]["waiting"] == 2  # the others are posted already
    client.clear_log()
    result = home.update()
    assert result["second_look"]["looked_at"] == 2
    assert count(client, FILE) == 0
    assert names(client.potentials) == BY_FRAMES
    assert rows(client) == []  # posted once, ever


def test_nothing_new_needs_no_second_look(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    client = serve(list(library.values()))
    home.update()
    client.clear_log()
    result = home.update()
    assert result["second_look"]["looked_at"] == 0
    assert len(client.requests) <= 4


def test_reads_from_the_disk_where_the_key_may_know_paths(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    client = serve(list(library.values()))
    home.configure(api_key=client.LOCAL_PATHS_KEY)
    assert home.update()["second_look"]["bytes"] == 0
    assert names(client.potentials) == BY_FRAMES
    assert count(client, FILE) == 0


def test_fetches_where_the_path_is_another_machines(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    client = serve(list(library.values()))
    home.configure(api_key=client.LOCAL_PATHS_KEY)
    body = b'{"path": "/nowhere/a1.mp4", "filetype": "video/mp4", "size": 1}'
    elsewhere = Fault(carried_out=False, instead=Reply(200, body, "application/json"))
    client.faults = lambda _method, path, _nth: elsewhere if path == PATH else None
    assert home.update()["second_look"]["bytes"] > 0
    assert names(client.potentials) == BY_FRAMES


@pytest.mark.parametrize("letter", "abcd")
def test_frames_that_cannot_be_decoded_leave_a_pair_as_it_was(
    home: Home, serve: Serve, library: dict[str, HydrusFile], letter: str
) -> None:
    damaged = library[f"{letter}2"].video
    assert damaged is not None
    damaged.write_bytes(b"?" * damaged.stat().st_size)
    client = serve(list(library.values()))
    result = home.update()
    assert result["second_look"]["unseen"] == 1
    others = BY_FRAMES - {pair(letter)}
    assert names(client.potentials) == others | (BY_THUMBNAILS & {pair(letter)})
    client.clear_log()
    home.update()
    assert count(client, FILE) == 0  # it is known that there is nothing to be seen


def test_a_file_that_hydrus_has_lost_leaves_a_pair_as_it_was(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    lost = refuse(404)
    client = serve(list(library.values()))
    client.faults = lambda _method, path, _nth: lost if path == FILE else None
    assert home.update()["second_look"]["unseen"] == 4
    assert names(client.potentials) == BY_THUMBNAILS


@pytest.mark.parametrize("trouble", TROUBLES)
def test_pairs_wait_for_videos_that_cannot_be_fetched(
    home: Home, serve: Serve, library: dict[str, HydrusFile], trouble: str
) -> None:
    client = serve(list(library.values()))
    client.faults = lambda _method, path, _nth: TROUBLES[trouble] if path == FILE else None
    result = home.update(expect=1)
    assert result["second_look"]["waiting"] == 4
    assert result["pairs"]["posted"] == 0
    assert "waiting for a second look" in home.run("stats").out
    client.faults = lambda _method, _path, _nth: None
    assert home.update()["second_look"]["waiting"] == 0
    assert names(client.potentials) == BY_FRAMES


def test_what_is_beyond_doubt_does_not_wait_for_videos(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    """The client goes away as soon as it is asked for a video."""
    clear = jpeg(np.random.default_rng(5).integers(0, 256, (12, 16), np.uint8))
    clear_pair = [
        replace(file, hash=name.encode().hex().ljust(64, "0"), duration_ms=9000, thumbnail=clear)
        for name, file in {"s1": library["a1"], "s2": library["a2"]}.items()
    ]
    client = serve([*library.values(), *clear_pair])
    asked: list[str] = []

    def hook(_method: str, path: str, _nth: int) -> Fault | None:
        asked.append(path)
        return refuse(503) if FILE in asked else None

    client.faults = hook
    assert home.run("update").exit_code == 3
    assert names(client.potentials) == {pair("s")}
    client.faults = lambda _method, _path, _nth: None
    home.update()
    assert names(client.potentials) == BY_FRAMES | {pair("s")}
    assert len(rows(client)) == 3


def test_a_run_looks_at_the_most_probable_and_leaves_the_rest(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    home.configure(frames={"max_per_run": 2})
    client = serve(list(library.values()))
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert "2 pairs wait for the next run" in outcome.out
    assert names(client.potentials) == {pair("a")}
    home.update()
    assert names(client.potentials) == BY_FRAMES


def test_pairs_of_files_that_are_gone_wait_until_they_return(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    client = serve(list(library.values()))
    client.faults = lambda _method, path, _nth: TROUBLES["refused"] if path == FILE else None
    home.update(expect=1)
    client.faults = lambda _method, _path, _nth: None
    client.trash(library["a1"].hash)
    assert home.update()["second_look"]["waiting"] == 1
    assert names(client.potentials) == {pair("c")}
    client.restore(library["a1"].hash)
    home.update()
    assert names(client.potentials) == BY_FRAMES


def test_switching_it_on_needs_a_rebuild(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    home.configure(frames={"enabled": False})
    client = serve(list(library.values()))
    home.update()
    home.configure(frames={"enabled": True})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    assert "frames.enabled" in outcome.json["error"]["message"]
    home.rebuild()
    home.update()
    assert names(client.potentials) == BY_THUMBNAILS | BY_FRAMES  # what was posted stays so
    assert home.pairs("posted") == client.potentials


def test_the_threshold_rule_has_no_doubts(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(decision={"method": "threshold"})
    outcome = home.run("update")
    assert outcome.exit_code == 2
    assert "frames.enabled has no effect" in outcome.err


def test_without_pyav_it_says_what_to_install(
    home: Home, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([])
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    outcome = home.run("update")
    assert outcome.exit_code == 2
    assert "hydindex[frames]" in outcome.err


def test_still_images_get_no_second_look(
    home: Home, serve: Serve, library: dict[str, HydrusFile]
) -> None:
    images = [replace(each, duration_ms=None, video=None) for each in library.values()]
    serve(images)
    assert home.update()["second_look"] == dict.fromkeys(
        ("looked_at", "unseen", "matched", "waiting", "sampled", "not_fetched", "bytes"), 0
    )
