"""Fit the model to labelled pairs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.features import FEATURES_VERSION
from hydindex.matching.calibrated.model import INTERCEPT, CalibratedModel
from hydindex.matching.calibrated.windows import Floats

Bools = NDArray[np.bool_]

# How strongly a refitted model is held to the shipped one.
_REFIT_REGULARIZATION: Final = 20.0
_FOLDS: Final = 5


def fit_model(
    terms: Mapping[str, Floats], is_match: Bools, *, min_structure: float, **fitted: Any
) -> CalibratedModel:
    """Fit a model from scratch; `fitted` is noted in it."""
    deviations = {name: float(values.std()) for name, values in terms.items()}
    weights = _fit_logistic_regression(terms, is_match, deviations)
    rounded = {name: round(value, 4) for name, value in deviations.items()}
    return _model(weights, is_match, min_structure, standard_deviations=rounded, **fitted)


def refit_model(
    shipped: CalibratedModel, terms: Mapping[str, Floats], is_match: Bools, **fitted: Any
) -> CalibratedModel:
    """Adapt the shipped model to one user's decisions; few decisions change it little."""
    weights = _fit_logistic_regression(
        terms,
        is_match,
        shipped.fitted["standard_deviations"],
        prior_weights=shipped.weights,
        regularization=_REFIT_REGULARIZATION,
    )
    return _model(weights, is_match, shipped.min_structure, **fitted)


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
        training = ~np.isin(low, (a, b)) & ~np.isin(high, (a, b))
        result[tested] = predict(training)[tested]
    return result


def _fit_logistic_regression(
    terms: Mapping[str, Floats],
    is_match: Bools,
    standard_deviations: Mapping[str, float],
    *,
    prior_weights: Mapping[str, float] | None = None,
    regularization: float = 1.0,
) -> dict[str, float]:
    """Fit a logistic regression with L2 regularization; return its weights by name.

    The terms, each (pairs,), are standardized. Weights are regularized towards the prior weights;
    without these towards zero, except for the intercept. So they stay bounded where the data is
    separable.
    """
    from scipy.optimize import minimize  # slow to import

    scale = np.array([standard_deviations[name] for name in terms])
    columns = np.column_stack(list(terms.values())) / scale
    mean = columns.mean(axis=0)
    matrix = np.column_stack([columns - mean, np.ones(len(columns))])
    prior = np.zeros(len(terms) + 1)
    penalized = np.ones(len(terms) + 1)
    if prior_weights is None:
        penalized[-1] = 0.0
    else:
        prior[:-1] = np.array([prior_weights[name] for name in terms]) * scale
        prior[-1] = prior_weights[INTERCEPT] + prior[:-1] @ mean
    signs = np.where(is_match, 1.0, -1.0)

    def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
        margins = signs * (matrix @ weights)
        deviation = (weights - prior) * penalized
        loss = np.logaddexp(0.0, -margins).sum() + regularization / 2 * (deviation @ deviation)
        slopes = -signs / (1.0 + np.exp(np.clip(margins, -500.0, 500.0)))
        return float(loss), matrix.T @ slopes + regularization * deviation

    result = minimize(
        loss_and_gradient, prior, jac=True, method="L-BFGS-B", options={"maxiter": 1000}
    )
    *weights, intercept = result.x
    return {
        INTERCEPT: float(intercept - result.x[:-1] @ mean),
        **dict(zip(terms, (weights / scale).tolist(), strict=True)),
    }


def _model(
    weights: dict[str, float], is_match: Bools, min_structure: float, **fitted: Any
) -> CalibratedModel:
    return CalibratedModel(
        features_version=FEATURES_VERSION,
        min_structure=min_structure,
        weights={name: round(value, 4) for name, value in weights.items()},
        fitted={"pairs": len(is_match), "matches": int(is_match.sum()), **fitted},
    )
