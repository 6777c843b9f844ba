"""The calibrated decision: evidence, weighed by a model, becomes a probability."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.features import CheapFeatures, Features, Floats
from hydindex.matching.calibrated.model import CalibratedModel

# At so many nats per pixel a picture counts as half featureless: its windows then stray by about
# one grey level, as much as compression alone makes them.
_HALF_FEATURELESS: Final = 0.5
# What containers and frame rates do to the duration of one and the same video.
_SAME_DURATION_MS: Final = 20.0
# Still images have none, and so nothing but their pictures to speak for them.
_UNKNOWN_MS: Final = 1000.0
# Details may differ by so much more than the rest: compression blurs edges, and logos are details.
_DETAILS_MAY_DIFFER: Final = 16.0
# By far more than float arithmetic can be wrong by, in log odds.
_ROUNDING: Final = 1e-6


def probabilities(evidence: Features, model: CalibratedModel) -> Floats:
    """Tell how likely pairs are to show the same, 0 to 1: (pairs,)."""
    return probability(log_odds(evidence, model))


def log_odds(evidence: Features, model: CalibratedModel) -> Floats:
    """Weigh the evidence: the logarithm of the odds that pairs show the same, (pairs,)."""
    weights = model.weights.model_dump()
    result = np.full(len(evidence), weights.pop("intercept"))
    for name, values in terms(evidence).items():
        result += weights[name] * values
    return result


def probability(odds: Floats) -> Floats:
    """Turn logarithms of odds into probabilities."""
    result: Floats = 1.0 / (1.0 + np.exp(-np.clip(odds, -500.0, 500.0)))
    return result


def may_reach(seen: CheapFeatures, model: CalibratedModel, least: float) -> NDArray[np.bool_]:
    """Tell which pairs may turn out to be as probable as `least`, (pairs,).

    What a cheap_features does not show is taken to speak for the pair as strongly as it ever can; so no
    pair is lost by looking at no others more closely.
    """
    weights = model.weights.model_dump()
    most = np.full(len(seen), weights.pop("intercept") + _ROUNDING)
    for name, weight in weights.items():
        most += np.maximum(*(weight * end for end in _range(name, seen)))
    return probability(most) >= least


def _range(name: str, seen: CheapFeatures) -> tuple[Floats | float, Floats | float]:
    """Tell between which ends a term lies, after a cheap_features."""
    if name in _RANGES:
        return _RANGES[name]
    if name == "difference":  # that of the details may raise it
        least = np.log1p(seen.difference)
        return least, np.maximum(least, _MOST_BY_DETAILS)
    value = _TERMS[name](seen)
    return value, value


def terms(evidence: Features) -> Mapping[str, Floats]:
    """Bring the evidence into the form in which it adds up, by the names of the model's weights."""
    return {name: term(evidence) for name, term in _TERMS.items()}


def _closeness(agreement: Floats) -> Floats:
    """Between 0.98 and 0.99 lies as much as between 0.2 and 0.6: tell how near to perfect it is."""
    result: Floats = -np.log(1.01 - np.clip(agreement, -1.0, 1.0))
    return result


def _difference(evidence: Features) -> Floats:
    details = evidence.detail_difference / _DETAILS_MAY_DIFFER
    result: Floats = np.log1p(np.fmax(evidence.difference, details))
    return result


def _amount(information: Floats) -> Floats:
    result: Floats = np.log(information + 0.1)
    return result


def _featureless_duration(evidence: Features) -> Floats:
    """The duration says something of featureless pictures only.

    Candidates lie near each other by rule, and where there is something to see, that decides.
    """
    featureless = 1.0 / (1.0 + evidence.information / _HALF_FEATURELESS)
    apart_ms = np.nan_to_num(evidence.duration_difference_ms, nan=_UNKNOWN_MS)
    result: Floats = featureless * np.log1p(apart_ms / _SAME_DURATION_MS)
    return result


_TERMS: Final[Mapping[str, Callable[[Any], Floats]]] = {
    "structure_8px": lambda evidence: _closeness(evidence.structure_8px),
    "structure_16px": lambda evidence: _closeness(evidence.structure_16px),
    "structure_32px": lambda evidence: _closeness(evidence.structure_32px),
    "contours": lambda evidence: _closeness(evidence.contours),
    "difference": _difference,
    "information": lambda evidence: _amount(evidence.information),
    "coarse_information": lambda evidence: _amount(evidence.coarse_information),
    "featureless_duration": _featureless_duration,
}
# Medians brought together, pixels of 8 bits differ by 510 grey levels at the most.
_MOST_BY_DETAILS: Final = float(np.log1p(510.0 / _DETAILS_MAY_DIFFER))
# How far the terms can go that a cheap_features does not show. Pixels of 8 bits hold 9.1 nats at the most;
# and candidates are less than 100 days apart.
_CLOSENESS_RANGE: Final = (float(_closeness(np.array(-1.0))), float(_closeness(np.array(1.0))))
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "structure_16px": _CLOSENESS_RANGE,
    "structure_32px": _CLOSENESS_RANGE,
    "information": (float(_amount(np.array(0.0))), float(_amount(np.array(9.1)))),
    "featureless_duration": (0.0, 20.0),
}
