"""The log file, and waiting for a client: what nobody sees who is asleep."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from conftest import Home

from hydindex.commands import connection as connect
from hydindex.standin.server import StandIn, refuse
from hydindex.standin.state import HydrusFile

Serve = Callable[..., StandIn]


def lines(home: Home, word: str) -> list[str]:
    """The lines of the log file that hold a word, without their times."""
    text = (home.folder / "hydindex.log").read_text(encoding="utf-8")
    return [line.split(" ", 2)[2] for line in text.splitlines() if word in line]


def test_a_line_for_every_run_can_be_found_in_the_log_file(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    home.configure(log={"path": "hydindex.log"})
    client = serve(library)
    outcome = home.run("update", "--quiet")
    assert outcome.err == ""
    client.faults = lambda *_: refuse(503)
    assert home.run("update", "--quiet").exit_code == 3
    home.configure(similarity_threshold=0.9)
    assert home.run("rebuild", "--quiet").exit_code == 0
    first, failed, rebuilt = lines(home, " exit=")
    assert first.startswith(f"INFO update exit=0 found={len(library)} new={len(library)} matched=")
    assert failed.startswith("INFO update exit=3 Hydrus did not answer")
    assert rebuilt.startswith("INFO rebuild exit=0 ")
    assert lines(home, client.SEARCH_AND_RELATIONSHIPS_KEY) == []


def test_it_holds_the_course_of_a_run_however_quiet_that_was(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    home.configure(log={"path": "hydindex.log"})
    serve([replace(library[0], thumbnail=b"?"), *library[1:3]])
    assert home.run("update", "--quiet").err == ""
    (unusable,) = lines(home, "unusable: ")
    assert library[0].hash in unusable


def test_a_log_file_that_cannot_be_written_is_said_before_anything_is_done(
    home: Home, serve: Serve
) -> None:
    client = serve([])
    home.configure(log={"path": "no/such/folder/hydindex.log"})
    outcome = home.run("update")
    assert outcome.exit_code == 2
    assert "log.path cannot be written" in outcome.err
    assert client.requests == []


def test_waits_for_a_client_that_starts_late(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_PROBE_INTERVAL_S", 0.05)
    client = serve(library)
    client.__exit__(None, None, None)  # its port stays its own
    starting = threading.Timer(0.3, client.__enter__)
    starting.start()
    outcome = home.run("update", "--wait-for-client", "1")
    starting.join()
    assert outcome.exit_code == 0
    assert "waiting for Hydrus" in outcome.err
    assert client.potentials


def test_waits_no_longer_than_told(
    home: Home, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_PROBE_INTERVAL_S", 0.05)
    client = serve([])
    client.__exit__(None, None, None)
    assert home.run("update", "--wait-for-client", "0.005").exit_code == 3
