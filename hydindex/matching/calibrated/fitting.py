"""Fits the calibrated model to pairs of which somebody has said what they are."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.model import CalibratedModel, Weights

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CONSTANT: Final = "intercept"
_PARTS: Final = 5
PULL_TO_SHIPPED: Final = 20.0
"""How many pseudo-observations hold a refitted model to the shipped one."""


def fit_model(
    terms: Mapping[str, Floats], is_duplicate: Bools, *, gate: float, **fitted: Any
) -> CalibratedModel:
    """Fit a model to pairs alone; `fitted` is noted in it."""
    spreads = {name: float(values.std()) for name, values in terms.items()}
    weights = fit(terms, is_duplicate, spreads)
    noted = {"spreads": {name: round(value, 4) for name, value in spreads.items()}, **fitted}
    return _model(weights, is_duplicate, gate, noted)


def refit_model(
    shipped: CalibratedModel, terms: Mapping[str, Floats], is_duplicate: Bools, **fitted: Any
) -> CalibratedModel:
    """Bring a model nearer to what one user decides; a few decisions move it little."""
    weights = fit(
        terms,
        is_duplicate,
        shipped.fitted["spreads"],
        towards=shipped.weights.model_dump(),
        pull=PULL_TO_SHIPPED,
    )
    return _model(weights, is_duplicate, shipped.gate, fitted)


def drawn_parts(count: int, seed: int) -> list[int]:
    """Divide so many things at random into parts of one size: give the part of each."""
    drawn: list[int] = (np.random.default_rng(seed).permutation(count) % _PARTS).tolist()
    return drawn


def judged_by_others(
    first_part: NDArray[np.intp],
    second_part: NDArray[np.intp],
    judge: Callable[[Bools], Floats],
) -> Floats:
    """Cross-validate: give every pair the probability of a model that knows neither file's part.

    The parts are those that the files of each pair belong to: (pairs,), each. `judge` fits a model
    to the pairs of a mask, and gives every pair a probability by it.
    """
    likely = np.zeros(len(first_part))
    low, high = np.minimum(first_part, second_part), np.maximum(first_part, second_part)
    for a, b in sorted(set(zip(low.tolist(), high.tolist(), strict=True))):
        judged = (low == a) & (high == b)
        others = ~np.isin(low, (a, b)) & ~np.isin(high, (a, b))
        likely[judged] = judge(others)[judged]
    return likely


def fit(
    terms: Mapping[str, Floats],
    is_duplicate: Bools,
    spreads: Mapping[str, float],
    *,
    towards: Mapping[str, float] | None = None,
    pull: float = 1.0,
) -> dict[str, float]:
    """Find the weights of a logistic regression, by name, the intercept among them.

    `terms` (each (pairs,)) and `spreads`, their standard deviations, belong together by name. The
    weights are pulled towards others, or towards zero, by `pull` pseudo-observations: so little
    data moves them little, and they stay bounded where the data could be told apart perfectly.
    """
    from scipy.optimize import minimize  # slow to import, and seldom needed

    names = list(terms)
    columns = np.column_stack([terms[name] / spreads[name] for name in names])
    centre = columns.mean(axis=0)
    matrix = np.column_stack([columns - centre, np.ones(len(columns))])
    goal = np.zeros(len(names) + 1)
    free_intercept = towards is None
    if towards is not None:
        goal[:-1] = [towards[name] * spreads[name] for name in names]
        goal[-1] = towards[CONSTANT] + goal[:-1] @ centre
    signs = np.where(is_duplicate, 1.0, -1.0)

    def loss(weights: Floats) -> tuple[float, Floats]:
        margins = signs * (matrix @ weights)
        away = weights - goal
        if free_intercept:
            away[-1] = 0.0
        wrong = -signs / (1.0 + np.exp(np.clip(margins, -500.0, 500.0)))
        value = np.logaddexp(0.0, -margins).sum() + pull / 2 * (away @ away)
        return float(value), matrix.T @ wrong + pull * away

    found = minimize(loss, goal, jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    weights = dict(
        zip(names, (found[:-1] / [spreads[name] for name in names]).tolist(), strict=True)
    )
    return {CONSTANT: float(found[-1] - found[:-1] @ centre), **weights}


def _model(
    weights: dict[str, float], is_duplicate: Bools, gate: float, fitted: dict[str, Any]
) -> CalibratedModel:
    return CalibratedModel(
        gate=gate,
        weights=Weights(**{name: round(value, 4) for name, value in weights.items()}),
        fitted={"pairs": len(is_duplicate), "duplicates": int(is_duplicate.sum()), **fitted},
    )
