"""`hydindex check`: every finding is named, none hides another, and nothing is changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Home

from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn
from hydindex.standin.state import HydrusFile
from hydindex.store.lock import exclusive

Serve = Callable[..., StandIn]

ALL = (
    "config",
    "address",
    "version",
    "key",
    "permissions",
    "search",
    "thumbnail",
    "index",
    "disk",
    "lock",
)


@pytest.fixture
def library(library: list[HydrusFile]) -> list[HydrusFile]:
    return library[:6]


class Checked:
    """What check says: by subject, the findings in order as (severity, message, remedy)."""

    def __init__(self, home: Home, *, expect: int, privileged: bool = True) -> None:
        run = home.run if privileged else home.run_unprivileged
        before = _contents(home.folder)
        outcome = run("check", "--json")
        assert outcome.exit_code == expect, outcome
        assert outcome.json["exit_code"] == expect
        assert _contents(home.folder) == before, "it changed something"
        for_people = run("check")
        assert for_people.exit_code == expect
        printed = outcome.out + outcome.err + for_people.out + for_people.err
        for key in (StandIn.SEARCH_AND_RELATIONSHIPS_KEY, StandIn.SEARCH_ONLY_KEY, "d" * 64):
            assert key not in printed
        assert "Traceback" not in printed
        self.json = outcome.json
        self.for_people = for_people.out
        self.not_checked = outcome.json["not_checked"]
        for finding in outcome.json["findings"]:
            assert finding["severity"] in ("ok", "warning", "error")
            first_line = finding["message"].splitlines()[0]
            if finding["subject"] != "disk":  # the free space changes from run to run
                assert first_line in for_people.out
            assert finding["severity"] == "ok" or finding["remedy"] or "chmod" in finding["message"]

    @property
    def severities(self) -> dict[str, str]:
        """By subject the last severity, of those that are not ok."""
        return {
            each["subject"]: each["severity"]
            for each in self.json["findings"]
            if each["severity"] != "ok"
        }

    def text(self, subject: str) -> str:
        return "\n".join(
            f"{each['message']}\n{each['remedy']}"
            for each in self.json["findings"]
            if each["subject"] == subject
        )


def _contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def test_a_sound_set_up_is_all_ok_before_and_after_the_first_update(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    checked = Checked(home, expect=0)
    assert checked.severities == {}
    assert [each["subject"] for each in checked.json["findings"]] == list(ALL)
    assert "none yet" in checked.text("index")
    assert "6 files found" in checked.text("search")
    assert "Everything works." in checked.for_people
    home.update()
    checked = Checked(home, expect=0)
    assert checked.severities == {}
    assert "holds 6 files" in checked.text("index")
    assert all(request.method == "GET" for request in client.requests[-12:])


def test_without_a_config_it_says_how_to_make_one(home: Home) -> None:
    home.config.unlink()
    checked = Checked(home, expect=2)
    assert checked.severities == {"config": "error"}
    assert "hydindex init" in checked.text("config")
    assert checked.not_checked == list(ALL[1:])


def test_no_client_hides_neither_key_nor_index(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    home.configure(api_port=9, api_key="your-hydrus-api-key-here")
    checked = Checked(home, expect=3)
    assert checked.severities == {"address": "error", "key": "error"}
    assert checked.not_checked == ["version", "permissions", "search", "thumbnail"]
    assert "holds 6 files" in checked.text("index")


def test_a_host_without_an_address_is_told(home: Home) -> None:
    home.configure(api_url="http://no-such-host.invalid", api_key="d" * 64)
    checked = Checked(home, expect=3)
    assert "unknown host name" in checked.text("address")


def test_what_answers_but_is_no_hydrus_is_told(home: Home, serve: Serve) -> None:
    client = serve([])
    page = Reply(200, b"<p>A printer", "text/html")
    client.faults = lambda *_: Fault(carried_out=False, instead=page)
    checked = Checked(home, expect=3)
    assert checked.severities == {"address": "error"}
    assert "not a Hydrus client" in checked.text("address")


def test_at_a_wrong_port_the_right_one_is_named(
    home: Home, library: list[HydrusFile], usual_ports: tuple[int, ...]
) -> None:
    client = StandIn(library)
    client.port = usual_ports[1]
    with client:
        home.configure(client)
        home.configure(api_port=9)
        checked = Checked(home, expect=3)
    assert f"set api_port to {usual_ports[1]}" in checked.text("address")


@pytest.mark.parametrize(
    ("key", "exit_code", "severities", "not_checked"),
    [
        ("your-hydrus-api-key-here", 2, {"key": "error"}, ["permissions", "search", "thumbnail"]),
        ("d" * 64, 3, {"key": "error"}, ["permissions", "search", "thumbnail"]),
        ("not hexadecimal", 3, {"key": "error"}, ["permissions", "search", "thumbnail"]),
        (StandIn.SEARCH_ONLY_KEY, 3, {"permissions": "error"}, []),
        (StandIn.FULL_KEY, 0, {}, []),
    ],
)
def test_a_key_that_will_not_do_is_told(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    key: str,
    exit_code: int,
    severities: dict[str, str],
    not_checked: list[str],
) -> None:
    serve(library)
    home.configure(api_key=key)
    checked = Checked(home, expect=exit_code)
    assert checked.severities == severities
    assert checked.not_checked == not_checked
    if key == StandIn.SEARCH_ONLY_KEY:
        assert "edit file relationships" in checked.text("permissions")


@pytest.mark.skipif(os.name != "posix", reason="needs the permissions of POSIX")
def test_a_config_that_others_can_read_is_a_warning(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.config.chmod(0o644)
    checked = Checked(home, expect=0)
    assert checked.severities == {"key": "warning"}
    assert "chmod 600" in checked.text("key")
    assert "with 1 warning." in checked.for_people


def test_v682_is_told_apart(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    serve(library, hydrus_version=682)
    checked = Checked(home, expect=0)
    assert checked.severities == {"version": "warning"}
    assert "v683 or later" in checked.text("version")


def test_searches_that_find_nothing_or_make_no_sense_are_told(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.configure(tags=["nobody:knows this"])
    checked = Checked(home, expect=0)
    assert checked.severities == {"search": "warning"}
    home.configure(tags=["system:filetype is vidio"])
    checked = Checked(home, expect=2)
    assert checked.severities == {"search": "error"}
    assert checked.not_checked == ["thumbnail"]


@pytest.mark.parametrize(
    ("reply", "severity", "exit_code"),
    [
        (Reply(200, b"no picture", "image/jpeg"), "warning", 0),
        (Reply(500, b"{}", "application/json"), "error", 3),
    ],
)
def test_thumbnails_that_cannot_be_had_or_decoded_are_told(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    reply: Reply,
    severity: str,
    exit_code: int,
) -> None:
    client = serve(library)
    fault = Fault(carried_out=False, instead=reply)
    client.faults = lambda _method, path, nth: (
        fault if path.endswith("thumbnail") and nth > 1 else None
    )
    outcome = home.run("check", "--json")
    found = {each["subject"]: each for each in outcome.json["findings"]}
    assert outcome.exit_code == exit_code
    assert found["thumbnail"]["severity"] == severity
    assert found["index"]["severity"] == "ok"


def test_a_wrong_config_hides_neither_client_nor_index(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    home.configure(similarity_threshold=7, no_such_key=1)
    checked = Checked(home, expect=2)
    assert checked.severities == {"config": "error"}
    assert checked.not_checked == []
    assert "holds 6 files" in checked.text("index")

    home.configure(api_port=0)
    checked = Checked(home, expect=2)
    assert checked.severities == {"config": "error"}
    assert checked.not_checked == list(ALL[1:7])


def test_keys_that_contradict_each_other_hide_nothing_else(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.configure(decision={"method": "threshold"}, frames={"enabled": True})
    checked = Checked(home, expect=2)
    assert checked.severities == {"config": "error"}
    assert checked.not_checked == []


def test_a_model_that_is_missing_is_told(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.configure(decision={"method": "calibrated", "model": "nowhere.json"})
    checked = Checked(home, expect=2)
    assert checked.severities == {"config": "error"}
    assert "nowhere.json" in checked.text("config")


def test_the_decoder_is_looked_at_where_it_is_needed(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    pytest.importorskip("av")
    serve(library)
    home.configure(decision={"method": "calibrated"}, frames={"enabled": True})
    checked = Checked(home, expect=0)
    assert "PyAV is installed" in checked.text("decoder")


def test_a_damaged_index_is_told(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    serve(library)
    home.update()
    content = bytearray(home.index.read_bytes())
    content[20_000:60_000] = b"\xff" * 40_000
    home.index.write_bytes(content)
    checked = Checked(home, expect=4)
    assert checked.severities == {"index": "error"}
    assert "hydindex repair" in checked.text("index")

    home.index.write_bytes(b"no database at all" * 1000)
    checked = Checked(home, expect=4)
    assert checked.severities == {"index": "error"}


def test_an_index_that_is_missing_beside_its_copies_is_told(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    (home.folder / "hydindex.db.20260101T000000Z.before-rebuild.bak").touch()
    checked = Checked(home, expect=4)
    assert "backups of it exist" in checked.text("index")


def test_an_older_index_is_a_warning_and_a_newer_one_an_error(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    home.sql("UPDATE alembic_version SET version_num = '0000'")
    checked = Checked(home, expect=0)
    assert checked.severities == {"index": "warning"}
    assert "including the schema upgrade" in checked.text("disk")
    home.sql("UPDATE alembic_version SET version_num = '9999'")
    checked = Checked(home, expect=4)
    assert "newer hydindex" in checked.text("index")


def test_a_config_that_has_changed_since_the_index_was_made_is_told(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    home.configure(decision={"min_probability": 0.9})
    checked = Checked(home, expect=4)
    assert checked.severities == {"index": "error"}
    assert "hydindex rebuild" in checked.text("index")


def test_who_holds_the_index_is_named(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    serve(library)
    home.update()
    with exclusive(home.index, "rebuild"):
        checked = Checked(home, expect=0)
        assert checked.severities == {"lock": "warning"}
        assert f"rebuild, process {os.getpid()}" in checked.text("lock")
    home.index.with_name("hydindex.db.holder").write_text("update, process 1", encoding="utf-8")
    checked = Checked(home, expect=0)
    assert checked.severities == {"lock": "warning"}
    assert "interrupted: update, process 1" in checked.text("lock")
    assert home.update()["exit_code"] == 0


def test_a_folder_that_is_not_there_is_told(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.configure(index={"path": "nowhere/hydindex.db"})
    checked = Checked(home, expect=4)
    assert checked.severities == {"index": "error"}
    assert checked.not_checked == ["disk", "lock"]


@pytest.mark.skipif(os.name != "posix", reason="the modes of folders count there only")
def test_a_folder_that_is_read_only_is_told(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.folder.chmod(0o500)
    try:
        checked = Checked(home, expect=4, privileged=False)
        refused = home.run_unprivileged("init", "--overwrite")
    finally:
        home.folder.chmod(0o700)
    assert checked.severities == {"disk": "error"}
    assert refused.exit_code == 2
    assert "cannot be written" in refused.err


def test_the_first_trouble_gives_the_exit_code(home: Home, serve: Serve) -> None:
    serve([])
    values: dict[str, Any] = {"api_key": "d" * 64, "index": {"path": "nowhere/hydindex.db"}}
    home.configure(**values)
    checked = Checked(home, expect=3)
    assert checked.severities == {"key": "error", "index": "error"}
    assert "2 errors to fix" in checked.for_people
    assert checked.json["command"] == "check"
