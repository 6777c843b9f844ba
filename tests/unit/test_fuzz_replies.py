"""Whatever the server replies, `HydrusClient` returns a valid value or raises a HydindexError."""

import gc
import json
import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hydindex.common.errors import HydindexError, HydrusBadReply
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.replies import Relationships
from hydindex.hydrus.transport import Transport
from hydindex.records.files import FileMetadata, FileRef, SearchResult, hex_hashes
from hydindex.records.pair_states import Decision
from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn

A, B = "a1" * 32, "b2" * 32
VERSIONS = {"version": 94, "hydrus_version": 681}


def _relatives(king: str, *potentials: str) -> dict[str, Any]:
    kinds = {"0": list(potentials), "8": [], "1": [A], "3": []}
    return {"is_king": True, "king": king, "king_is_on_file_domain": True, **kinds}


def _row(file_id: int, sha256: str) -> dict[str, Any]:
    size = {"size": 62_563, "width": 270, "height": 480, "duration": 8580, "num_frames": 103}
    return {"file_id": file_id, "hash": sha256, "mime": "video/mp4", **size}


# Each method: how to call it, and a valid reply.
METHODS: dict[str, tuple[Callable[[HydrusClient], Any], Any]] = {
    "version": (HydrusClient.version, VERSIONS),
    "require_permissions": (
        HydrusClient.require_permissions,
        {"name": "k", "permits_everything": False, "basic_permissions": [3, 8], **VERSIONS},
    ),
    "search": (
        lambda client: client.search(["system:filetype is video"]),
        {"file_ids": [1, 2], **VERSIONS},
    ),
    "search_with_hashes": (
        lambda client: client.search_with_hashes(["system:filetype is video"]),
        {"file_ids": [1, 2], "hashes": [A, B], **VERSIONS},
    ),
    "identifiers": (
        lambda client: client.identifiers([1, 2]),
        {"metadata": [{"file_id": 1, "hash": A}, {"file_id": 2, "hash": B}], **VERSIONS},
    ),
    "metadata": (
        lambda client: client.metadata([FileRef(1, A), FileRef(2, B)]),
        {"metadata": [_row(1, A), _row(2, B)], **VERSIONS},
    ),
    "relationships": (
        lambda client: client.relationships([A, B]),
        {"file_relationships": {A: _relatives(A, B), B: _relatives(B, A)}, **VERSIONS},
    ),
    "thumbnail": (lambda client: client.thumbnail(1), {}),
    "placeholder": (HydrusClient.placeholder, {}),
    "post_potentials": (lambda client: client.post_potentials([(A, B)], merge=True), {}),
}


def check_value(method: str, value: Any) -> None:
    """The value has the documented type and range."""
    if method == "version":
        assert type(value) is int
    elif method == "search":
        assert value.dtype == np.int64
        assert value.tolist() == sorted(set(value.tolist()))
        assert min(value, default=0) >= 0
    elif method == "identifiers":
        assert all(type(each) is int and len(name) == 64 for each, name in value.items())
    elif method == "search_with_hashes":
        assert isinstance(value, SearchResult)
        assert len(value.hydrus_ids) == len(value.sha256) == len(set(value.sha256.tolist()))
        assert len(set(value.hydrus_ids.tolist())) == len(value.hydrus_ids)
        assert all(len(each) == 64 for each in hex_hashes(value.sha256))
    elif method == "metadata":
        assert all(name == row.sha256 for name, row in value.items())
        for row in value.values():
            check_row(row)
    elif method == "relationships":
        assert isinstance(value, Relationships)
        assert type(value.related(A, B)) is bool
        assert value.decision(A, B) in (None, *Decision)
        assert value.decision(A, B) == value.decision(B, A)
        assert value.decision(A, B) is None or value.related(A, B)
    elif method in ("thumbnail", "placeholder"):
        assert type(value) is bytes
    else:
        assert value is None


def check_row(row: FileMetadata) -> None:
    assert type(row.hydrus_id) is int
    assert len(bytes.fromhex(row.sha256)) == 32
    assert row.mime is None or row.mime.encode() is not None
    for count in (row.size_bytes, row.width_px, row.height_px):
        assert count is None or (type(count) is int and 0 <= count < 2**63)
    assert row.duration_ms is None or (math.isfinite(row.duration_ms) and row.duration_ms >= 0)


def check_message(error: HydindexError, key: str) -> None:
    """Short printable text without the key."""
    for text in (error.message, error.remedy):
        assert 0 < len(text) <= 1000
        assert text.isprintable(), text
        text.encode()
        assert key not in text


# Random replies

TEXTS = st.text(st.characters(exclude_categories=()), max_size=20) | st.just("\ud800")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from([2**63, 10**400, A, B, A.upper(), A[:-1], A + "\n", "0" * 64])
)
REMOVED = object()
KEYS = TEXTS | st.sampled_from([A, B, "0", "king", "hash", "file_id", "error", "duration"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8
)

Place = tuple[str | int, ...]


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """The path of every value in a reply, at every depth."""
    yield here
    steps = value if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    for step in steps:
        yield from places(value[step], (*here, step))


def replaced(reply: Any, place: Place, value: Any) -> Any:
    """Copy a reply with another value at one place, or without it."""
    holder = {"reply": deepcopy(reply)}
    inner: Any = holder
    *steps, last = "reply", *place
    for step in steps:
        inner = inner[step]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return holder.get("reply")


@st.composite
def mutated_values(draw: st.DrawFn, valid: Any) -> Any:
    """A valid reply with some values replaced or removed."""
    reply = valid
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(reply))))
        reply = replaced(reply, place, draw(VALUES | st.just(REMOVED)))
    return reply


@st.composite
def mutated_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes changed, and a part removed, repeated or moved."""
    damaged = bytearray(whole)
    anywhere = st.integers(0, len(damaged))
    for at, byte in draw(st.lists(st.tuples(anywhere, st.binary(max_size=2)), max_size=4)):
        damaged[at : at + 1] = byte
    start, end, to = (draw(anywhere) for _ in range(3))
    return bytes(damaged[:to] + damaged[start:end] + damaged[draw(anywhere) :])


def deep(depth: int, inner: bytes, kind: int) -> bytes:
    """Deeply nested JSON, balanced or not."""
    opening, closing = [(b"[", b"]"), (b'{"a":', b"}"), (b'{"error":', b"}"), (b"[", b"")][kind]
    return opening * depth + inner + closing * depth


def bodies(valid: Any) -> st.SearchStrategy[bytes]:
    """Replies of every kind, derived from a valid one."""
    as_bytes = json.dumps(valid).encode()
    mutated = mutated_values(valid).map(lambda value: json.dumps(value).encode())
    return st.one_of(
        mutated,
        mutated.flatmap(mutated_bytes),
        mutated_bytes(as_bytes),
        VALUES.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=200),
        st.builds(deep, st.integers(1, 100_000), st.just(as_bytes), st.integers(0, 3)),
    )


REFUSALS = st.sampled_from(
    [201, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 409, 418, 419, 429, 500, 502, 503, 599]
)
ERRORS = st.builds(lambda text: json.dumps({"error": text}).encode(), TEXTS | VALUES)
LOCATIONS = st.fixed_dictionaries(
    {},
    optional={
        "Location": st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
        | st.sampled_from(["/", "//", "http://[", "http://a:b", "http://\xff", "x:" * 20])
    },
)


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


def check_reply(
    server: StandIn, method: str, body: bytes, status: int = 200, headers: Mapping[str, str] = {}
) -> HydindexError | None:
    """Send a reply; check the value or the error that follows, and return the error."""
    reply = Reply(status, body, "application/json", {**headers, "Connection": "close"})
    server.faults = lambda *_: Fault(carried_out=False, instead=reply)
    server.clear_log()
    ask, _ = METHODS[method]
    with HydrusClient(Transport(f"{server.url}:{server.port}", server.FULL_KEY)) as client:
        try:
            value = ask(client)
        except HydindexError as error:
            check_message(error, server.FULL_KEY)
            return error
        except Exception as error:
            other = repr(error)
        else:
            check_value(method, value)
            return None
    gc.collect()  # close what the unexpected error left open
    raise AssertionError(other)


FUZZED = settings(
    max_examples=40,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@FUZZED
def test_any_reply_gives_a_value_or_an_error(
    server: StandIn, method: str, data: st.DataObject
) -> None:
    _, valid = METHODS[method]
    check_reply(server, method, data.draw(bodies(valid)))


@given(
    method=st.sampled_from(list(METHODS)),
    status=REFUSALS,
    body=bodies(VERSIONS) | ERRORS,
    headers=LOCATIONS,
)
@example(method="version", status=302, body=b"", headers={"Location": "\xe9"})
@example(method="version", status=302, body=b"", headers={"Location": "http://["})
@example(method="version", status=400, body=b"[" * 100_000, headers={})
@example(method="version", status=400, body=b'{"error": "Error:\\n  File"}', headers={})
@example(method="version", status=400, body=b'{"error": "\\ud800"}', headers={})
@example(method="version", status=400, body=b'{"error": "' + b"a " * 100_000 + b'"}', headers={})
@settings(FUZZED, max_examples=120)
def test_any_error_status_gives_a_readable_error(
    server: StandIn, method: str, status: int, body: bytes, headers: dict[str, str]
) -> None:
    assert check_reply(server, method, body, status, headers)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        pytest.param(206, b"x" * (3 << 20), {}, id="too long"),
        pytest.param(206, b"not gzip" * 100_000, {"Content-Encoding": "gzip"}, id="not gzip"),
    ],
)
def test_an_unreadable_body_releases_its_connection(
    server: StandIn, status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Otherwise the next request waits for a connection as long as the error is referenced."""
    reply = Reply(status, body, "video/mp4", headers)
    server.faults = lambda *_: Fault(carried_out=False, instead=reply)
    client = HydrusClient(Transport(f"{server.url}:{server.port}", server.FULL_KEY, connections=1))
    errors: list[HydindexError] = []

    def read_twice() -> None:
        with client:
            for _ in range(2):
                try:
                    client.file_part(1, range(10))
                except HydindexError as error:
                    errors.append(error)

    reading = Thread(target=read_twice, daemon=True)
    reading.start()
    reading.join(3.0)
    assert len(errors) == 2


WRONG = [REMOVED, None, True, -7, 0.5, 2**63, math.nan, math.inf, "", "7", [], [None], {}, {"a": 1}]


@pytest.mark.parametrize("method", [name for name, (_, valid) in METHODS.items() if valid])
def test_a_wrong_value_anywhere_gives_a_value_or_an_error(server: StandIn, method: str) -> None:
    _, valid = METHODS[method]
    assert check_reply(server, method, json.dumps(valid).encode()) is None
    errors = 0
    for place in places(valid):
        for wrong in WRONG:
            body = json.dumps(replaced(valid, place, wrong)).encode()
            errors += check_reply(server, method, body) is not None
    assert errors > len(WRONG)


@pytest.mark.parametrize("wrong", [None, True, 681.5, "681", [681]])
def test_types_are_exact(server: StandIn, wrong: Any) -> None:
    reply = {**VERSIONS, "hydrus_version": wrong}
    assert isinstance(check_reply(server, "version", json.dumps(reply).encode()), HydrusBadReply)
