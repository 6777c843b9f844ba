"""MS-SSIM of many pairs at once, from coarse to fine, dropping pairs that can no longer match.

MS-SSIM compares two pictures at five levels, each half the size of the one before, and multiplies
five factors:

    cs(1)^0.0448 * cs(2)^0.2856 * cs(3)^0.3001 * cs(4)^0.2363 * ssim(5)^0.1333

`cs` is the mean over the picture of (2 cov(x, y) + C2) / (var(x) + var(y) + C2), with mean,
variance and covariance weighted by a Gaussian window; `ssim` also compares the means. Negative
factors count as zero. Level 1 is the picture itself, level 5 a sixteenth of it.

Work per file is done once: only the product of two pictures is filtered per pair.

Every factor is at most 1, because 2 cov(x, y) <= var(x) + var(y), and 2ab <= a^2 + b^2 for the
means. So the product over the computed levels is an upper bound of the score; in colour, the mean
over the channels. A pair is dropped once its bound falls below the threshold. The finer levels,
which take nearly all the time, are computed only for the rest.

This code and pytorch-msssim round differently. On pictures made to provoke it, factors differed by
at most 8e-4, those near zero by at most 2e-5, and scores by at most 2e-4. Near zero the powers
magnify an error (0.001^0.0448 is 0.73), so a factor between -`_FLOOR` and `_FLOOR` counts as
`_FLOOR`, which keeps the product an upper bound. Pairs are dropped only if the bound is below the
threshold by more than `score_bounds.MARGIN`. The library itself scores those that end within the
margin or had such a factor.

Source: Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality
assessment", 2003; levels, borders and constants as in pytorch-msssim 1.0.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from numpy.typing import NDArray
from torch import Tensor

from hydindex.matching.threshold.planes import Pairs, combined
from hydindex.matching.threshold.pyramid import Sums, channels_first, halve
from hydindex.matching.threshold.score_bounds import ScoreBounds
from hydindex.records.pictures import CoarsePicture, Picture

_WEIGHTS: Final = {1: 0.0448, 2: 0.2856, 3: 0.3001, 4: 0.2363, 5: 0.1333}
_WINDOW_PX: Final = 11
_SIGMA_PX: Final = 1.5
_C1: Final = 0.01**2
_C2: Final = 0.03**2
_FLOOR: Final = 0.001

# Planes up to this size are filtered by one matrix product. For larger ones the matrix would be
# mostly zeros: they are filtered in two passes.
_LARGEST_MATRIX_PX: Final = 256


def coarse_levels(
    coarse: CoarsePicture,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    threshold: float,
) -> ScoreBounds:
    """Compute levels 5 and 4, on the CPU: a GPU would not be faster.

    `coarse` are coarse pictures, (files, channels, height, width). `first` and `second` are the
    files of each pair by position.
    """
    bounds = ScoreBounds.initial(len(first), channels=coarse.shape[1])
    levels: dict[int, Sums] = {5: halve(coarse), 4: coarse}
    return _tighten_bounds(bounds, levels, first, second, threshold, "cpu")


def fine_levels(
    pictures: Picture,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    bounds: ScoreBounds,
    threshold: float,
    device: str = "cpu",
) -> ScoreBounds:
    """Compute levels 3, 2 and 1 of pairs with these bounds after the coarse levels.

    `pictures` are prepared thumbnails, (files, height, width[, 3]).
    """
    level_1 = channels_first(pictures)
    level_2 = halve(level_1)
    levels: dict[int, Sums] = {3: halve(level_2), 2: level_2, 1: level_1}
    return _tighten_bounds(bounds, levels, first, second, threshold, device)


def _tighten_bounds(
    bounds: ScoreBounds,
    levels: Mapping[int, Sums],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    threshold: float,
    device: str,
) -> ScoreBounds:
    """Multiply by the factors of each level, only for pairs that may reach the threshold."""
    products, needs_exact_score = bounds.bounds.copy(), bounds.needs_exact_score.copy()
    pairs_per_level: dict[str, int] = {}
    for level, sums in levels.items():
        (rows,) = np.nonzero(ScoreBounds(products, needs_exact_score).may_match(threshold))
        pairs_per_level[str(level)] = len(rows)
        if len(rows):
            factors = _factors(sums, level, first[rows], second[rows], device)
            trusted = np.where(factors <= -_FLOOR, 0.0, np.clip(factors, _FLOOR, 1.0))
            products[rows] *= trusted ** np.float32(_WEIGHTS[level])
            needs_exact_score[rows] |= (np.abs(factors) < _FLOOR).any(axis=1)
    return ScoreBounds(products, needs_exact_score, pairs_per_level)


@torch.inference_mode()
def _factors(
    sums: Sums, level: int, first: NDArray[np.intp], second: NDArray[np.intp], device: str
) -> NDArray[np.float32]:
    """Compute the mean of `cs` (at level 5, of `ssim`) of pairs: (pairs, channels)."""
    pairs = Pairs.of(sums, first, second, device, torch.float32)
    planes = pairs.planes.div_(255 * 4 ** (level - 1))

    # The work per file. Each variance includes half of C2, so that the denominator of a pair is the
    # sum of two of them.
    count, height, width = planes.shape
    windows = (count, (height - _WINDOW_PX + 1) * (width - _WINDOW_PX + 1))
    means = torch.empty(windows, device=device)
    variances = torch.empty(windows, device=device)
    for part in pairs.plane_parts():
        means[part] = _window_means(planes[part])
        variances[part] = _window_means(planes[part].square()).sub_(means[part].square())
    variances += _C2 / 2

    squared_means = means.square() if level == 5 else means  # only level 5 compares means
    factors = torch.empty(len(pairs.left), device=device)
    for left, right, part in pairs.pair_parts():
        mean_products = combined(torch.mul, means, left, right)
        covariances = _window_means(combined(torch.mul, planes, left, right)).sub_(mean_products)
        similarities = covariances.add_(_C2 / 2).div_(combined(torch.add, variances, left, right))
        if level == 5:
            mean_squares = combined(torch.add, squared_means, left, right)
            similarities *= (2 * mean_products + _C1) / (mean_squares + _C1)
        factors[part] = 2 * similarities.mean(dim=1)
    return factors.view(len(first), -1).cpu().numpy()


def _window_means(planes: Tensor) -> Tensor:
    """Filter (planes, height, width) with the Gaussian window wherever it fits.

    Return (planes, positions), with the positions of every plane in the same order.
    """
    if planes[0].numel() <= _LARGEST_MATRIX_PX:
        return planes.flatten(1) @ _window_matrix(*planes.shape[1:], str(planes.device))
    return _filter_separably(planes)


@lru_cache
def _window_matrix(height: int, width: int, device: str) -> Tensor:
    """Every window as a column: (pixels, positions)."""
    one_pixel_each = torch.eye(height * width, device=device).view(-1, height, width)
    return _filter_separably(one_pixel_each)


def _filter_separably(planes: Tensor) -> Tensor:
    filtered_down = _filter_columns(planes)
    return _filter_columns(filtered_down.transpose(1, 2).contiguous()).flatten(1)


def _filter_columns(planes: Tensor) -> Tensor:
    """Slide the window down every column.

    The columns become the channels of a picture one pixel high: they are adjacent in memory, so
    that the convolution handles many at a time. This is six times as fast as one channel.
    """
    count, height, width = planes.shape
    columns_as_channels = planes.view(count, 1, height, width).permute(0, 3, 1, 2)
    window = _window(str(planes.device)).expand(width, 1, 1, -1).contiguous()
    filtered = F.conv2d(columns_as_channels, window, groups=width)
    return filtered.permute(0, 2, 3, 1)[:, 0]


@lru_cache
def _window(device: str) -> Tensor:
    offsets = torch.arange(_WINDOW_PX, dtype=torch.float32) - _WINDOW_PX // 2
    weights = torch.exp(-(offsets**2) / (2 * _SIGMA_PX**2))
    return (weights / weights.sum()).to(device)
