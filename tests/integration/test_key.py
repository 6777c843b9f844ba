"""The access key appears in the config and nowhere else."""

import json
import os
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import Home, Outcome

from hydindex.config.config_file import load
from hydindex.config.key_exposure import exposures
from hydindex.config.settings import PLACEHOLDER_KEY
from hydindex.standin.api import Refusal, Reply
from hydindex.standin.server import Fault, FaultHook, StandIn, refuse
from hydindex.standin.state import HydrusFile

Serve = Callable[..., StandIn]

KEY = StandIn.SEARCH_AND_RELATIONSHIPS_KEY
TRACES = [KEY.encode(), KEY.upper().encode(), bytes.fromhex(KEY), KEY[:16].encode()]

# What a careless proxy replies: the request it refused, with its headers.
ECHO = f"Bad header: Hydrus-Client-API-Access-Key: {KEY}"


def instead(reply: Reply | Refusal | None, path: str = "") -> FaultHook:
    """Send this reply to every request, or to those whose path ends so."""
    fault = Fault(carried_out=False, instead=reply)
    return lambda _method, asked, _nth: fault if asked.endswith(path) else None


def json_reply(values: object) -> Reply:
    return Reply(200, json.dumps(values).encode())


REPLIES = {
    "valid": lambda *_: None,
    "key refused": lambda *_: refuse(403),
    "connection dropped": instead(None),
    "rejection with the key": instead(Refusal(400, "BadRequest", ECHO)),
    "page with the key": instead(Reply(200, f"<p>{ECHO}".encode(), "text/html")),
    "server error with the key": instead(Reply(500, json.dumps({"error": ECHO}).encode())),
    "redirect with the key": instead(Reply(302, headers={"Location": f"http://h:1/?key={KEY}"})),
    "thumbnail with the key": instead(Reply(200, ECHO.encode(), "image/jpeg"), "thumbnail"),
    "thumbnail type with the key": instead(Reply(200, b"", f"text/{KEY}"), "thumbnail"),
    "key named like the key": instead(
        json_reply({"name": KEY, "basic_permissions": []}), "verify_access_key"
    ),
    "relationships of the key": instead(
        json_reply({"file_relationships": {KEY.upper(): 0}}), "get_file_relationships"
    ),
}


def traces_in(*contents: bytes) -> list[bytes]:
    return [trace for trace in TRACES for content in contents if trace in content]


@pytest.mark.parametrize("replies", REPLIES.values(), ids=REPLIES)
def test_no_output_and_no_other_file_contains_the_key(
    home: Home, serve: Serve, library: list[HydrusFile], replies: FaultHook
) -> None:
    client = serve(library)
    home.configure(log={"path": "hydindex.log"})
    home.update("--dry-run")
    client.faults = replies
    home.run("update", "-v", "--json")
    home.configure(candidate_generation={"tolSeconds": 0.9})
    ended: list[Outcome] = [
        home.run("update", "-v"),
        home.run("rebuild", "-v", "--refetch"),
        home.run("rebuild", "-v"),
        home.run("update", "-v"),
        home.run("stats", "--json"),
        home.run("stats"),
        home.run("pairs", "--json"),
        home.run("report", "--output", str(home.folder / "pairs.html")),
        home.run("calibrate", "--json"),
        home.run("schedule"),
        home.run("export-posted"),
        home.run("repair"),
    ]
    # That request does not contain the key.
    client.faults = lambda *asked: None if asked[1] == "/api_version" else replies(*asked)
    ended += [home.run("check"), home.run("check", "--json")]
    printed = [text.encode() for outcome in ended for text in (outcome.out, outcome.err)]
    files = [each for each in home.folder.iterdir() if each != home.config]
    assert {each.suffix for each in files} >= {".db", ".bak", ".log", ".html"}
    stored = [each.read_bytes() for each in files]
    assert traces_in(*printed, *stored) == []


@pytest.mark.parametrize(
    ("broken", "exit_code"),
    [
        ("{0}\n", 0),  # space around the key is ignored
        ("Key {0}", 3),
        ("{0}\u00e9", 2),
        ('{0}", "api_port": "', 3),
    ],
)
def test_a_malformed_key_is_not_repeated(
    home: Home, serve: Serve, broken: str, exit_code: int
) -> None:
    client = serve([])
    for text, expected in (
        (json.dumps({"api_port": client.port, "api_key": broken.format(KEY)}), exit_code),
        ('{"api_key": "' + broken.format(KEY) + '"', 2),
        (json.dumps({"api_key": [broken.format(KEY)]}), 2),
    ):
        home.config.write_text(text, encoding="utf-8")
        outcome = home.run("update", "-v", "--json")
        assert outcome.exit_code == expected
        assert traces_in(outcome.out.encode(), outcome.err.encode()) == []


@pytest.mark.parametrize(
    "misplaced",
    [
        {"api_url": f"http://{KEY}"},
        {"api_url": f"http://{KEY}@127.0.0.1"},
        {"api_port": KEY},
        {"decision": {"model": KEY}},
        {"tls": {"ca_bundle": KEY}},
        {"log": {"path": KEY}},
        {"log": {"path": f"missing/{KEY}"}},
        {"index": {"path": KEY}},
        {"index": {"path": f"missing/{KEY}.db"}},
        {KEY: 1},
        {"post": {KEY: 1}},
    ],
    ids=str,
)
def test_a_misplaced_key_is_not_repeated(
    home: Home, serve: Serve, misplaced: dict[str, object]
) -> None:
    serve([])
    home.configure(**misplaced)
    outcomes = [home.run(*words) for words in (["update", "-v", "--json"], ["check"], ["stats"])]
    assert outcomes[0].exit_code != 0
    printed = [text.encode() for each in outcomes for text in (each.out, each.err)]
    assert traces_in(*printed) == []
    assert list(home.folder.rglob(f"*{KEY}*")) == []


@pytest.fixture
def elsewhere() -> Iterator[tuple[HTTPServer, list[str]]]:
    """Another host, and the keys it received."""
    seen: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(str(self.headers.get("Hydrus-Client-API-Access-Key")))
            self.send_error(404)

        do_POST = do_GET  # noqa: N815 - the name is from http.server

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server, seen
        server.shutdown()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    elsewhere: tuple[HTTPServer, list[str]],
    status: int,
) -> None:
    server, seen = elsewhere
    to = Reply(status, headers={"Location": f"http://127.0.0.1:{server.server_port}/api_version"})
    client = serve(library)
    for path in ("/api_version", "/thumbnail", "/set_file_relationships"):
        client.faults = instead(to, path)
        outcome = home.run("update", "--json")
        assert outcome.exit_code == 3
        assert outcome.json["error"]["kind"] == "hydrus_bad_reply"
        assert "redirect" in outcome.json["error"]["message"]
    assert seen == []


# Who else can read it


def exposed(path: Path, **values: object) -> str:
    path.write_text(json.dumps({"api_key": KEY, **values}), encoding="utf-8")
    return "\n".join(exposures(load(path), path))


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "hydrus_config.json"
    path.touch(mode=0o600)
    return path


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644])
def test_a_config_with_a_key_that_others_can_read_causes_a_warning(
    config_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_path.chmod(mode)
    can_be_read = bool(mode & 0o044)
    assert ("chmod 600" in exposed(config_path)) == can_be_read
    assert exposed(config_path, api_key=PLACEHOLDER_KEY) == ""
    # Only the key in the file counts, not the one in use.
    monkeypatch.setenv("HYDINDEX_API_KEY", KEY)
    assert ("chmod 600" in exposed(config_path)) == can_be_read
    assert exposed(config_path, api_key=PLACEHOLDER_KEY) == ""


LOCAL_HOSTS = (
    "127.0.0.1 localhost [::1] 10.1.2.3 192.168.0.7 172.20.0.2 [fd00::7] 169.254.1.1 100.64.0.9"
)


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        *((f"http://{host}", False) for host in LOCAL_HOSTS.split()),
        ("http://no-such-host.invalid", False),
        ("http://8.8.8.8", True),
        ("http://[2600::1]", True),
        ("https://8.8.8.8", False),
    ],
)
def test_sending_the_key_unencrypted_over_the_internet_causes_a_warning(
    config_path: Path, address: str, warns: bool
) -> None:
    assert ("unencrypted" in exposed(config_path, api_url=address)) == warns


def test_an_unverified_certificate_causes_a_warning(config_path: Path) -> None:
    unverified = {"verify": False}
    assert "tls.ca_bundle" in exposed(config_path, api_url="https://10.0.0.1", tls=unverified)
    assert exposed(config_path, api_url="http://10.0.0.1", tls=unverified) == ""


def test_a_run_warns_and_continues(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    serve(library)
    home.config.chmod(0o644)
    outcome = home.run("update", "--quiet")
    assert outcome.exit_code == 0
    assert re.search(r"WARNING .*chmod 600", outcome.err)
