"""The calibrated decision: evidence, weighed by a model, becomes a probability."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.calibration import CalibratedModel
from hydindex.match.evidence import Evidence, Floats

# At so many nats per pixel a picture counts as half featureless: its windows then stray by about
# one grey level, as much as compression alone makes them.
_HALF_FEATURELESS: Final = 0.5
# What containers and frame rates do to the duration of one and the same video.
_SAME_DURATION_MS: Final = 20.0
# Still images have none, and so nothing but their pictures to speak for them.
_UNKNOWN_MS: Final = 1000.0


def probabilities(evidence: Evidence, model: CalibratedModel) -> Floats:
    """Tell how likely pairs are to show the same, 0 to 1: (pairs,)."""
    return probability(log_odds(evidence, model))


def log_odds(evidence: Evidence, model: CalibratedModel) -> Floats:
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


def terms(evidence: Evidence) -> Mapping[str, NDArray[np.float64]]:
    """Bring the evidence into the form in which it adds up, by the names of the model's weights.

    Between 0.98 and 0.99 lies as much as between 0.2 and 0.6, so agreements are taken by how far
    they are from perfect. The duration says something of featureless pictures only: candidates lie
    near each other by rule, and where there is something to see, that decides.
    """
    featureless = 1.0 / (1.0 + evidence.information / _HALF_FEATURELESS)
    apart_ms = np.nan_to_num(evidence.duration_difference_ms, nan=_UNKNOWN_MS)
    return {
        "structure_8px": _closeness(evidence.structure_8px),
        "structure_16px": _closeness(evidence.structure_16px),
        "structure_32px": _closeness(evidence.structure_32px),
        "contours": _closeness(evidence.contours),
        "difference": np.log1p(evidence.difference),
        "information": np.log(evidence.information + 0.1),
        "coarse_information": np.log(evidence.coarse_information + 0.1),
        "featureless_duration": featureless * np.log1p(apart_ms / _SAME_DURATION_MS),
    }


def _closeness(agreement: Floats) -> Floats:
    result: Floats = -np.log(1.01 - np.clip(agreement, -1.0, 1.0))
    return result
