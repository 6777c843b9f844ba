"""The second look: pairs whose thumbnails leave a doubt are decided by frames of both videos.

A frame is compared with a frame just as a thumbnail is with a thumbnail: the same evidence, weighed
by the same model. There is nothing more to be calibrated. Of the frames around a moment, those two
count that agree best; and the verdict is the mean over the moments, in logarithms of the odds.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.features import Floats, Positions, compute_features
from hydindex.matching.calibrated.model import CalibratedModel
from hydindex.matching.calibrated.probability import log_odds, probability
from hydindex.records.pictures import FRAMES_A_MOMENT, MOMENTS, SignatureBatch

DOUBTFUL: Final = (0.02, 0.98)
"""Probabilities by the thumbnails from which, and below which, a second look is worth its cost."""

# How sure a single moment can be, in log odds: one that is off must not outweigh all others.
_SUREST: Final = 6.0
# Which frame of one video is laid upon which of the other: they may be shifted, either way.
_MIDDLE: Final = FRAMES_A_MOMENT // 2
_SHIFTS: Final = np.array(
    [(_MIDDLE, frame) for frame in range(FRAMES_A_MOMENT)]
    + [(frame, _MIDDLE) for frame in range(FRAMES_A_MOMENT) if frame != _MIDDLE]
)


def is_doubtful(likely: Floats, min_probability: float) -> NDArray[np.bool_]:
    """Tell which pairs deserve a second look, by their probabilities.

    From `min_probability` on a pair matches: about one that is just beyond, there is a doubt.
    """
    lowest, highest = doubtful_band(min_probability)
    return (lowest <= likely) & (likely < highest)


def doubtful_band(min_probability: float) -> tuple[float, float]:
    """Tell from where, and up to where, there is a doubt."""
    lowest, highest = DOUBTFUL
    return min(lowest, min_probability), max(highest, min_probability)


def look_again(
    frames: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    model: CalibratedModel,
) -> Floats:
    """Tell how likely pairs of videos are to show the same, 0 to 1: (pairs,).

    `frames` are all frames of one video after the other, each as a file of its own; `first` and
    `second` give each pair by the positions of its videos.
    """
    moments = np.arange(MOMENTS)[None, :, None] * FRAMES_A_MOMENT
    left, right = (
        (videos[:, None, None] * MOMENTS * FRAMES_A_MOMENT + moments + _SHIFTS[:, side]).ravel()
        for videos, side in ((first, 0), (second, 1))
    )
    rows, evidence = compute_features(
        frames,
        left,
        right,
        aspect_ratio_tolerance=aspect_ratio_tolerance,
        gate=model.gate,
    )
    odds = np.full(len(left), -_SUREST)
    odds[rows] = np.clip(log_odds(evidence, model), -_SUREST, _SUREST)
    by_moment = odds.reshape(len(first), MOMENTS, len(_SHIFTS)).max(axis=2)
    return probability(by_moment.mean(axis=1))
