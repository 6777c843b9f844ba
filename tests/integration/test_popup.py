"""The popup in Hydrus after an update: only if enabled, only with news, and sent once."""

import pytest
from conftest import Home, Library, Serve, at, count

from hydindex.hydrus import client as hydrus_client
from hydindex.standin.api import NO_SUCH_PAGE, Reply
from hydindex.standin.server import (
    DROP_AFTER_WORK,
    DROP_BEFORE_WORK,
    GARBAGE,
    Fault,
    StandIn,
    refuse,
)

ADD_POPUP = "/manage_popups/add_popup"
NOT_SHOWN = "Hydrus may not have shown the popup"


@pytest.fixture
def client(home: Home, client: StandIn) -> StandIn:
    """A client with a key that permits popups, and popup.enabled."""
    home.configure(api_key=client.POPUPS_KEY, popup={"enabled": True})
    return client


def test_the_popup_repeats_the_summary(home: Home, client: StandIn) -> None:
    printed = home.run("update").out.splitlines()
    (popup,) = client.popups
    title, files, pairs = popup.splitlines()
    assert title == "hydindex"
    assert files == printed[0]
    assert pairs.removeprefix("Pairs: ") == printed[2].removeprefix("Hydrus: ")
    assert f"{len(client.potentials)} posted" in pairs


def test_only_a_run_with_news_shows_a_popup(home: Home, client: StandIn) -> None:
    home.update("--dry-run")
    assert count(client, ADD_POPUP) == 0
    home.update()  # posts what the dry run queued
    assert count(client, ADD_POPUP) == 1
    home.update()
    assert count(client, ADD_POPUP) == 1


def test_popups_are_off_by_default(home: Home, serve: Serve, library: Library) -> None:
    client = serve(library)
    home.configure(api_key=client.FULL_KEY)
    home.update()
    assert count(client, ADD_POPUP) == 0


def test_every_run_reports_what_is_left_over(home: Home, client: StandIn, library: Library) -> None:
    client.faults = at("/get_files/thumbnail", refuse(400))
    home.update()
    home.update()
    assert len(client.popups) == 2
    assert all(f"{len(library)} not fetched" in popup for popup in client.popups)


def test_a_failed_run_shows_its_error_unless_hydrus_caused_it(home: Home, client: StandIn) -> None:
    home.update()
    home.configure(decision={"min_probability": 0.9})
    home.update(expect=4)
    assert "decision.min_probability" in client.popups[-1]
    assert "hydindex rebuild" in client.popups[-1]
    home.configure(decision={"min_probability": 0.6})
    client.clear_log()
    client.faults = lambda *_: refuse(503)
    home.update(expect=3)
    assert count(client, ADD_POPUP) == 0


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (refuse(403), "'manage popups' (10)"),
        (Fault(carried_out=False, instead=NO_SUCH_PAGE), "Update Hydrus"),
        (refuse(500), "popup.enabled"),
        (DROP_BEFORE_WORK, "popup.enabled"),
        (DROP_AFTER_WORK, "popup.enabled"),
    ],
)
def test_a_popup_that_fails_is_a_warning_and_not_sent_again(
    home: Home, client: StandIn, fault: Fault, remedy: str
) -> None:
    client.faults = at(ADD_POPUP, fault)
    outcome = home.run("update")
    assert outcome.exit_code == 0
    (warning,) = outcome.err.splitlines()
    assert f"WARNING {NOT_SHOWN}. " in warning
    assert remedy in warning
    assert client.POPUPS_KEY not in warning
    assert count(client, ADD_POPUP) == 1
    assert client.potentials


def test_a_popup_without_an_answer_times_out(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydrus_client, "POPUP_TIMEOUT_S", 0.2)
    client.faults = at(ADD_POPUP, Fault(carried_out=True, instead=Reply(silence_s=60.0)))
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert f"{NOT_SHOWN}. " in outcome.err
    assert "no answer within 0.2 s" in outcome.err
    assert count(client, ADD_POPUP) == 1


def test_the_answer_to_a_popup_is_ignored(home: Home, client: StandIn) -> None:
    client.faults = at(ADD_POPUP, GARBAGE)
    outcome = home.run("update")
    assert (outcome.exit_code, outcome.err) == (0, "")


def test_a_key_without_the_permission_is_a_warning_in_check_and_update(
    home: Home, client: StandIn
) -> None:
    assert "manage popups" not in home.run("check").out
    home.configure(client)  # the key that init asks for
    checked = home.run("check", "--json")
    assert checked.exit_code == 0
    (finding,) = [each for each in checked.json["findings"] if each["severity"] == "warning"]
    assert finding["subject"] == "permissions"
    assert "'manage popups' (10)" in finding["message"]
    assert "edit the key" in finding["remedy"]
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert "You do not have permission to: manage popups" in outcome.err
    assert "edit the key" in outcome.err
    assert client.popups == []
