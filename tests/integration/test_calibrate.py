"""`hydindex calibrate` fits a model to the user's decisions, and writes it if it does better."""

import pytest
from conftest import THRESHOLD, Home, Serve

from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.model import load_model
from hydindex.standin.server import StandIn

FALSE_POSITIVE, DUPLICATE = 1, 2
STRICT = 0.95


@pytest.fixture
def client(home: Home, serve: Serve) -> StandIn:
    """A client to which nearly every candidate pair was posted."""
    home.configure(decision={"min_probability": 0.05})
    client = serve(generate_library(pictures=400))
    home.update()
    return client


def decide(home: Home, client: StandIn, *, min_score: float, max_pairs: int | None = None) -> None:
    """Let the user decide pairs: from `min_score`, they are duplicates."""
    for pair, score in sorted(home.scores().items())[:max_pairs]:
        relationship = DUPLICATE if score >= min_score else FALSE_POSITIVE
        client.decide(*(sha256.lower() for sha256 in pair), relationship)
    home.update()


def test_too_few_decisions_or_decisions_of_one_kind_are_an_error(
    home: Home, client: StandIn
) -> None:
    for choice in ({"min_score": STRICT, "max_pairs": 15}, {"min_score": 0.0}):
        decide(home, client, **choice)
        outcome = home.run("calibrate", "--write", "--json")
        assert outcome.exit_code == 1
        assert outcome.json["error"]["kind"] == "too_few_decisions"
        assert not list(home.folder.glob("*model*"))


def test_a_better_model_for_a_stricter_user_is_written_only_with_write(
    home: Home, client: StandIn
) -> None:
    decide(home, client, min_score=STRICT)
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
    assert home.update()["pairs"]["scored"] == 0  # the config does not name it yet

    before = home.pairs("posted", "known")
    home.configure(decision={"model": "calibrated_model.json"})
    assert home.run("update").exit_code == 4
    matched = home.rebuild()["pairs"]["matched"]
    assert 0 < matched < len(before)
    home.update()
    assert home.pairs("posted", "known") == before  # decisions are final

    again = home.run("calibrate", "--write", "--json")
    assert again.exit_code == 1
    assert not again.json["helps"]


def test_the_numbering_of_files_has_no_effect(home: Home, client: StandIn) -> None:
    decide(home, client, min_score=STRICT)
    fitted = home.run("calibrate", "--json").json
    home.sql("UPDATE pair SET low_id = -high_id, high_id = -low_id")
    home.sql("UPDATE file SET id = -id")
    assert home.run("calibrate", "--json").json == fitted


def test_a_model_that_agrees_with_the_user_is_kept(home: Home, client: StandIn) -> None:
    decide(home, client, min_score=0.5)
    outcome = home.run("calibrate", "--write")
    assert "keep the model in use" in outcome.out
    assert outcome.exit_code == 1
    assert not list(home.folder.glob("*model*"))


def test_decided_pairs_keep_the_score_and_features_that_the_user_saw(
    home: Home, client: StandIn
) -> None:
    decide(home, client, min_score=STRICT)
    decided = "SELECT low_id, high_id, score, features FROM pair WHERE decision IS NOT NULL"
    seen = home.sql(decided)
    home.configure(decision={"method": "threshold"})
    assert home.rebuild()["pairs"]["matched"] > 0
    assert home.sql(decided) == seen
    home.configure(decision={"method": "calibrated"})
    home.rebuild()
    assert home.sql(decided) == seen


def test_pairs_found_by_frame_verification_are_left_out(home: Home, client: StandIn) -> None:
    decide(home, client, min_score=STRICT)
    home.sql("UPDATE pair SET features = json_set(features, '$.frames', 0.9) WHERE score < 0.95")
    outcome = home.run("calibrate", "--json")
    assert outcome.exit_code == 1
    assert "0 wrong" in outcome.json["error"]["message"]


def test_the_threshold_method_cannot_be_calibrated(home: Home, serve: Serve) -> None:
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
