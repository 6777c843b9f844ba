"""Fitting helps a user and can't run away: simulated users decide pairs for weeks.

Each user decides by a model of their own, at random where that is in doubt. They see only what the
model in use matches. A model is fitted again and again to all their decisions and used if it helps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from hydindex.matching.calibrated.features import FEATURES, Features
from hydindex.matching.calibrated.model import CalibratedModel, load_model, probabilities
from hydindex.pipeline.calibration import MIN_DECIDED, MIN_PER_KIND, Quality, fit_to_pairs
from hydindex.records.pairs import DecidedPair, Decision

Bools = NDArray[np.bool_]
Random = np.random.Generator
User = Callable[[Features, Random], Bools]

SHIPPED = load_model()
MIN_PROBABILITY = 0.6
NIGHTS, NIGHTS_PER_FIT, PAIRS_PER_NIGHT = 30, 5, 300


def candidates(count: int, random: Random) -> Features:
    """Candidate pairs, mostly unlike each other, as in any library."""
    likeness = random.beta(0.6, 1.2, count)

    def near(spread: float) -> NDArray[np.float64]:
        return np.clip(likeness + random.normal(0, spread, count), -1, 1)

    return Features(
        {feature.name: np.zeros(count) for feature in FEATURES}
        | {
            "structure_8px": np.clip(0.1 + 0.9 * near(0.05), 0.1, 1),
            "structure_32px": near(0.15),
            "contours": near(0.15),
            "difference": 40 * (1 - likeness) * random.lognormal(0, 0.4, count),
            "information": random.lognormal(-0.3, 0.9, count),
            "coarse_information": random.lognormal(0, 0.9, count),
            "duration_difference_ms": np.abs(random.normal(0, 300, count)),
        }
    )


def user_with(changes: Mapping[str, float]) -> User:
    """A user whose idea of a duplicate differs from the shipped model in these weights."""
    weights = {name: weight + changes.get(name, 0.0) for name, weight in SHIPPED.weights.items()}
    model = SHIPPED.model_copy(update={"weights": weights})
    return lambda features, random: random.random(len(features)) < probabilities(features, model)


def contrary(features: Features, random: Random) -> Bools:
    return random.random(len(features)) >= probabilities(features, SHIPPED)


def coin(features: Features, random: Random) -> Bools:
    return random.random(len(features)) < 0.5


USERS: dict[str, User] = {
    "agrees": user_with({}),
    "is stricter": user_with({"intercept": -3.0}),
    "ignores empty pictures": user_with({"intercept": -2.0, "information": 2.0}),
    "clicks at random": coin,
    "says the opposite": contrary,
}


def decided(features: Features, is_right: Bools, night: int = 0) -> list[DecidedPair]:
    """Decided pairs of two files each, all different."""
    first = 1 + 2 * PAIRS_PER_NIGHT * night
    return [
        DecidedPair(
            (f"{first + 2 * row:064x}", f"{first + 2 * row + 1:064x}"),
            features.of_pair(row),
            Decision.DUPLICATE if right else Decision.FALSE_POSITIVE,
        )
        for row, right in enumerate(is_right)
    ]


@dataclass(frozen=True, slots=True)
class Learned:
    """The model that a user ends up with, and how often the model in use was replaced."""

    model: CalibratedModel
    decisions: list[DecidedPair]
    replaced: int


@cache
def learn(name: str, seed: int) -> Learned:
    """Let a user decide what the model in use matches, and fit it every few nights."""
    random = np.random.default_rng(seed)
    model, decisions, replaced = SHIPPED, list[DecidedPair](), 0
    for night in range(NIGHTS):
        features = candidates(PAIRS_PER_NIGHT, random)
        shown = probabilities(features, model) >= MIN_PROBABILITY
        pairs = decided(features, USERS[name](features, random), night)
        decisions += [pair for pair, is_shown in zip(pairs, shown, strict=True) if is_shown]
        right = sum(pair.decision.is_right for pair in decisions)
        too_few = len(decisions) < MIN_DECIDED or min(right, len(decisions) - right) < MIN_PER_KIND
        if too_few or (night + 1) % NIGHTS_PER_FIT:
            continue
        fitted = fit_to_pairs(decisions, model, MIN_PROBABILITY)
        if fitted.helps:
            model, replaced = fitted.model, replaced + 1
    return Learned(model, decisions, replaced)


def quality(model: CalibratedModel, name: str) -> Quality:
    """How a model does for a user, on unseen candidates."""
    features = candidates(20_000, np.random.default_rng(99))
    is_right = USERS[name](features, np.random.default_rng(5))
    return Quality.of(probabilities(features, model) >= MIN_PROBABILITY, is_right)


def share_matched(model: CalibratedModel) -> float:
    features = candidates(20_000, np.random.default_rng(99))
    return float((probabilities(features, model) >= MIN_PROBABILITY).mean())


SEEDS = [7, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (8, 9))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["is stricter", "ignores empty pictures"])
def test_helps_a_user_who_disagrees(name: str, seed: int) -> None:
    learned = learn(name, seed)
    before, after = quality(SHIPPED, name), quality(learned.model, name)
    assert learned.replaced > 0
    assert after.precision > before.precision + 0.03
    assert after.f1 > before.f1 + 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_does_not_harm_a_user_who_agrees(seed: int) -> None:
    model = learn("agrees", seed).model
    assert quality(model, "agrees").f1 > quality(SHIPPED, "agrees").f1 - 0.01


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["clicks at random", "says the opposite"])
def test_no_user_can_make_it_match_everything_or_nothing(name: str, seed: int) -> None:
    assert 0.5 < share_matched(learn(name, seed).model) / share_matched(SHIPPED) < 1.5


def test_depends_on_the_decisions_only_not_on_earlier_fits() -> None:
    learned = learn("is stricter", 7)
    assert learned.model != SHIPPED
    fresh = fit_to_pairs(learned.decisions, SHIPPED, MIN_PROBABILITY).model
    assert fit_to_pairs(learned.decisions, learned.model, MIN_PROBABILITY).model == fresh


@pytest.mark.parametrize("right", [True, False])
def test_ten_decisions_of_one_kind_change_it_little(right: bool) -> None:
    features = candidates(6_000, np.random.default_rng(3))
    before = probabilities(features, SHIPPED)
    shown = before >= MIN_PROBABILITY
    pairs = decided(features, np.full(len(features), right))
    ten = [pairs[row] for row in np.flatnonzero(shown)[:10]]
    model = fit_to_pairs(ten, SHIPPED, MIN_PROBABILITY).model
    change = (probabilities(features, model) - before)[shown].mean()
    assert 0 < abs(change) < 0.1
    assert (change > 0) == right
