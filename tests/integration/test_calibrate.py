"""`hydindex calibrate`: learns from what the user decided, and writes what helps when told."""

from collections.abc import Callable

import pytest
from conftest import THRESHOLD, Home

from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.model import load_model
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
FALSE_POSITIVE, DUPLICATE = 1, 2
STRICT = 0.95


@pytest.fixture
def client(home: Home, serve: Serve) -> StandIn:
    """A library of which every candidate with any likeness is posted."""
    home.configure(decision={"method": "calibrated", "min_probability": 0.05})
    client = serve(generate_library(pictures=400))
    home.update()
    return client


def decide(home: Home, client: StandIn, *, least: float, most: int | None = None) -> None:
    """Let a user decide who takes only pairs for duplicates that score at least so much."""
    for pair, score in sorted(home.scores().items())[:most]:
        relationship = DUPLICATE if score >= least else FALSE_POSITIVE
        client.decide(*(sha256.lower() for sha256 in pair), relationship)
    home.update()


def test_refuses_to_learn_from_too_few_decisions(home: Home, client: StandIn) -> None:
    decide(home, client, least=STRICT, most=15)
    outcome = home.run("calibrate", "--write", "--json")
    assert outcome.exit_code == 1
    assert outcome.json["error"]["kind"] == "too_few_decisions"
    assert not list(home.folder.glob("*model*"))


def test_refuses_to_learn_from_decisions_of_one_kind(home: Home, client: StandIn) -> None:
    decide(home, client, least=0.0)
    assert home.run("calibrate").exit_code == 1


def test_serves_a_stricter_user_better_but_writes_only_when_told(
    home: Home, client: StandIn
) -> None:
    decide(home, client, least=STRICT)
    outcome = home.run("calibrate", "--json")
    assert outcome.exit_code == 0
    assert outcome.json["helps"]
    assert outcome.json["after"]["precision"] > outcome.json["before"]["precision"] + 0.02
    assert outcome.json["after"]["f1"] > outcome.json["before"]["f1"] + 0.01
    assert outcome.json["written"] is None
    model = home.folder / "calibrated_model.json"
    assert not model.exists()

    written = home.run("calibrate", "--write")
    assert written.exit_code == 0
    assert load_model(model) != load_model()
    assert f'"decision.model" to "{model}"' in written.out
    assert home.update()["pairs"]["scored"] == 0  # it is in use only where the config says so

    before = home.pairs("posted", "known")
    home.configure(decision={"model": "calibrated_model.json"})
    assert home.run("update").exit_code == 4
    matched = home.rebuild()["pairs"]["matched"]
    assert 0 < matched < len(before)
    home.update()
    assert home.pairs("posted", "known") == before  # what was decided stays decided

    again = home.run("calibrate", "--write", "--json")
    assert again.exit_code == 1
    assert not again.json["helps"]


def test_learns_the_same_however_files_are_numbered(home: Home, client: StandIn) -> None:
    decide(home, client, least=STRICT)
    learnt = home.run("calibrate", "--json").json
    home.sql("UPDATE pair SET low_id = -high_id, high_id = -low_id")
    home.sql("UPDATE file SET id = -id")
    assert home.run("calibrate", "--json").json == learnt


def test_leaves_a_model_alone_that_serves_its_user_well(home: Home, client: StandIn) -> None:
    decide(home, client, least=0.5)
    outcome = home.run("calibrate", "--write")
    assert "keep it" in outcome.out
    assert outcome.exit_code == 1
    assert not list(home.folder.glob("*model*"))


def test_what_was_decided_keeps_the_score_and_the_features_that_the_user_saw(
    home: Home, client: StandIn
) -> None:
    decide(home, client, least=STRICT)
    decided = "SELECT low_id, high_id, score, features FROM pair WHERE decision IS NOT NULL"
    seen = home.sql(decided)
    home.configure(decision={"method": "threshold"})
    assert home.rebuild()["pairs"]["matched"] > 0
    assert home.sql(decided) == seen
    home.configure(decision={"method": "calibrated"})
    home.rebuild()
    assert home.sql(decided) == seen


def test_what_a_second_look_let_through_tells_nothing_of_thumbnails(
    home: Home, client: StandIn
) -> None:
    decide(home, client, least=STRICT)
    home.sql("UPDATE pair SET features = json_set(features, '$.frames', 0.9) WHERE score < 0.95")
    outcome = home.run("calibrate", "--json")
    assert outcome.exit_code == 1
    assert "0 wrong" in outcome.json["error"]["message"]


def test_the_threshold_rule_has_nothing_to_calibrate(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(**THRESHOLD)
    home.update()
    assert home.run("calibrate").exit_code == 2


def test_pairs_with_features_of_another_version_are_left_out_and_counted(
    home: Home, posted: StandIn
) -> None:
    for low, high in sorted(sorted(pair) for pair in posted.potentials):
        posted.decide(low, high, 2)
    home.update()
    home.sql("UPDATE pair SET features = json_set(features, '$.version', 0)")
    outcome = home.run("calibrate", "--json")
    assert outcome.exit_code == 1
    message = outcome.json["error"]["message"]
    assert "0 posted pairs were right" in message
    assert "more have features of another version" in message
    assert "hydindex rebuild" in message
