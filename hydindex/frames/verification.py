"""Frame verification: check doubtful pairs on frames of both videos.

A frame is compared with a frame as a thumbnail with a thumbnail: same features, same model. At each
moment the two frames that agree best count; the verdict is the mean of the log odds over all
moments.
"""

from typing import Final

import numpy as np

from hydindex.frames.packing import FRAMES_PER_MOMENT, MOMENTS
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import CalibratedModel, log_odds, probability
from hydindex.matching.calibrated.windows import Floats, Positions
from hydindex.records.pictures import SignatureBatch

# A bound on each moment's log odds, so that one wrong moment can't outweigh all others.
_MAX_LOG_ODDS: Final = 6.0
# Which frame of one video is compared with which of the other: either may be shifted.
_MIDDLE: Final = FRAMES_PER_MOMENT // 2
_SHIFTS: Final = np.array(
    [(_MIDDLE, frame) for frame in range(FRAMES_PER_MOMENT)]
    + [(frame, _MIDDLE) for frame in range(FRAMES_PER_MOMENT) if frame != _MIDDLE]
)


def verify_frames(
    frames: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    model: CalibratedModel,
) -> Floats:
    """Return the probability that pairs of videos match, by their frames: float64 (pairs,).

    `frames` are all frames of one video after the other (see `frame_signatures`); `first` and
    `second` are each pair's videos by position.
    """
    moments = np.arange(MOMENTS)[None, :, None] * FRAMES_PER_MOMENT
    left, right = (
        (videos[:, None, None] * MOMENTS * FRAMES_PER_MOMENT + moments + _SHIFTS[:, side]).ravel()
        for videos, side in ((first, 0), (second, 1))
    )
    rows, features = compute_features(
        frames,
        left,
        right,
        min_structure=model.min_structure,
    )
    odds = np.full(len(left), -_MAX_LOG_ODDS)
    odds[rows] = np.clip(log_odds(features, model), -_MAX_LOG_ODDS, _MAX_LOG_ODDS)
    best_per_moment = odds.reshape(len(first), MOMENTS, len(_SHIFTS)).max(axis=2)
    return probability(best_per_moment.mean(axis=1))
