"""A client that fails, stalls, lies or goes away: what `update` says of it, and what it costs.

However a run was disturbed, one more brings what an undisturbed run would have brought, and
nothing is ever posted twice.
"""

import gzip
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from itertools import product
from threading import Thread
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
import pytest
from conftest import SHIPPED, Home, count, fetched, rows
from PIL import Image

from hydindex.commands import app as cli
from hydindex.demo.generated_library import generate_library
from hydindex.standin.faults import DROP_AFTER_WORK, DROP_BEFORE_WORK, Fault, FaultHook, refuse
from hydindex.standin.replies import Reply
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
Pair = frozenset[str]

VERSION = "/api_version"
KEY = "/verify_access_key"
SEARCH = "/get_files/search_files"
METADATA = "/get_files/file_metadata"
THUMBNAIL = "/get_files/thumbnail"
READ = "/manage_file_relationships/get_file_relationships"
POST = "/manage_file_relationships/set_file_relationships"
JSON_PATHS = [VERSION, KEY, SEARCH, METADATA, READ]
PATHS = [VERSION, KEY, SEARCH, METADATA, THUMBNAIL, READ, POST]  # in the order of a run

AS_SHIPPED = {"decision": {"method": "calibrated"}}
FILES = generate_library(seed=3, pictures=10)
PAGE = b"<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>"
FOR_EVER = sys.maxsize


def answer(
    body: bytes, *, status: int = 200, kind: str = "application/json", **headers: str
) -> Fault:
    """Carry the request out, and answer this whatever came of it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(carried_out=True, instead=Reply(status, body, kind, named))


def as_json(value: Any) -> Fault:
    return answer(json.dumps(value).encode())


BAD_GATEWAY = answer(PAGE, status=502, kind="text/html")
WELCOME_PAGE = answer(PAGE, kind="text/html")
HALF_A_JSON = answer(b'{"version": 94, "hydrus_ver')
TOO_SHORT = answer(b'{"version": 94}', Content_Length="1000", Connection="close")
SILENCE = Fault(carried_out=False, instead=Reply(503, silence_s=60.0))
SILENCE_AFTER_WORK = Fault(carried_out=True, instead=Reply(503, silence_s=60.0))

UNANSWERED = {
    "503": refuse(503),
    "cut off after the work": DROP_AFTER_WORK,
    "body cut short": TOO_SHORT,
    "silence after the work": SILENCE_AFTER_WORK,
}
UNANSWERED_AS_WELL = {
    "500": refuse(500),
    "a proxy's 502": BAD_GATEWAY,
    "cut off before the work": DROP_BEFORE_WORK,
    "silence": SILENCE,
}


def each(paths: list[str], faults: dict[str, Fault]) -> list[Any]:
    """Every fault at every path, as parameters of a test."""
    return [
        pytest.param(path, fault, id=f"{path.rpartition('/')[2]}-{name}")
        for path in paths
        for name, fault in faults.items()
    ]


def at(path: str, fault: Fault, *, since: int = 1, times: int = FOR_EVER) -> FaultHook:
    """Put a fault in the way of some requests for a path, counted from 1."""
    return lambda _, asked, nth: fault if asked == path and since <= nth < since + times else None


def from_then_on(path: str, fault: Fault, *, spared: str = "") -> FaultHook:
    """Put a fault in the way of everything, as soon as a path is asked for."""
    begun = False

    def hook(_method: str, asked: str, _nth: int) -> Fault | None:
        nonlocal begun
        begun = begun or asked == path
        return fault if begun and asked != spared else None

    return hook


def untroubled(_method: str, _path: str, _nth: int) -> None:
    """The `faults` of a client that is well."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> frozenset[Pair]:
    """What there is to post."""
    config = tmp_path_factory.mktemp("undisturbed") / "hydrus_config.json"
    with StandIn(FILES) as client:
        address = {"api_port": client.port, "api_key": client.SEARCH_AND_RELATIONSHIPS_KEY}
        config.write_text(json.dumps({**SHIPPED, **AS_SHIPPED, **address}), encoding="utf-8")
        with pytest.raises(SystemExit, match="0"):
            cli.main(["update", "--quiet", "--config", str(config)])
        assert client.potentials
        return client.potentials


@pytest.fixture(autouse=True)
def as_shipped(home: Home) -> None:
    """Runs here decide as people's runs do."""
    home.configure(**AS_SHIPPED)


@pytest.fixture
def replies(home: Home, serve: Serve) -> dict[str, Any]:
    """What a client answers in a run, before anything is posted: by path, of JSON replies."""
    client = serve(FILES)
    home.update("--dry-run")
    home.forget()
    return {
        request.path: _asked_again(client, request.path, request.query)
        for request in client.requests
        if request.path in JSON_PATHS
    }


def _asked_again(client: StandIn, path: str, query: dict[str, str]) -> Any:
    address = f"{client.url}:{client.port}{path}?{urlencode(query)}"
    key = {"Hydrus-Client-API-Access-Key": client.FULL_KEY}
    with urlopen(Request(address, headers=key)) as reply:
        return json.load(reply)


def fails(home: Home, kind: str) -> str:
    """Run an update that ends with exit code 3 and one readable message; give the message."""
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 3, outcome
    error = outcome.json["error"]
    assert error["kind"] == kind
    assert outcome.err.splitlines()[-2:] == [
        f"hydindex: {error['message']}",
        error["remedy"],
    ]
    assert len(error["message"]) < 300
    assert "object at 0x" not in outcome.err
    message: str = error["message"]
    return message


def next_run_mends_it(home: Home, client: StandIn, expected: frozenset[Pair]) -> None:
    """With the trouble gone, one more update brings what was to come, and nothing twice."""
    client.faults = untroubled
    home.update()
    assert client.potentials == expected
    assert_posted_once(client)


def assert_posted_once(client: StandIn) -> None:
    """No pair was posted twice, and no post repeated before its pairs had been read back."""
    assert len(rows(client)) == len(set(rows(client))) == len(client.potentials)
    read_back = True
    for request in client.requests:
        if request.path == READ and request.status == 200:
            read_back = True
        elif request.path == POST:
            assert read_back
            read_back = False


# No answer


@pytest.mark.parametrize(
    ("path", "fault"),
    [*each(PATHS, UNANSWERED), *each([THUMBNAIL, POST], UNANSWERED_AS_WELL)],
)
def test_trouble_that_passes_costs_nothing(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str, fault: Fault
) -> None:
    client = serve(FILES)
    home.configure(timeouts={"api": 0.3, "thumb": 0.3, "post": 0.3})
    client.faults = at(path, fault, times=1 if fault in (SILENCE, SILENCE_AFTER_WORK) else 2)
    result = home.update()
    assert result["pairs"]["posted"] == len(undisturbed)
    assert result["seconds"]["total"] < 30
    assert client.potentials == undisturbed
    assert_posted_once(client)


@pytest.mark.parametrize(
    ("path", "fault"),
    each(PATHS, {"503": refuse(503), "silence after the work": SILENCE_AFTER_WORK}),
)
def test_a_client_that_is_gone_for_good_ends_the_run(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str, fault: Fault
) -> None:
    client = serve(FILES)
    home.configure(timeouts={"api": 0.1, "thumb": 0.1, "post": 0.1})
    client.faults = from_then_on(path, fault)
    assert fails(home, "hydrus_unreachable").startswith("Hydrus did not answer at http://127.0.0.1")
    home.configure(timeouts={"api": 60, "thumb": 60, "post": 60})
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize("path", [METADATA, THUMBNAIL])
def test_one_path_that_stays_broken_costs_the_files_and_not_the_run(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str
) -> None:
    client = serve(FILES)
    client.faults = at(path, refuse(500), since=2 if path == THUMBNAIL else 1)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["files"]["indexed"] == 0
    assert outcome.err.count("500") == len(FILES)
    next_run_mends_it(home, client, undisturbed)


def test_a_client_that_is_not_running_is_named(
    home: Home, serve: Serve, undisturbed: frozenset[Pair]
) -> None:
    client = serve(FILES)
    client.__exit__(None, None, None)
    assert fails(home, "hydrus_unreachable").endswith("connection refused")
    client.__enter__()
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize("path", [SEARCH, THUMBNAIL, READ, POST])
def test_a_client_that_is_restarted_in_mid_run_is_waited_for(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str
) -> None:
    client = serve(FILES)
    home.configure(network={"backoff_factor": 0.1}, post={"retry_pause_s": 0.2})

    def restart() -> None:
        client.__exit__(None, None, None)
        client.__enter__()

    restarting = Thread(target=restart)

    def hook(_method: str, asked: str, nth: int) -> Fault | None:
        if (asked, nth) != (path, 1):
            return None
        restarting.start()  # it waits until this request has been dealt with
        return DROP_AFTER_WORK

    client.faults = hook
    try:
        home.update()
    finally:
        restarting.join()
    next_run_mends_it(home, client, undisturbed)


# Another's answer


@pytest.mark.parametrize(
    ("path", "fault"), each(JSON_PATHS, {"a page": WELCOME_PAGE, "half a JSON": HALF_A_JSON})
)
def test_what_is_no_json_ends_the_run(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str, fault: Fault
) -> None:
    client = serve(FILES)
    client.faults = at(path, fault)
    assert path in fails(home, "hydrus_bad_reply")
    assert not rows(client)
    next_run_mends_it(home, client, undisturbed)


def test_a_page_in_answer_to_a_post_is_read_back(
    home: Home, serve: Serve, undisturbed: frozenset[Pair]
) -> None:
    client = serve(FILES)
    client.faults = at(POST, WELCOME_PAGE)
    home.update()
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize("since", [1, 2], ids=["the placeholder too", "only thumbnails"])
def test_a_page_in_place_of_every_thumbnail_does_not_make_the_files_unusable(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], since: int
) -> None:
    client = serve(FILES)
    client.faults = at(THUMBNAIL, WELCOME_PAGE, since=since)
    home.run("update")
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize(
    ("path", "status"),
    [*product(PATHS, [307]), *product([POST], [301, 302, 303, 308])],
)
def test_a_redirect_is_never_followed(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str, status: int
) -> None:
    client = serve(FILES)
    with StandIn(FILES) as elsewhere:
        address = f"{elsewhere.url}:{elsewhere.port}{path}"
        client.faults = at(path, answer(b"", status=status, Location=address))
        assert f"redirect at {path}" in fails(home, "hydrus_bad_reply")
        assert elsewhere.requests == []
    next_run_mends_it(home, client, undisturbed)


def test_an_endless_redirect_ends_the_run_at_once(
    home: Home, serve: Serve, undisturbed: frozenset[Pair]
) -> None:
    client = serve(FILES)
    client.faults = at(SEARCH, answer(b"", status=302, Location=SEARCH))
    fails(home, "hydrus_bad_reply")
    assert count(client, SEARCH) == 1
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize(
    ("path", "status"),
    [*product([KEY, SEARCH, METADATA, THUMBNAIL, READ, POST], [403]), (METADATA, 419), (POST, 419)],
)
def test_a_key_revoked_in_mid_run_ends_it(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], path: str, status: int
) -> None:
    client = serve(FILES)
    client.faults = from_then_on(path, refuse(status), spared=VERSION)
    assert str(status) in fails(home, "hydrus_access")
    next_run_mends_it(home, client, undisturbed)


# An answer that makes no sense

Place = tuple[str | int, ...]
WRONG = [{"a": [None]}]  # nowhere in a reply would a list of such objects be right


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every place in a reply, at every depth; of a list or of files by hash only the first."""
    yield here
    if isinstance(value, dict):
        alike = all(len(key) == 64 for key in value)
        for key in list(value)[: 1 if alike else None]:
            yield from places(value[key], (*here, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*here, 0))


def changed(reply: Any, place: Place, value: Any) -> Any:
    """A copy of a reply with another value in one place."""
    if not place:
        return value
    copy = deepcopy(reply)
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return copy


@pytest.mark.parametrize("path", JSON_PATHS)
def test_a_wrong_type_anywhere_ends_the_run_or_costs_one_file(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair], path: str
) -> None:
    client = serve(FILES)
    for place in places(replies[path]):
        client.clear_log()
        client.faults = at(path, as_json(changed(replies[path], place, WRONG)), times=1)
        outcome = home.run("update", "--json")
        assert "Traceback" not in outcome.err, place
        if outcome.exit_code == 3:
            assert outcome.json["error"]["kind"] == "hydrus_bad_reply", place
            assert path in outcome.json["error"]["message"], place
            continue
        assert outcome.exit_code == (1 if "not fetched" in outcome.err else 0), (place, outcome)
        next_run_mends_it(home, client, undisturbed)
        home.forget()
        client.remove_potentials(*(file.hash for file in FILES))
    home.forget()
    client.clear_log()
    next_run_mends_it(home, client, undisturbed)


NOT_HASHES = ["", "ab" * 31, "ab" * 33, "xy" * 32, "AB" * 32, "ab" * 32 + "\n", None]


@pytest.mark.parametrize("place", ["hashes", "king", "0"])
def test_a_hash_that_is_none_ends_the_run(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair], place: str
) -> None:
    client = serve(FILES)
    path = SEARCH if place == "hashes" else READ
    for value in NOT_HASHES:
        reply = deepcopy(replies[path])
        if path == SEARCH:
            reply["hashes"][0] = value
        else:
            related = next(iter(reply["file_relationships"].values()))
            related[place] = value if place == "king" else [value]
        client.faults = at(path, as_json(reply), since=1 + count(client, path))
        assert place in fails(home, "hydrus_bad_reply")
    next_run_mends_it(home, client, undisturbed)


def costs_files(home: Home, how_many: int) -> None:
    """Run an update that leaves these out, and says so of each."""
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["files"]["indexed"] == len(FILES) - how_many
    assert outcome.err.count("not fetched") == how_many


def test_a_file_that_is_described_under_no_hash_costs_itself(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair]
) -> None:
    reply = deepcopy(replies[METADATA])
    for row, value in zip(reply["metadata"], NOT_HASHES, strict=False):
        row["hash"] = value
    client = serve(FILES)
    client.faults = at(METADATA, as_json(reply))
    costs_files(home, len(NOT_HASHES))
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize("row", [None, 7, "row", [], {}])
def test_a_description_that_is_none_costs_itself(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair], row: Any
) -> None:
    client = serve(FILES)
    client.faults = at(METADATA, as_json(changed(replies[METADATA], ("metadata", 0), row)))
    costs_files(home, 1)
    next_run_mends_it(home, client, undisturbed)


def test_an_answer_that_unpacks_to_more_than_the_memory_holds_ends_the_run(
    home: Home, serve: Serve, undisturbed: frozenset[Pair]
) -> None:
    client = serve(FILES)
    bomb = gzip.compress(bytes(100 << 20))
    client.faults = at(THUMBNAIL, answer(bomb, kind="image/png", Content_Encoding="gzip"))
    assert "more than 64 MB" in fails(home, "hydrus_bad_reply")
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize("key", ["file_ids", "hashes"])
def test_ids_and_hashes_of_different_length_end_the_run(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair], key: str
) -> None:
    client = serve(FILES)
    client.faults = at(SEARCH, as_json(changed(replies[SEARCH], (key,), replies[SEARCH][key][1:])))
    assert "differ in length" in fails(home, "hydrus_bad_reply")
    next_run_mends_it(home, client, undisturbed)


def test_a_file_that_is_listed_twice_is_taken_once(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair]
) -> None:
    search, metadata = replies[SEARCH], replies[METADATA]
    twice = {key: search[key] + search[key][:3] for key in ("file_ids", "hashes")}
    described = [*metadata["metadata"], *metadata["metadata"][:3]]
    faults = {SEARCH: as_json(twice), METADATA: as_json({"metadata": described})}
    client = serve(FILES)
    client.faults = lambda _, path, __: faults.get(path)
    assert home.update()["files"]["found"] == len(FILES)
    assert len(fetched(client)) == count(client, THUMBNAIL) - 1 == len(FILES)  # a placeholder
    assert client.potentials == undisturbed
    next_run_mends_it(home, client, undisturbed)


def test_an_id_that_the_client_does_not_know_costs_itself(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair]
) -> None:
    search = replies[SEARCH]
    unknown = {"file_ids": [*search["file_ids"], 999], "hashes": [*search["hashes"], "ee" * 32]}
    client = serve(FILES)
    client.faults = at(SEARCH, as_json(unknown))
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["files"]["indexed"] == len(FILES)
    assert "novel hash_ids: [999]" in outcome.err
    assert client.potentials == undisturbed
    next_run_mends_it(home, client, undisturbed)


@pytest.mark.parametrize("missing", [1, len(FILES)])
def test_a_file_that_is_not_described_costs_itself(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair], missing: int
) -> None:
    client = serve(FILES)
    client.faults = at(METADATA, as_json({"metadata": replies[METADATA]["metadata"][missing:]}))
    costs_files(home, missing)
    next_run_mends_it(home, client, undisturbed)


def test_a_file_described_under_the_id_of_another_costs_itself(
    home: Home, serve: Serve, replies: dict[str, Any], undisturbed: frozenset[Pair]
) -> None:
    """Else it would be indexed with the other's thumbnail, and paired with its copies."""
    reply = replies[METADATA]
    other = reply["metadata"][1]["file_id"]
    client = serve(FILES)
    client.faults = at(METADATA, as_json(changed(reply, ("metadata", 0, "file_id"), other)))
    costs_files(home, 1)
    next_run_mends_it(home, client, undisturbed)


def test_relationships_that_leave_files_out_are_no_reason_to_post_again(
    home: Home, serve: Serve, undisturbed: frozenset[Pair]
) -> None:
    """The posts of the first run arrive unanswered; the second cannot see that they did."""
    client = serve(FILES)
    home.configure(post={"max_retries": 0})
    client.faults = from_then_on(POST, DROP_AFTER_WORK)
    fails(home, "hydrus_unreachable")
    client.faults = at(READ, as_json({"file_relationships": {}}))
    assert "leaves out" in fails(home, "hydrus_bad_reply")
    next_run_mends_it(home, client, undisturbed)


# Thumbnails


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


SOUND = FILES[0].thumbnail
PICTURE = Image.open(BytesIO(SOUND)).convert("RGB")
BOMB = b"".join(
    (
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(bytes(10_000_000))),
        chunk(b"IEND", b""),
    )
)
SIXTEEN_BIT = Image.fromarray(np.asarray(PICTURE.convert("L")).astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("thumbnail", "usable"),
    [
        pytest.param(b"no picture", False, id="no picture"),
        pytest.param(SOUND[: len(SOUND) // 2], False, id="cut short"),
        pytest.param(b"", False, id="empty"),
        pytest.param(BOMB, False, id="30,000x30,000"),
        pytest.param(encoded(Image.new("RGB", (1, 1))), True, id="1x1"),
        pytest.param(
            encoded(PICTURE, save_all=True, append_images=[Image.new("RGB", PICTURE.size)]),
            True,
            id="APNG",
        ),
        pytest.param(encoded(PICTURE.convert("CMYK"), "JPEG"), True, id="CMYK"),
        pytest.param(encoded(SIXTEEN_BIT), True, id="16 bits"),
        pytest.param(encoded(PICTURE.convert("RGBA")), True, id="alpha"),
        pytest.param(
            encoded(PICTURE.quantize(64), transparency=bytes(range(64))), True, id="palette, alpha"
        ),
    ],
)
def test_an_odd_thumbnail_costs_at_most_its_own_file(
    home: Home, serve: Serve, undisturbed: frozenset[Pair], thumbnail: bytes, usable: bool
) -> None:
    odd = replace(FILES[0], thumbnail=thumbnail)
    client = serve([odd, *FILES[1:]])
    result = home.update()
    assert result["files"]["unusable"] == (0 if usable else 1)
    assert result["files"]["indexed"] == len(FILES) - result["files"]["unusable"]

    def without_it(pairs: frozenset[Pair]) -> set[Pair]:
        return {pair for pair in pairs if odd.hash not in pair}

    assert without_it(client.potentials) == without_it(undisturbed)
    assert_posted_once(client)
