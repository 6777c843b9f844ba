"""A client that fails, stalls, lies or goes away: what `update` says, and what it costs.

However a run was disturbed, the next one completes what an undisturbed run would have done, and
nothing is ever posted twice. By default a few faults are tried at each path; CI tries all.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from threading import Thread
from typing import Any

import pytest
import requests
from conftest import (
    SHIPPED,
    Home,
    Serve,
    assert_all_posted_once,
    at,
    count,
    fetched,
    from_then_on,
    rows,
)

from hydindex.commands import app as cli
from hydindex.demo.generated_library import generate_library
from hydindex.standin.api import Reply
from hydindex.standin.server import (
    DROP_AFTER_WORK,
    DROP_BEFORE_WORK,
    Fault,
    StandIn,
    refuse,
)

VERSION = "/api_version"
KEY = "/verify_access_key"
SEARCH = "/get_files/search_files"
METADATA = "/get_files/file_metadata"
THUMBNAIL = "/get_files/thumbnail"
READ = "/manage_file_relationships/get_file_relationships"
POST = "/manage_file_relationships/set_file_relationships"
JSON_PATHS = [VERSION, KEY, SEARCH, METADATA, READ]
PATHS = [VERSION, KEY, SEARCH, METADATA, THUMBNAIL, READ, POST]  # in the order of a run

Pairs = frozenset[frozenset[str]]
FILES = generate_library(seed=3, pictures=10)


def answer(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Fault:
    """Carry the request out, but answer this."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(carried_out=True, instead=Reply(status, body, kind, named))


def as_json(value: Any) -> Fault:
    return answer(json.dumps(value).encode())


PAGE = b"<!DOCTYPE html><html><body><h1>Bad Gateway</h1></body></html>"
ELSEWHERE, REDIRECTS = "/elsewhere", (301, 302, 303, 307, 308)
FAULTS = {
    "502 of a proxy": answer(PAGE, status=502, kind="text/html"),
    "page": answer(PAGE, kind="text/html"),
    "half a JSON": answer(b'{"version": 94, "hydrus_ver'),
    "body cut short": answer(b'{"version": 94}', Content_Length="1000", Connection="close"),
    **{f"{status}": answer(b"", status=status, Location=ELSEWHERE) for status in REDIRECTS},
    **{f"{status}": refuse(status) for status in (403, 419, 500, 503)},
    "cut off before the work": DROP_BEFORE_WORK,
    "cut off after the work": DROP_AFTER_WORK,
    "silence before the work": Fault(carried_out=False, instead=Reply(503, silence_s=60.0)),
    "silence after the work": Fault(carried_out=True, instead=Reply(503, silence_s=60.0)),
}
DOUBTFUL = ["503", "cut off after the work", "body cut short", "silence after the work"]
OTHERS = ["500", "502 of a proxy", "cut off before the work", "silence before the work"]


def sample(cases: list[tuple[str, ...]], *, of: list[tuple[str, ...]]) -> list[Any]:
    """Return the cases of a campaign as parameters; those outside the sample are slow."""
    assert set(cases) <= set(of)
    return [
        pytest.param(
            *case,
            id="-".join(part.rpartition("/")[2] for part in case),
            marks=() if case in cases else pytest.mark.slow,
        )
        for case in of
    ]


@dataclass
class Case:
    """A client to disturb, with what it answers undisturbed and the pairs that are then posted."""

    home: Home
    client: StandIn
    replies: Mapping[str, Any]
    pairs: Pairs

    def assert_fails(self, kind: str) -> str:
        """Run an update that ends with a readable error; return its message."""
        outcome = self.home.run("update", "--json")
        assert outcome.exit_code == 3, outcome
        error = outcome.json["error"]
        assert error["kind"] == kind
        assert outcome.err.splitlines()[-2:] == [f"hydindex: {error['message']}", error["remedy"]]
        assert len(error["message"]) < 300
        assert "object at 0x" not in outcome.err
        return str(error["message"])

    def assert_costs_files(self, lost: int) -> None:
        """Run an update that can't fetch some files, and says so for each."""
        outcome = self.home.run("update", "--json")
        assert outcome.exit_code == 0
        assert outcome.json["files"]["indexed"] == len(FILES) - lost
        assert outcome.json["files"]["not_fetched"] == outcome.err.count("not fetched") == lost

    def assert_recovers(self) -> None:
        """Stop the disturbance; one more update completes everything."""
        self.client.faults = lambda *_: None
        self.home.update()
        assert self.client.potentials == self.pairs
        self.assert_posted_once()

    def assert_posted_once(self) -> None:
        """No pair was posted twice, and no post was repeated before its pairs were read back."""
        assert_all_posted_once(self.client)
        order = "".join(
            {READ: "r", POST: "p"}.get(each.path, "")
            for each in self.client.requests
            if each.path == POST or each.status == 200
        )
        assert "pp" not in order


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Pairs]:
    """Run updates undisturbed; return the JSON replies by path, and the pairs that are posted."""
    config = tmp_path_factory.mktemp("undisturbed") / "hydrus_config.json"
    with StandIn(FILES) as client:
        address = {"api_port": client.port, "api_key": client.SEARCH_AND_RELATIONSHIPS_KEY}
        config.write_text(json.dumps({**SHIPPED, **address}), encoding="utf-8")

        def reply_to(path: str) -> Any:
            query = next(each.query for each in client.requests if each.path == path)
            key = {"Hydrus-Client-API-Access-Key": client.FULL_KEY}
            url = f"{client.url}:{client.port}{path}"
            return requests.get(url, params=query, headers=key, timeout=60).json()

        replies: dict[str, Any] = {}
        for options in (["--dry-run"], []):
            with pytest.raises(SystemExit, match="0"):
                cli.main(["update", "--quiet", *options, "--config", str(config)])
            replies = replies or {path: reply_to(path) for path in JSON_PATHS}
        assert client.potentials
        return replies, client.potentials


@pytest.fixture
def case(home: Home, serve: Serve, undisturbed: Any) -> Case:
    return Case(home, serve(FILES), *undisturbed)


# No answer


@pytest.mark.parametrize(
    ("path", "fault"),
    sample(
        [
            *zip(PATHS, 2 * DOUBTFUL, strict=False),
            *product([THUMBNAIL], ["500", "cut off before the work"]),
            *product([POST], ["cut off before the work", "cut off after the work", "page"]),
            (POST, "silence after the work"),
        ],
        of=[*product(PATHS, DOUBTFUL), *product([THUMBNAIL, POST], OTHERS), (POST, "page")],
    ),
)
def test_a_passing_fault_costs_nothing(case: Case, path: str, fault: str) -> None:
    case.client.faults = at(path, FAULTS[fault], times=1 if "silence" in fault else 2)
    if "silence" in fault:
        case.home.configure(timeouts={"api": 1, "thumb": 1, "post": 1})
    assert case.home.update()["pairs"]["posted"] == len(case.pairs)
    assert case.client.potentials == case.pairs
    case.assert_posted_once()


@pytest.mark.parametrize(
    ("path", "fault"),
    sample(
        [(SEARCH, "503"), (THUMBNAIL, "silence after the work"), (POST, "silence after the work")],
        of=[*product(PATHS, ["503", "silence after the work"])],
    ),
)
def test_a_client_that_is_gone_for_good_ends_the_run(case: Case, path: str, fault: str) -> None:
    case.home.configure(timeouts={"api": 0.1, "thumb": 0.1, "post": 0.1})
    case.client.faults = from_then_on(path, FAULTS[fault])
    message = case.assert_fails("hydrus_unreachable")
    assert message.startswith("Hydrus did not answer at http://127.0.0.1")
    case.home.configure(timeouts={"api": 60, "thumb": 60, "post": 60})
    case.assert_recovers()


@pytest.mark.parametrize("path", [METADATA, THUMBNAIL])
def test_a_single_broken_path_costs_the_files_and_not_the_run(case: Case, path: str) -> None:
    case.client.faults = at(path, refuse(500), since=2 if path == THUMBNAIL else 1)
    case.assert_costs_files(len(FILES))
    case.assert_recovers()


def test_a_client_that_is_not_running_is_named(case: Case) -> None:
    case.client.__exit__(None, None, None)
    assert case.assert_fails("hydrus_unreachable").endswith("connection refused")
    case.client.__enter__()
    case.assert_recovers()


@pytest.mark.parametrize("path", sample([(POST,)], of=[*product([SEARCH, THUMBNAIL, READ, POST])]))
def test_a_run_waits_for_a_client_that_restarts(case: Case, path: str) -> None:
    case.home.configure(network={"backoff_factor": 0.1}, post={"retry_pause_s": 0.2})

    def restart() -> None:
        case.client.__exit__(None, None, None)
        case.client.__enter__()

    def hook(_method: str, asked: str, nth: int) -> Fault | None:
        if (asked, nth) != (path, 1):
            return None
        Thread(target=restart).start()  # it waits until this request has been dealt with
        return DROP_AFTER_WORK

    case.client.faults = hook
    case.home.update()
    case.assert_recovers()


# Answers that make no sense


@pytest.mark.parametrize(
    ("path", "fault"),
    sample(
        [
            *[(SEARCH, "page"), (METADATA, "half a JSON"), (READ, "page")],
            *[(SEARCH, "307"), (POST, "302")],
            *[(KEY, "403"), (THUMBNAIL, "403"), (POST, "403"), (METADATA, "419")],
        ],
        of=[
            *product(JSON_PATHS, ["page", "half a JSON"]),
            *product(PATHS, ["307"]),
            *product([POST], ["301", "302", "303", "308"]),
            *product(PATHS[1:], ["403"]),
            *product([METADATA, POST], ["419"]),
        ],
    ),
)
def test_a_page_a_redirect_or_a_revoked_key_ends_the_run(case: Case, path: str, fault: str) -> None:
    case.client.faults = at(path, FAULTS[fault])
    if fault in ("403", "419"):
        assert fault in case.assert_fails("hydrus_access")
    else:
        assert path in case.assert_fails("hydrus_bad_reply")
    assert count(case.client, ELSEWHERE) == 0
    assert path == POST or not rows(case.client)
    case.assert_recovers()


@pytest.mark.parametrize("since", [1, 2], ids=["the placeholder too", "only thumbnails"])
def test_pages_instead_of_thumbnails_make_no_file_unusable(case: Case, since: int) -> None:
    case.client.faults = at(THUMBNAIL, FAULTS["page"], since=since)
    case.home.run("update")
    case.assert_recovers()


NOT_HASHES = ["", "ab" * 31, "ab" * 33, "xy" * 32, "AB" * 32, "ab" * 32 + "\n", None]


@pytest.mark.parametrize("place", ["hashes", "king", "0"])
def test_a_malformed_hash_ends_the_run(case: Case, place: str) -> None:
    path = SEARCH if place == "hashes" else READ
    reply = deepcopy(case.replies[path])
    for value in NOT_HASHES:
        if path == SEARCH:
            reply["hashes"][0] = value
        else:
            relationships = next(iter(reply["file_relationships"].values()))
            relationships[place] = [value] if place == "0" else value
        case.client.faults = at(path, as_json(reply), since=1 + count(case.client, path))
        assert place in case.assert_fails("hydrus_bad_reply")
    case.assert_recovers()


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (
            lambda rows: (
                [row | {"hash": value} for row, value in zip(rows, NOT_HASHES, strict=False)]
                + rows[len(NOT_HASHES) :]
            ),
            7,
        ),
        (lambda rows: [None, 7, "row", [], {}, rows[5] | {"size": 2**63}, *rows[6:]], 6),
        (lambda rows: rows[1:], 1),
        (lambda rows: rows[:0], len(FILES)),
        # It would be indexed with the thumbnail of another file, and paired with its copies.
        (lambda rows: [rows[0] | {"file_id": rows[1]["file_id"]}, *rows[1:]], 1),
    ],
    ids=["malformed hashes", "no descriptions", "left out", "all left out", "another's id"],
)
def test_a_file_without_a_valid_description_costs_itself(
    case: Case, change: Callable[[list[Any]], list[Any]], lost: int
) -> None:
    described = change(case.replies[METADATA]["metadata"])
    case.client.faults = at(METADATA, as_json({"metadata": described}))
    case.assert_costs_files(lost)
    case.assert_recovers()


def test_a_reply_that_unpacks_to_more_than_memory_holds_ends_the_run(case: Case) -> None:
    bomb = gzip.compress(bytes(100 << 20))
    case.client.faults = at(THUMBNAIL, answer(bomb, kind="image/png", Content_Encoding="gzip"))
    assert "more than 64 MB" in case.assert_fails("hydrus_bad_reply")
    case.assert_recovers()


def test_ids_and_hashes_of_different_length_end_the_run(case: Case) -> None:
    search = case.replies[SEARCH]
    case.client.faults = at(SEARCH, as_json(search | {"file_ids": search["file_ids"][1:]}))
    assert "differ in length" in case.assert_fails("hydrus_bad_reply")
    case.assert_recovers()


def test_a_file_that_is_listed_twice_counts_once(case: Case) -> None:
    search, described = case.replies[SEARCH], case.replies[METADATA]["metadata"]
    faults = {
        SEARCH: as_json({key: search[key] + search[key][:3] for key in ("file_ids", "hashes")}),
        METADATA: as_json({"metadata": described + described[:3]}),
    }
    case.client.faults = lambda _, path, __: faults.get(path)
    assert case.home.update()["files"]["found"] == len(FILES)
    assert len(fetched(case.client)) == count(case.client, THUMBNAIL) - 1 == len(FILES)
    assert case.client.potentials == case.pairs
    case.assert_recovers()


def test_an_id_that_the_client_does_not_know_costs_itself(case: Case) -> None:
    search = case.replies[SEARCH]
    unknown = {"file_ids": [*search["file_ids"], 999], "hashes": [*search["hashes"], "ee" * 32]}
    case.client.faults = at(SEARCH, as_json(unknown))
    outcome = case.home.run("update", "--json")
    assert outcome.json["files"]["indexed"] == len(FILES)
    assert outcome.json["files"]["not_fetched"] == 1
    assert "novel hash_ids: [999]" in outcome.err
    assert case.client.potentials == case.pairs
    case.assert_recovers()


def test_relationships_that_leave_files_out_are_no_reason_to_post_again(case: Case) -> None:
    # The posts arrive unanswered; the second run can't see that they did.
    case.home.configure(post={"max_retries": 0})
    case.client.faults = from_then_on(POST, DROP_AFTER_WORK)
    case.assert_fails("hydrus_unreachable")
    case.client.faults = at(READ, as_json({"file_relationships": {}}))
    assert "leaves out" in case.assert_fails("hydrus_bad_reply")
    case.assert_recovers()
