"""Features and models of another version are refused or computed again, never mixed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Home

from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.model import load_model
from hydindex.standin.server import StandIn

FALSE_POSITIVE, DUPLICATE = 1, 2
OTHER_VERSION = 99
ALL_PAIRS = "SELECT low_id, high_id, score, features, decision FROM pair ORDER BY 1, 2"


@pytest.fixture
def decided(home: Home, serve: Callable[..., StandIn]) -> int:
    """Post every candidate and decide all of them as a strict user; return their number."""
    home.configure(decision={"min_probability": 0.05})
    client = serve(generate_library(pictures=400))
    home.update()
    scores = home.scores()
    for pair, score in scores.items():
        relationship = DUPLICATE if score >= 0.95 else FALSE_POSITIVE
        client.decide(*(sha256.lower() for sha256 in pair), relationship)
    home.update()
    return len(scores)


def age_features(home: Home, limit: int) -> None:
    """Let the features of some pairs be of another version, and lack a feature."""
    home.sql(
        f"UPDATE pair SET features = json_remove("
        f"json_set(features, '$.version', {OTHER_VERSION}), '$.contours') "
        f"WHERE (low_id, high_id) IN (SELECT low_id, high_id FROM pair ORDER BY 1, 2 LIMIT {limit})"
    )


def normalised(row: tuple[Any, ...]) -> tuple[Any, ...]:
    low, high, score, features, decision = row
    return low, high, score, tuple(sorted(json.loads(features).items())), decision


def test_calibrate_leaves_out_features_of_another_version_until_a_rebuild(
    home: Home, decided: int
) -> None:
    seen = home.sql(ALL_PAIRS)
    age_features(home, 5)
    shown = home.run("calibrate", "--json").json["decided"]
    assert (shown["other_version"], shown["right"] + shown["wrong"]) == (5, decided - 5)
    assert "5 pairs with features of another version" in home.run("calibrate").out

    age_features(home, decided)
    refused = home.run("calibrate")
    assert refused.exit_code == 1
    assert f"{decided:,} more have features of another version" in refused.err

    home.configure(candidate_generation={"tolSeconds": 1.001})  # compares all files again
    home.rebuild()
    assert set(map(normalised, seen)) <= set(map(normalised, home.sql(ALL_PAIRS)))
    assert home.run("calibrate", "--json").json["decided"]["other_version"] == 0


def test_a_model_of_another_version_is_refused_and_can_be_fitted_again(
    home: Home, decided: int
) -> None:
    outdated = load_model().model_dump() | {"features_version": OTHER_VERSION}
    model = home.folder / "model.json"
    model.write_text(json.dumps(outdated))
    home.configure(decision={"min_probability": 0.05, "model": "model.json"})
    refused = home.run("update")
    assert refused.exit_code == 2
    assert f"version {OTHER_VERSION}" in refused.err
    assert "hydindex calibrate --write" in refused.err
    assert "remove decision.model" in refused.err

    assert decided > 100
    assert home.run("calibrate", "--write").exit_code == 0
    home.rebuild()
    assert home.run("update").exit_code == 0
