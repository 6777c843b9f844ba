"""SSIM of many pairs of pictures at once.

The sums over the 7x7 windows of one picture are computed once; only the product of two pictures is
summed per pair. Up to the last division everything is exact integers; from there on float32 changes
a score by less than 1e-5, far less than `score_bounds.MARGIN`.

Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity",
2004; window, borders and constants as scikit-image's defaults.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydindex.matching.threshold.planes import Pairs, combined
from hydindex.matching.threshold.pyramid import channels_first
from hydindex.matching.threshold.score_bounds import MARGIN, ScoreBounds
from hydindex.records.pictures import Picture

_WINDOW_PX: Final = 7
_PIXELS: Final = _WINDOW_PX**2
# Means are sums / 49, and (co)variances are (49 sum(xy) - sum(x) sum(y)) / (49 * 48). The constants
# are scaled up instead of dividing.
_C1: Final = (0.01 * 255) ** 2 * _PIXELS**2
_C2: Final = (0.03 * 255) ** 2 * _PIXELS * (_PIXELS - 1)


@torch.inference_mode()
def ssim(
    pictures: Picture, first: NDArray[np.intp], second: NDArray[np.intp], device: str = "cpu"
) -> ScoreBounds:
    """Score pairs of prepared thumbnails (files, height, width[, 3]), given by position."""
    pairs = Pairs.of(channels_first(pictures), first, second, device, torch.int32)
    count, height, width = pairs.planes.shape
    windows = (count, height - _WINDOW_PX + 1, width - _WINDOW_PX + 1)
    sums = torch.empty(windows, device=device, dtype=torch.int32)
    squared_sums = torch.empty(windows, device=device, dtype=torch.int32)
    variances = torch.empty(windows, device=device, dtype=torch.int32)
    for part in pairs.plane_parts():
        sums[part] = _window_sums(pairs.planes[part])
        squared_sums[part] = sums[part].square()
        squares = _window_sums(pairs.planes[part].square())
        variances[part] = squares.mul_(_PIXELS).sub_(squared_sums[part])

    scores = torch.empty(len(pairs.left), device=device)
    for left, right, part in pairs.pair_parts():
        sum_products = combined(torch.mul, sums, left, right)
        products = _window_sums(combined(torch.mul, pairs.planes, left, right))
        covariances = products.mul_(_PIXELS).sub_(sum_products)
        square_sums = combined(torch.add, squared_sums, left, right)
        both_variances = combined(torch.add, variances, left, right)
        means_agree = (2 * sum_products + _C1) / (square_sums + _C1)
        structures_agree = (2 * covariances + _C2) / (both_variances + _C2)
        scores[part] = (means_agree * structures_agree).mean(dim=(1, 2))
    channel_scores = scores.view(len(first), -1).cpu().numpy()
    near_zero = np.abs(channel_scores.mean(axis=1)) <= MARGIN  # its sign is uncertain
    return ScoreBounds(channel_scores, near_zero)


def _window_sums(planes: Tensor) -> Tensor:
    """Sum integers over every 7x7 window: (planes, height - 6, width - 6)."""
    return _sum_windows(_sum_windows(planes, 1), 2)


def _sum_windows(planes: Tensor, axis: int) -> Tensor:
    """Sum 7 neighbours along an axis, as 4 + 2 + 1."""
    length = planes.shape[axis]
    twos = planes.narrow(axis, 0, length - 1) + planes.narrow(axis, 1, length - 1)
    fours = twos.narrow(axis, 0, length - 3) + twos.narrow(axis, 2, length - 3)
    windows = length - _WINDOW_PX + 1
    sixes = fours.narrow(axis, 0, windows) + twos.narrow(axis, 4, windows)
    return sixes.add_(planes.narrow(axis, 6, windows))
