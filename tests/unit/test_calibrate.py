"""Learning from the user helps, and cannot run away: simulated users, over a year of nights.

Each user decides by a model of their own, at random where that is in doubt. They see only what the
model in use lets match; all that they ever decided is fitted to again and again, and what helps is
taken up, as if they ran `hydindex calibrate --write` and `rebuild` every few days.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from hydindex.matching.calibrated.features import Features
from hydindex.matching.calibrated.model import CalibratedModel, Weights, load_model
from hydindex.matching.calibrated.probability import probabilities
from hydindex.pipeline.calibrate import FEWEST_DECIDED, FEWEST_OF_A_KIND, Quality, fit_to
from hydindex.records.pairs import DecidedPair, Decision

Truth = NDArray[np.bool_]
Random = np.random.Generator
User = Callable[[Features, Random], Truth]

SHIPPED = load_model()
MIN_PROBABILITY = 0.6
ROUNDS, CANDIDATES_A_ROUND = 30, 300


def candidates(number: int, random: Random) -> Features:
    """Candidate pairs, most of them unlike each other, as in any library."""
    likeness = random.beta(0.6, 1.2, number)

    def near(spread: float) -> NDArray[np.float64]:
        return np.clip(likeness + random.normal(0, spread, number), -1, 1)

    nothing = np.zeros(number)
    return Features(
        structure_8px=np.clip(0.1 + 0.9 * near(0.05), 0.1, 1),
        structure_16px=near(0.10),
        structure_32px=near(0.15),
        contours=near(0.15),
        difference=40 * (1 - likeness) * random.lognormal(0, 0.4, number),
        detail_difference=nothing,
        information=random.lognormal(-0.3, 0.9, number),
        coarse_information=random.lognormal(0, 0.9, number),
        duration_difference_ms=np.abs(random.normal(0, 300, number)),
        hamming_distance=nothing,
        aspect_ratio_difference=nothing,
        content_aspect_ratio_difference=nothing,
    )


def user(**changes: float) -> User:
    """Somebody whose idea of a duplicate differs from the shipped model's in these weights."""
    weights = SHIPPED.weights.model_dump()
    for name, change in changes.items():
        weights[name] += change
    mind = SHIPPED.model_copy(update={"weights": Weights(**weights)})
    return lambda evidence, random: random.random(len(evidence)) < probabilities(evidence, mind)


def contrary(evidence: Features, random: Random) -> Truth:
    """Somebody who says the opposite of what the shipped model thinks."""
    return random.random(len(evidence)) >= probabilities(evidence, SHIPPED)


def coin(evidence: Features, random: Random) -> Truth:
    """Somebody who clicks at random."""
    return random.random(len(evidence)) < 0.5


def decided(evidence: Features, truth: Truth, first: int = 1) -> list[DecidedPair]:
    """Candidates as pairs of two files each, that a user has decided about."""
    return [
        DecidedPair(
            (f"{first + 2 * row:064x}", f"{first + 2 * row + 1:064x}"),
            evidence.of_pair(row),
            Decision.DUPLICATE if is_right else Decision.FALSE_POSITIVE,
        )
        for row, is_right in enumerate(truth)
    ]


@dataclass(frozen=True, slots=True)
class Learned:
    """What a user ends up with, and how often the model in use was exchanged."""

    model: CalibratedModel
    decisions: list[DecidedPair]
    exchanged: int


def learn(mind: User, seed: int) -> Learned:
    """Let a user decide what the model in use lets match, and refit it, night after night."""
    random = np.random.default_rng(seed)
    model, decisions, exchanged = SHIPPED, list[DecidedPair](), 0
    for night in range(ROUNDS):
        evidence = candidates(CANDIDATES_A_ROUND, random)
        shown = probabilities(evidence, model) >= MIN_PROBABILITY
        pairs = decided(evidence, mind(evidence, random), 1 + 2 * CANDIDATES_A_ROUND * night)
        decisions += [pair for pair, is_shown in zip(pairs, shown, strict=True) if is_shown]
        right = sum(pair.outcome.is_right for pair in decisions)
        few = min(right, len(decisions) - right) < FEWEST_OF_A_KIND
        if len(decisions) < FEWEST_DECIDED or few:
            continue
        fitted = fit_to(decisions, model, MIN_PROBABILITY)
        if fitted.helps:
            model, exchanged = fitted.model, exchanged + 1
    return Learned(model, decisions, exchanged)


def quality(model: CalibratedModel, mind: User) -> Quality:
    """How a model does for a user, on candidates that neither has seen."""
    evidence = candidates(20_000, np.random.default_rng(99))
    truth = mind(evidence, np.random.default_rng(5))
    return Quality.of(probabilities(evidence, model) >= MIN_PROBABILITY, truth)


def share_matched(model: CalibratedModel) -> float:
    """How much a model would flood its user."""
    evidence = candidates(20_000, np.random.default_rng(99))
    return float((probabilities(evidence, model) >= MIN_PROBABILITY).mean())


SEEDS = [7, 8, 9]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "mind",
    [user(intercept=-3.0), user(intercept=-2.0, information=2.0)],
    ids=["one who is stricter", "one to whom empty pictures mean nothing"],
)
def test_helps_those_who_see_it_otherwise(mind: User, seed: int) -> None:
    learned = learn(mind, seed)
    before, after = quality(SHIPPED, mind), quality(learned.model, mind)
    assert learned.exchanged > 0
    assert after.precision > before.precision + 0.03
    assert after.f1 > before.f1 + 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_leaves_those_alone_who_agree(seed: int) -> None:
    learned = learn(user(), seed)
    assert quality(learned.model, user()).f1 > quality(SHIPPED, user()).f1 - 0.01


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mind", [coin, contrary])
def test_no_user_can_drive_it_to_flood_or_to_silence(mind: User, seed: int) -> None:
    learned = learn(mind, seed)
    assert 0.5 < share_matched(learned.model) / share_matched(SHIPPED) < 1.5


def test_depends_on_the_decisions_alone_not_on_what_was_fitted_before() -> None:
    learned = learn(user(intercept=-3.0), seed=7)
    assert learned.model != SHIPPED
    afresh = fit_to(learned.decisions, SHIPPED, MIN_PROBABILITY)
    assert fit_to(learned.decisions, learned.model, MIN_PROBABILITY).model == afresh.model


@pytest.mark.parametrize("right", [True, False])
def test_ten_decisions_of_one_kind_move_it_little(right: bool) -> None:
    random = np.random.default_rng(3)
    evidence = candidates(6_000, random)
    likely = probabilities(evidence, SHIPPED)
    shown = likely >= MIN_PROBABILITY
    pairs = decided(evidence, np.full(len(evidence), right))
    ten = [pairs[row] for row in np.flatnonzero(shown)[:10]]
    model = fit_to(ten, SHIPPED, MIN_PROBABILITY).model
    moved = probabilities(evidence, model)[shown] - likely[shown]
    assert 0 < abs(moved.mean()) < 0.1
    assert (moved.mean() > 0) == right
