"""`hydindex calibrate` fits a model to the user's decisions, and writes it if it does better."""

import json
from typing import Any

import pytest
from conftest import THRESHOLD, Home, Serve

from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.model import load_model
from hydindex.standin.server import StandIn

FALSE_POSITIVE, DUPLICATE = 1, 2
STRICT = 0.95
OTHER_VERSION = 99


@pytest.fixture
def client(home: Home, serve: Serve) -> StandIn:
    """A client to which nearly every candidate pair was posted."""
    home.configure(decision={"min_probability": 0.05})
    client = serve(generate_library(pictures=400))
    home.update()
    return client


def decide(home: Home, client: StandIn, *, min_score: float, max_pairs: int | None = None) -> None:
    """Let the user decide pairs: from `min_score`, they are duplicates."""
    scores = home.scores()
    for pair in sorted(map(sorted, scores))[:max_pairs]:
        score = scores[frozenset(pair)]
        client.decide(*pair, DUPLICATE if score >= min_score else FALSE_POSITIVE)
    home.update()


def test_too_few_decisions_or_decisions_of_one_kind_are_an_error(
    home: Home, client: StandIn
) -> None:
    for min_score, max_pairs in ((STRICT, 8), (0.0, None)):
        decide(home, client, min_score=min_score, max_pairs=max_pairs)
        home.fail("calibrate", "--write", expect=1, kind="too_few_decisions")
        assert not list(home.folder.glob("*model*"))


def test_a_better_model_for_a_stricter_user_is_written_only_with_write(
    home: Home, client: StandIn
) -> None:
    decide(home, client, min_score=STRICT)
    outcome = home.run("calibrate", "--json")
    assert outcome.exit_code == 0
    fit = outcome.json
    assert fit["helps"]
    assert fit["after"]["precision"] > fit["before"]["precision"] + 0.02
    assert fit["after"]["f1"] > fit["before"]["f1"] + 0.01
    model = home.folder / "calibrated_model.json"
    assert fit["written"] is None
    assert not model.exists()

    written = home.run("calibrate", "--write")
    assert written.exit_code == 0
    assert load_model(model) != load_model()
    assert f'"decision.model" to "{model}"' in written.out
    assert home.update()["pairs"]["scored"] == 0  # the config does not name it yet

    before = home.pairs("posted", "known")
    home.configure(decision={"model": "calibrated_model.json"})
    home.fail("update", expect=4, kind="config_changed")
    assert 0 < home.rebuild()["pairs"]["matched"] < len(before)
    home.update()
    assert home.pairs("posted", "known") == before  # decisions are final
    again = home.run("calibrate", "--write", "--json")
    assert again.exit_code == 1
    assert not again.json["helps"]


def test_the_numbering_of_files_has_no_effect_and_frame_verification_is_left_out(
    home: Home, client: StandIn
) -> None:
    decide(home, client, min_score=STRICT)
    fitted = home.run("calibrate", "--json").json
    home.sql("UPDATE pair SET low_id = -high_id, high_id = -low_id")
    home.sql("UPDATE file SET id = -id")
    assert home.run("calibrate", "--json").json == fitted
    home.sql("UPDATE pair SET features = json_set(features, '$.frames', 0.9) WHERE score < 0.95")
    assert "0 wrong" in home.fail("calibrate", expect=1)


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


def test_the_threshold_method_cannot_be_calibrated(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(**THRESHOLD)
    home.update()
    assert home.run("calibrate").exit_code == 2


def age_features(home: Home, limit: int) -> None:
    """Let the features of some pairs be of another version, and lack a feature."""
    home.sql(
        f"UPDATE pair SET features = json_remove("
        f"json_set(features, '$.version', {OTHER_VERSION}), '$.contours') "
        f"WHERE (low_id, high_id) IN (SELECT low_id, high_id FROM pair ORDER BY 1, 2 LIMIT {limit})"
    )


def test_features_of_another_version_are_left_out_until_a_rebuild(
    home: Home, client: StandIn
) -> None:
    def pairs() -> set[tuple[Any, ...]]:
        rows = home.pair_rows("score, decision, features")
        return {(*row, frozenset(json.loads(features).items())) for *row, features in rows}

    decide(home, client, min_score=STRICT)
    seen = pairs()
    age_features(home, 5)
    shown = home.run("calibrate", "--json").json["decided"]
    assert (shown["other_version"], shown["right"] + shown["wrong"]) == (5, len(seen) - 5)
    assert "5 pairs with features of another version" in home.run("calibrate").out

    age_features(home, len(seen))
    error = home.fail("calibrate", expect=1)
    assert f"{len(seen):,} more have features of another version" in error
    assert "hydindex rebuild" in error

    home.configure(candidate_generation={"tolSeconds": 1.001})  # compares all files again
    home.rebuild()
    assert seen <= pairs()
    assert home.run("calibrate", "--json").json["decided"]["other_version"] == 0


def test_a_model_of_another_version_is_refused_and_can_be_fitted_again(
    home: Home, client: StandIn
) -> None:
    decide(home, client, min_score=STRICT)
    outdated = load_model().model_dump() | {"features_version": OTHER_VERSION}
    (home.folder / "model.json").write_text(json.dumps(outdated))
    home.configure(decision={"model": "model.json"})
    error = home.fail("update", expect=2)
    assert f"version {OTHER_VERSION}" in error
    assert "hydindex calibrate --write" in error
    assert "remove decision.model" in error

    assert home.run("calibrate", "--write").exit_code == 0
    home.rebuild()
    home.update()
