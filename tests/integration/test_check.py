"""`hydindex check` reports every problem of a setup, and changes nothing."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import THRESHOLD, Home, Library, Serve, at, fetched

from hydindex.matching.calibrated.efficientnet import load_network
from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn
from hydindex.store.lock import exclusive

SUBJECTS = ["config", "address", "version", "key", "permissions"]
SUBJECTS += ["search", "thumbnail", "index", "disk", "lock"]
UNKNOWN_KEY = "d" * 64


@pytest.fixture
def library(library: Library) -> Library:
    return library[:6]


class Checked:
    """The findings of check, after both ways to print them; neither changes a file."""

    def __init__(self, home: Home, *, expect: int, privileged: bool = True) -> None:
        def contents() -> dict[Path, bytes]:
            return {each: each.read_bytes() for each in home.folder.iterdir() if each.is_file()}

        run = home.run if privileged else home.run_unprivileged
        before = contents()
        outcome, text = run("check", "--json"), run("check")
        assert outcome.exit_code == text.exit_code == outcome.json["exit_code"] == expect, outcome
        assert outcome.json["command"] == "check"
        assert contents() == before
        printed = outcome.out + outcome.err + text.out + text.err
        for secret in (StandIn.SEARCH_AND_RELATIONSHIPS_KEY, StandIn.SEARCH_ONLY_KEY, UNKNOWN_KEY):
            assert secret not in printed
        assert "Traceback" not in printed
        self.findings: list[dict[str, str]] = outcome.json["findings"]
        self.not_checked: list[str] = outcome.json["not_checked"]
        self.text = text.out
        for finding in self.findings:
            if finding["subject"] != "disk":  # the free space may change meanwhile
                assert finding["message"].splitlines()[0] in text.out
            if finding["severity"] != "ok":
                assert finding["remedy"] or "chmod" in finding["message"]
        self.severities = {
            each["subject"]: each["severity"] for each in self.findings if each["severity"] != "ok"
        }

    def about(self, subject: str) -> str:
        """Messages and remedies about a subject."""
        return "\n".join(
            f"{each['message']}\n{each['remedy']}"
            for each in self.findings
            if each["subject"] == subject
        )


def test_a_good_setup_is_ok_before_and_after_the_first_update(home: Home, client: StandIn) -> None:
    checked = Checked(home, expect=0)
    assert checked.severities == {}
    assert [each["subject"] for each in checked.findings] == SUBJECTS
    assert "none yet" in checked.about("index")
    assert "6 files found" in checked.about("search")
    assert "Everything works." in checked.text
    assert all(request.method == "GET" for request in client.requests)
    home.update()
    checked = Checked(home, expect=0)
    assert checked.severities == {}
    assert "holds 6 files" in checked.about("index")


# The config


def test_a_missing_config_is_an_error(home: Home) -> None:
    home.config.unlink()
    checked = Checked(home, expect=2)
    assert checked.severities == {"config": "error"}
    assert "hydindex init" in checked.about("config")
    assert checked.not_checked == SUBJECTS[1:]


WITHOUT_KEY = ["permissions", "search", "thumbnail"]
CONFIG_ERROR, KEY_ERROR = {"config": "error"}, {"key": "error"}


@pytest.mark.parametrize(
    ("change", "expect", "severities", "not_checked", "message"),
    [
        (
            {"similarity_threshold": 7, "no_such_key": 1},
            2,
            CONFIG_ERROR,
            SUBJECTS[1:],
            "no_such_key",
        ),
        ({"api_port": 0}, 2, CONFIG_ERROR, SUBJECTS[1:], "api_port"),
        ({"decision": {"model": "nowhere.json"}}, 2, CONFIG_ERROR, SUBJECTS[1:], "nowhere.json"),
        ({"tls": {"ca_bundle": "nowhere.crt"}}, 2, CONFIG_ERROR, SUBJECTS[1:], "nowhere.crt"),
        (
            {**THRESHOLD, "frames": {"enabled": True}},
            2,
            CONFIG_ERROR,
            SUBJECTS[1:],
            "frames.enabled",
        ),
        (
            {"api_port": 9, "api_key": "your-hydrus-api-key-here"},
            3,
            {"address": "error", "key": "error"},
            ["version", *WITHOUT_KEY],
            "did not answer",
        ),
        (
            {"api_url": "http://no-such-host.invalid"},
            3,
            {"address": "error"},
            ["version", "key", *WITHOUT_KEY],
            "unknown host name",
        ),
        ({"api_key": UNKNOWN_KEY}, 3, KEY_ERROR, WITHOUT_KEY, ""),
        ({"api_key": "not hexadecimal"}, 3, KEY_ERROR, WITHOUT_KEY, ""),
        (
            {"api_key": StandIn.SEARCH_ONLY_KEY},
            3,
            {"permissions": "error"},
            [],
            "edit file relationships",
        ),
        ({"api_key": StandIn.FULL_KEY}, 0, {}, [], ""),
        ({"tags": ["nobody:knows this"]}, 0, {"search": "warning"}, ["thumbnail"], ""),
        ({"tags": ["system:filetype is vidio"]}, 2, {"search": "error"}, ["thumbnail"], ""),
        (
            {"decision": {"min_probability": 0.9}},
            4,
            {"index": "error"},
            [],
            "hydindex rebuild",
        ),
        # The first of several errors gives the exit code.
        (
            {"api_key": UNKNOWN_KEY, "index": {"path": "nowhere/hydindex.db"}},
            3,
            {"key": "error", "index": "error"},
            [*WITHOUT_KEY, "disk", "lock"],
            "",
        ),
    ],
    ids=str,
)
@pytest.mark.usefixtures("posted")
def test_a_wrong_setting_hides_only_what_needs_it(
    home: Home,
    change: dict[str, Any],
    expect: int,
    severities: dict[str, str],
    not_checked: list[str],
    message: str,
) -> None:
    home.configure(**change)
    checked = Checked(home, expect=expect)
    assert checked.severities == severities
    assert checked.not_checked == not_checked
    assert message in "".join(map(checked.about, severities))
    if "index" not in [*severities, *not_checked]:
        assert "holds 6 files" in checked.about("index")
    errors = list(severities.values()).count("error")
    if errors > 1:
        assert f"{errors} errors to fix" in checked.text


@pytest.mark.usefixtures("client")
def test_a_config_that_others_can_read_is_a_warning(home: Home) -> None:
    home.config.chmod(0o644)
    checked = Checked(home, expect=0)
    assert checked.severities == {"key": "warning"}
    assert "chmod 600" in checked.about("key")
    assert "0 errors to fix, 1 warning." in checked.text


@pytest.mark.usefixtures("client")
def test_the_decoder_is_checked_if_frames_are_enabled(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    home.configure(frames={"enabled": True})
    assert Checked(home, expect=0).severities == {}
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    assert Checked(home, expect=2).severities == CONFIG_ERROR


# The client


def test_a_server_that_is_not_hydrus_is_named(home: Home, client: StandIn) -> None:
    page = Reply(200, b"<p>A printer", "text/html")
    client.faults = at("", Fault(carried_out=False, instead=page))
    assert "Unexpected reply" in Checked(home, expect=3).about("address")


def test_with_a_wrong_port_the_right_one_is_named(
    home: Home, library: Library, usual_ports: tuple[int, ...]
) -> None:
    client = StandIn(library)
    client.port = usual_ports[1]
    with client:
        home.configure(client)
        home.configure(api_port=9)
        checked = Checked(home, expect=3)
    assert f"set api_port to {usual_ports[1]}" in checked.about("address")


def test_v682_is_a_warning(home: Home, serve: Serve, library: Library) -> None:
    serve(library, hydrus_version=682)
    checked = Checked(home, expect=0)
    assert checked.severities == {"version": "warning"}
    assert "v683 or later" in checked.about("version")


@pytest.mark.parametrize(
    ("reply", "severity", "exit_code"),
    [
        (Reply(200, b"no picture", "image/jpeg"), "warning", 0),
        (Reply(500, b"{}", "application/json"), "error", 3),
    ],
)
def test_undecodable_thumbnails_are_a_warning_and_unavailable_ones_an_error(
    home: Home, client: StandIn, reply: Reply, severity: str, exit_code: int
) -> None:
    client.faults = at("thumbnail", Fault(carried_out=False, instead=reply), since=2)
    outcome = home.run("check", "--json")
    assert outcome.exit_code == exit_code
    severities = {each["subject"]: each["severity"] for each in outcome.json["findings"]}
    assert severities == {**dict.fromkeys(SUBJECTS, "ok"), "thumbnail": severity}


# The index


@pytest.mark.usefixtures("posted")
def test_a_damaged_index_is_an_error(home: Home) -> None:
    content = bytearray(home.index.read_bytes())
    content[20_000:60_000] = b"\xff" * 40_000
    for damaged in (content, b"no database at all" * 1000):
        home.index.write_bytes(damaged)
        checked = Checked(home, expect=4)
        assert checked.severities == {"index": "error"}
        assert "hydindex repair" in checked.about("index")


@pytest.mark.usefixtures("client")
def test_a_missing_index_or_folder_is_an_error(home: Home) -> None:
    (home.folder / "hydindex.db.20260101T000000Z.before-rebuild.bak").touch()
    assert "backups of it exist" in Checked(home, expect=4).about("index")
    home.configure(index={"path": "nowhere/hydindex.db"})
    checked = Checked(home, expect=4)
    assert checked.severities == {"index": "error"}
    assert checked.not_checked == ["disk", "lock"]


@pytest.mark.usefixtures("posted")
def test_an_older_index_is_a_warning_and_a_newer_one_an_error(home: Home) -> None:
    home.sql("UPDATE alembic_version SET version_num = '0000'")
    checked = Checked(home, expect=0)
    assert checked.severities == {"index": "warning"}
    home.sql("UPDATE alembic_version SET version_num = '9999'")
    assert "newer hydindex" in Checked(home, expect=4).about("index")


@pytest.mark.usefixtures("posted")
def test_a_running_or_interrupted_run_is_a_warning(home: Home) -> None:
    with exclusive(home.index, "rebuild"):
        checked = Checked(home, expect=0)
        assert checked.severities == {"lock": "warning"}
        assert f"rebuild, process {os.getpid()}" in checked.about("lock")
    home.index.with_name("hydindex.db.holder").write_text("update, process 1", encoding="utf-8")
    checked = Checked(home, expect=0)
    assert checked.severities == {"lock": "warning"}
    assert "interrupted: update, process 1" in checked.about("lock")
    home.update()


@pytest.mark.usefixtures("client")
def test_a_read_only_folder_is_an_error(home: Home) -> None:
    home.folder.chmod(0o500)
    try:
        checked = Checked(home, expect=4, privileged=False)
        refused = home.run_unprivileged("init", "--overwrite")
    finally:
        home.folder.chmod(0o700)
    assert checked.severities == {"disk": "error"}
    assert refused.exit_code == 2
    assert "cannot be written" in refused.err


@pytest.mark.usefixtures("client")
def test_a_descriptor_that_cannot_run_is_an_error_before_anything_is_fetched(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_network.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    checked = Checked(home, expect=2)
    assert checked.severities == CONFIG_ERROR
    assert "ONNX Runtime can't run" in checked.about("config")
    assert "ONNX Runtime" in home.fail("update", expect=2, kind="config")
    assert fetched(client) == set()
    load_network.cache_clear()
