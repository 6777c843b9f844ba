"""The log file, and waiting for a client that starts late."""

import threading
from dataclasses import replace

import pytest
from conftest import Home, Library, Serve

from hydindex.commands import connection
from hydindex.standin.server import StandIn, refuse


def lines(home: Home, word: str) -> list[str]:
    """Return the lines of the log file that contain a word, without their times."""
    text = (home.folder / "hydindex.log").read_text(encoding="utf-8")
    return [line.split(" ", 2)[2] for line in text.splitlines() if word in line]


def test_the_log_has_one_line_for_every_run(home: Home, client: StandIn) -> None:
    home.configure(log={"path": "hydindex.log"})
    assert home.run("update", "--quiet").err == ""
    client.faults = lambda *_: refuse(503)
    assert home.run("update", "--quiet").exit_code == 3
    home.configure(decision={"min_probability": 0.9})
    assert home.run("rebuild", "--quiet").exit_code == 0
    first, failed, rebuilt = lines(home, " exit=")
    assert first.startswith("INFO update exit=0 found=40 new=40 matched=")
    assert failed.startswith("INFO update exit=3 Hydrus did not answer")
    assert rebuilt.startswith("INFO rebuild exit=0 ")
    assert lines(home, client.SEARCH_AND_RELATIONSHIPS_KEY) == []


def test_a_quiet_run_still_logs_unusable_files(home: Home, serve: Serve, library: Library) -> None:
    home.configure(log={"path": "hydindex.log"})
    serve([replace(library[0], thumbnail=b"?"), *library[1:3]])
    assert home.run("update", "--quiet").err == ""
    (unusable,) = lines(home, "unusable: ")
    assert library[0].hash in unusable


def test_an_unwritable_log_stops_the_run_before_any_request(home: Home, client: StandIn) -> None:
    home.configure(log={"path": "no/such/folder/hydindex.log"})
    assert "log.path cannot be written" in home.fail("update", expect=2)
    assert client.requests == []


def test_an_update_waits_for_a_client_that_starts_late(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_PROBE_INTERVAL_S", 0.05)
    client.__exit__(None, None, None)  # it keeps its port
    assert home.run("update", "--wait-for-client", "0.005").exit_code == 3
    starting = threading.Timer(0.3, client.__enter__)
    starting.start()
    outcome = home.run("update", "--wait-for-client", "1")
    starting.join()
    assert outcome.exit_code == 0
    assert "waiting for Hydrus" in outcome.err
    assert client.potentials
