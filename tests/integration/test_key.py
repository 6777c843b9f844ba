"""The access key appears in the config and nowhere else."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import Home, Outcome, Serve, at

from hydindex.config.config_file import load
from hydindex.config.key_exposure import exposures
from hydindex.config.settings import PLACEHOLDER_KEY
from hydindex.standin.api import Refusal, Reply
from hydindex.standin.server import Fault, FaultHook, StandIn, refuse

KEY = StandIn.SEARCH_AND_RELATIONSHIPS_KEY
TRACES = [KEY.encode(), KEY.upper().encode(), bytes.fromhex(KEY), KEY[:16].encode()]

# What a careless proxy replies: the request it refused, with its headers.
ECHO = f"Bad header: Hydrus-Client-API-Access-Key: {KEY}"


def instead(reply: Reply | Refusal | None, path: str = "") -> FaultHook:
    return at(path, Fault(carried_out=False, instead=reply))


REPLIES = {
    "valid": lambda *_: None,
    "key refused": lambda *_: refuse(403),
    "rejection with the key": instead(Refusal(400, "BadRequest", ECHO)),
    "page with the key": instead(Reply(200, f"<p>{ECHO}".encode(), "text/html")),
    "server error with the key": instead(Reply(500, json.dumps({"error": ECHO}).encode())),
    "redirect with the key": instead(Reply(302, headers={"Location": f"http://h:1/?key={KEY}"})),
    "thumbnail with the key": instead(Reply(200, ECHO.encode(), "image/jpeg"), "thumbnail"),
    "thumbnail type with the key": instead(Reply(200, b"", f"text/{KEY}"), "thumbnail"),
    "key named like the key": instead(
        Reply(200, json.dumps({"name": KEY, "basic_permissions": []}).encode()), "access_key"
    ),
    "relationships of the key": instead(
        Reply(200, json.dumps({"file_relationships": {KEY.upper(): 0}}).encode()), "relationships"
    ),
}


def assert_no_trace(*outcomes: Outcome, files: Iterable[Path] = ()) -> None:
    printed = [text.encode() for outcome in outcomes for text in (outcome.out, outcome.err)]
    for content in [*printed, *(each.read_bytes() for each in files)]:
        assert not [trace for trace in TRACES if trace in content]


@pytest.mark.parametrize("replies", REPLIES.values(), ids=REPLIES)
def test_no_output_and_no_other_file_contains_the_key(
    home: Home, client: StandIn, replies: FaultHook
) -> None:
    home.configure(log={"path": "hydindex.log"})
    home.update("--dry-run")
    client.faults = replies
    outcomes = [home.run("update", "-v", "--json")]
    home.configure(candidate_generation={"tolSeconds": 0.9})
    commands = [
        *("update -v", "rebuild -v --refetch", "rebuild -v", "update -v", "stats --json", "stats"),
        *("pairs --json", "calibrate --json", "schedule", "export-posted", "repair"),
    ]
    outcomes += [home.run(*command.split()) for command in commands]
    outcomes += [home.run("report", "--output", str(home.folder / "pairs.html"))]
    # That request does not contain the key.
    client.faults = lambda *asked: None if asked[1] == "/api_version" else replies(*asked)
    outcomes += [home.run("check"), home.run("check", "--json")]
    files = [each for each in home.folder.iterdir() if each != home.config]
    assert {each.suffix for each in files} >= {".db", ".bak", ".log", ".html"}
    assert_no_trace(*outcomes, files=files)


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
        assert_no_trace(outcome)


@pytest.mark.parametrize(
    "misplaced",
    [
        {"api_url": f"http://{KEY}@127.0.0.1"},
        {"api_port": KEY},
        {"decision": {"model": KEY}},
        {"tls": {"ca_bundle": KEY}},
        {"log": {"path": KEY}},
        {"log": {"path": f"missing/{KEY}"}},
        {"index": {"path": KEY}},
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
    assert_no_trace(*outcomes)
    assert list(home.folder.rglob(f"*{KEY}*")) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(home: Home, client: StandIn, status: int) -> None:
    with StandIn() as elsewhere:
        address = f"{elsewhere.url}:{elsewhere.port}/api_version"
        for path in ("/api_version", "/thumbnail", "/set_file_relationships"):
            client.faults = instead(Reply(status, headers={"Location": address}), path)
            assert "redirect" in home.fail("update", expect=3, kind="hydrus_bad_reply")
        assert elsewhere.requests == []


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
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604])
def test_a_config_with_a_key_that_others_can_read_causes_a_warning(
    config_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_path.chmod(mode)
    # Only the key in the file counts, not the one in use.
    for key_in_use in ("", KEY):
        monkeypatch.setenv("HYDINDEX_API_KEY", key_in_use)
        assert ("chmod 600" in exposed(config_path)) == (mode != 0o600)
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


@pytest.mark.usefixtures("client")
def test_a_run_warns_and_continues(home: Home) -> None:
    home.config.chmod(0o644)
    outcome = home.run("update", "--quiet")
    assert outcome.exit_code == 0
    assert re.search(r"WARNING .*chmod 600", outcome.err)
