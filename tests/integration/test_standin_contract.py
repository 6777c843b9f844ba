"""The stand-in answers as a real Hydrus client (v681) did.

tests/data/exchanges.json holds recorded requests, their replies and the files in the library. The
record lacks the metadata of the files 9, 22, 26, 39 and 40, and the ids of 22, 39 and 40: these are
invented.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hydindex.standin.server import (
    StandIn,
)
from hydindex.standin.state import HydrusFile

RECORD = json.loads((Path(__file__).parents[1] / "data" / "exchanges.json").read_bytes())
KEYS = {
    "<full>": StandIn.FULL_KEY,
    "<search only>": StandIn.SEARCH_ONLY_KEY,
    "<search + relationships>": StandIn.SEARCH_AND_RELATIONSHIPS_KEY,
    "<search + relationships + local paths>": StandIn.LOCAL_PATHS_KEY,
}
# The potentials before the first recorded request, as pairs of file ids.
POTENTIALS = [(3, 4), (3, 5), (3, 6), (4, 5), (4, 6), (5, 6)]
SET = "/manage_file_relationships/set_file_relationships"
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def a_file(file_hash: str, **changes: Any) -> HydrusFile:
    values: dict[str, Any] = {
        "hash": file_hash,
        "size": 1000,
        "mime": "video/mp4",
        "ext": ".mp4",
        "width": 480,
        "height": 270,
        "duration_ms": 8000,
        "num_frames": 96,
        "has_audio": False,
        "tags": frozenset({"meta:demo"}),
        "thumbnail": b"\xff\xd8\xff\xe0 not really a JPEG",
    }
    return HydrusFile(**{**values, **changes})


def recorded_library() -> list[HydrusFile]:
    """Return the recorded files at their ids, with others in between."""
    rows = {row["file_id"]: dict(row) for row in RECORD["files"]}
    files = []
    for file_id in range(1, max(rows) + 1):
        row = rows.get(file_id, {"hash": f"{file_id:064x}"})
        row.pop("file_id", None)
        if "duration" in row:
            row["duration_ms"] = row.pop("duration")
        files.append(a_file(row.pop("hash"), **row))
    return files


def send(client: StandIn, request: dict[str, Any]) -> requests.Response:
    headers = dict(request.get("headers", {}))
    if "key" in request:
        headers["Hydrus-Client-API-Access-Key"] = KEYS.get(request["key"], request["key"])
    params = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in request.get("params", {}).items()
    }
    return requests.request(
        request.get("method", "GET"),
        f"{client.url}:{client.port}{request['path']}",
        headers=headers,
        params=params,
        data=request.get("raw"),
        json=request.get("json"),
        timeout=5,
    )


@pytest.fixture
def client() -> Iterator[StandIn]:
    with StandIn([a_file(A), a_file(B)]) as client:
        yield client


def get(client: StandIn, path: str, **params: Any) -> requests.Response:
    return send(client, {"path": path, "key": StandIn.LOCAL_PATHS_KEY, "params": params})


def post_potentials(client: StandIn, *pairs: tuple[str, str]) -> requests.Response:
    rows = [
        {"hash_a": a, "hash_b": b, "relationship": 0, "do_default_content_merge": False}
        for a, b in pairs
    ]
    body = {"relationships": rows}
    return send(client, {"method": "POST", "path": SET, "key": StandIn.FULL_KEY, "json": body})


def differences(recorded: dict[str, Any], reply: requests.Response) -> list[str]:
    """Return what differs from the record; the bytes of pictures are not compared."""
    names = ("Content-Type", *recorded["headers"])
    expected = {"Content-Type": recorded["content_type"], **recorded["headers"]}
    got: dict[str, Any] = {name: reply.headers.get(name) for name in names}
    expected["status"], got["status"] = recorded["status"], reply.status_code
    if "json" in recorded:
        expected["json"], got["json"] = dict(recorded["json"]), reply.json()
        cut_to = expected["json"].pop("_cut_to", None)
        for name in ("hashes", "file_ids") if cut_to else ():
            got["json"][name] = got["json"][name][:cut_to]
    if "text" in recorded:
        expected["text"], got["text"] = recorded["text"], reply.text
    return [
        f"{recorded['label']}: {name} is {got[name]!r}, recorded was {expected[name]!r}"
        for name in expected
        # Compared as JSON, because 1, 1.0 and True are equal in Python.
        if json.dumps(got[name], sort_keys=True) != json.dumps(expected[name], sort_keys=True)
    ]


def test_recorded_requests_get_the_recorded_replies() -> None:
    files = recorded_library()
    found: list[str] = []
    with StandIn(files) as client:
        for a, b in POTENTIALS:
            client.decide(files[a - 1].hash, files[b - 1].hash, 0)
        for exchange in RECORD["exchanges"]:
            found += differences(exchange, send(client, exchange["request"]))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        (None, 200, 0, 16_756),
        ("100-199", 206, 100, 200),
        ("100-16806", 206, 100, 16_756),
        ("16756-16806", 206, 16_756, 16_756),
        ("16757-16806", 200, 0, 16_756),
    ],
)
def test_ranges_of_a_file_are_as_recorded(
    tmp_path: Path, asked: str | None, status: int, start: int, stop: int
) -> None:
    """The record is of another video of this size."""
    video = tmp_path / "a.mp4"
    video.write_bytes(bytes(n % 251 for n in range(16_756)))
    request: dict[str, Any] = {"path": "/get_files/file", "key": StandIn.FULL_KEY}
    request |= {"params": {"file_id": 1}, "headers": {"Range": f"bytes={asked}"} if asked else {}}
    with StandIn([a_file(A, size=16_756, video=video)]) as client:
        reply = send(client, request)
    is_part = status == 206
    assert reply.status_code == status
    assert reply.content == video.read_bytes()[start:stop]
    expected = {
        "Content-Type": "video/mp4",
        "Content-Length": str(stop - start),
        "Accept-Ranges": "bytes" if is_part else None,
        "Content-Range": f"bytes {start}-{stop - 1}/16756" if is_part else None,
    }
    assert {name: reply.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize("path", ["/get_files/file", "/get_files/file_path"])
def test_trashed_files_are_available_and_missing_or_deleted_files_are_not_as_recorded(
    tmp_path: Path, path: str
) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"a video")
    with StandIn([a_file(A, size=7, video=video)]) as client:
        client.trash(A)
        stored = get(client, path, file_id=1)
        assert get(client, path, hash=A).content == stored.content
        video.unlink()
        missing = get(client, path, file_id=1)
        client.delete(A)
        deleted = get(client, path, file_id=1)
    assert [reply.status_code for reply in (stored, missing, deleted)] == [200, 404, 404]
    assert missing.json()["error"] == "That file seems to be missing!"
    assert deleted.json()["error"] == "The client does not have this file!"
    if path == "/get_files/file_path":
        assert stored.json()["path"] == str(video)


@pytest.mark.parametrize(
    ("mime", "duration_ms", "kept"),
    [("video/mp4", 8000, 0), ("image/gif", 900, 0), ("image/png", None, 1)],
)
def test_v682_accepts_potentials_but_keeps_only_those_of_still_images(
    mime: str, duration_ms: int | None, kept: int
) -> None:
    files = [a_file(name, mime=mime, duration_ms=duration_ms) for name in (A, B)]
    with StandIn(files, hydrus_version=682) as client:
        assert post_potentials(client, (A, B)).status_code == 200
        assert len(client.potentials) == kept
        assert get(client, "/api_version").json() == {"version": 95, "hydrus_version": 682}


def test_a_potential_with_a_deleted_file_appears_once_the_file_is_restored(client: StandIn) -> None:
    client.delete(B)
    assert post_potentials(client, (A, B)).status_code == 200
    assert client.potentials == frozenset()
    client.restore(B)
    assert client.potentials == {frozenset({A, B})}
    client.delete(B)  # now with its potentials
    client.restore(B)
    assert client.potentials == frozenset()


def test_a_deleted_file_is_still_known_but_not_in_searches(client: StandIn) -> None:
    client.delete(A)
    found = get(client, "/get_files/search_files", tags=["system:everything"]).json()
    assert found["file_ids"] == [2]
    pictures = {
        get(client, "/get_files/thumbnail", file_id=file_id).content for file_id in (1, 2, 3)
    }
    assert len(pictures) == 3, "deleted, stored and unknown files have different pictures"
    row = get(
        client, "/get_files/file_metadata", hashes=[A], only_return_basic_information=True
    ).json()["metadata"][0]
    assert (row["file_id"], row["duration"]) == (1, 8000)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (["meta:demo"], [1, 2, 3]),
        (["meta:demo", "-cat"], [1, 3]),
        (["system:filetype is image"], [3]),
        (["system:has duration"], [1, 2]),
        ([["cat", "system:filetype is image"]], [2, 3]),
        (["system:duration < 3.5 seconds"], [2]),
        ([f"system:hash is {C}"], [3]),
    ],
)
def test_search(tags: list[Any], found: list[int]) -> None:
    still = a_file(C, mime="image/png", duration_ms=None)
    cat = a_file(B, tags=frozenset({"meta:demo", "cat"}), duration_ms=3400)
    with StandIn([a_file(A), cat, still]) as client:
        assert get(client, "/get_files/search_files", tags=tags).json()["file_ids"] == found


def test_identifiers_are_returned_without_metadata(client: StandIn) -> None:
    """As in the source of v681; no reply is recorded."""
    request = {"only_return_identifiers": True, "hashes": [B, C], "file_ids": [1]}
    rows = get(client, "/get_files/file_metadata", **request).json()["metadata"]
    assert rows == [
        {"file_id": 2, "hash": B},
        {"file_id": None, "hash": C},
        {"file_id": 1, "hash": A},
    ]


def test_a_restricted_key_may_use_only_ids_of_its_last_search(client: StandIn) -> None:
    """As in the source of v681; no reply is recorded."""

    def status(path: str, **params: Any) -> int:
        request = {"path": f"/get_files/{path}", "key": client.RESTRICTED_KEY, "params": params}
        return send(client, request).status_code

    basic = {"only_return_basic_information": True}
    assert status("file_metadata", file_ids=[1], **basic) == 400
    assert status("search_files", tags=[f"system:hash is {A}"]) == 200
    assert status("file_metadata", file_ids=[1], **basic) == 200
    assert status("file_metadata", file_ids=[1, 2], **basic) == 403
    assert status("thumbnail", file_id=1) == 200
    assert status("thumbnail", file_id=2) == 403
    assert status("thumbnail", hash=A) == 403


def test_another_database_has_other_ids_and_new_files_the_next_higher(client: StandIn) -> None:
    client.replace_database({B: 7})
    client.add([a_file(C)])
    found = get(client, "/get_files/search_files", tags=["system:everything"], return_hashes=True)
    assert dict(zip(found.json()["hashes"], found.json()["file_ids"], strict=True)) == {B: 7, C: 8}


def test_a_requested_key_is_unknown_until_approved(client: StandIn) -> None:
    def ask(name: str) -> requests.Response:
        params = {"name": name, "basic_permissions": [8, 3]}
        return send(client, {"path": "/request_new_permissions", "params": params})

    def verify(key: str) -> requests.Response:
        return send(client, {"path": "/verify_access_key", "key": key})

    client.open_permission_dialog()
    forgotten, key = (ask(name).json()["access_key"] for name in "ab")
    assert verify(key).status_code == 403
    client.approve()
    assert verify(forgotten).status_code == 403
    known = verify(key).json()
    assert (known["name"], known["basic_permissions"]) == ("b", [3, 8])
    assert ask("c").status_code == 409
