"""Fits the calibrated model to pairs of which somebody has said what they are."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONSTANT: Final = "intercept"


def fit(
    terms: dict[str, Floats],
    is_duplicate: NDArray[np.bool_],
    spreads: dict[str, float],
    *,
    towards: dict[str, float] | None = None,
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


def spreads_of(terms: dict[str, Floats]) -> dict[str, float]:
    """Give the standard deviation of every term."""
    return {name: float(values.std()) for name, values in terms.items()}
