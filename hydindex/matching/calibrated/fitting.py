"""Fit the model to labelled pairs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.alignment import Floats
from hydindex.matching.calibrated.features import FEATURES_VERSION
from hydindex.matching.calibrated.model import INTERCEPT, CalibratedModel

Bools = NDArray[np.bool_]

PULL_TO_SHIPPED: Final = 20.0
"""How many pseudo-observations hold a refitted model to the shipped one."""
_FOLDS: Final = 5


def fit_model(
    terms: Mapping[str, Floats], is_match: Bools, *, min_structure: float, **fitted: Any
) -> CalibratedModel:
    """Fit a model from scratch; `fitted` is noted in it."""
    spreads = {name: float(values.std()) for name, values in terms.items()}
    weights = fit(terms, is_match, spreads)
    noted = {"spreads": {name: round(value, 4) for name, value in spreads.items()}, **fitted}
    return _model(weights, is_match, min_structure, noted)


def refit_model(
    shipped: CalibratedModel, terms: Mapping[str, Floats], is_match: Bools, **fitted: Any
) -> CalibratedModel:
    """Adapt the shipped model to one user's decisions; few decisions change it little."""
    weights = fit(
        terms,
        is_match,
        shipped.fitted["spreads"],
        towards=shipped.weights,
        pull=PULL_TO_SHIPPED,
    )
    return _model(weights, is_match, shipped.min_structure, fitted)


def random_folds(count: int, seed: int) -> list[int]:
    """Divide `count` things into folds of equal size; return the fold of each."""
    folds: list[int] = (np.random.default_rng(seed).permutation(count) % _FOLDS).tolist()
    return folds


def cross_validate(
    first_fold: NDArray[np.intp],
    second_fold: NDArray[np.intp],
    predict: Callable[[Bools], Floats],
) -> Floats:
    """Return each pair's probability by a model that has seen neither file's fold.

    The folds are those of each pair's files, (pairs,). `predict` fits a model to the pairs of a
    mask and returns the probabilities of all pairs.
    """
    result = np.zeros(len(first_fold))
    low, high = np.minimum(first_fold, second_fold), np.maximum(first_fold, second_fold)
    for a, b in sorted(set(zip(low.tolist(), high.tolist(), strict=True))):
        tested = (low == a) & (high == b)
        others = ~np.isin(low, (a, b)) & ~np.isin(high, (a, b))
        result[tested] = predict(others)[tested]
    return result


def fit(
    terms: Mapping[str, Floats],
    is_match: Bools,
    spreads: Mapping[str, float],
    *,
    towards: Mapping[str, float] | None = None,
    pull: float = 1.0,
) -> dict[str, float]:
    """Fit a logistic regression; return its weights by name, including the intercept.

    `spreads` are the standard deviations by which the terms, each (pairs,), are scaled. `pull`
    pseudo-observations draw the weights towards others, or towards zero: little data changes them
    little, and they stay bounded where the data is separable.
    """
    from scipy.optimize import minimize  # slow to import

    names = list(terms)
    columns = np.column_stack([terms[name] / spreads[name] for name in names])
    centre = columns.mean(axis=0)
    matrix = np.column_stack([columns - centre, np.ones(len(columns))])
    goal = np.zeros(len(names) + 1)
    free_intercept = towards is None
    if towards is not None:
        goal[:-1] = [towards[name] * spreads[name] for name in names]
        goal[-1] = towards[INTERCEPT] + goal[:-1] @ centre
    signs = np.where(is_match, 1.0, -1.0)

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
    return {INTERCEPT: float(found[-1] - found[:-1] @ centre), **weights}


def _model(
    weights: dict[str, float], is_match: Bools, min_structure: float, fitted: dict[str, Any]
) -> CalibratedModel:
    return CalibratedModel(
        features_version=FEATURES_VERSION,
        min_structure=min_structure,
        weights={name: round(value, 4) for name, value in weights.items()},
        fitted={"pairs": len(is_match), "matches": int(is_match.sum()), **fitted},
    )
