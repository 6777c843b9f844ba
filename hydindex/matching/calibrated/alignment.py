"""Align the pictures of two files, and measure how much they agree.

Signatures hold 32x32 grey views of the whole picture and of its content without bars. For each
pair, every alignment of views with a compatible aspect ratio is tried, also with one view mirrored,
and the one whose coarsest structure agrees best counts: so a letterboxed copy is compared, without
its bars, with the whole original.

Structure is compared as in SSIM: the correlation of two pictures in every small window. Each window
is weighted by its information, because two flat areas always agree.

Source: Z. Wang, Q. Li, "Information content weighting for perceptual image quality assessment",
2011: the structure term, with windows weighted by log(1 + variance / noise).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.candidates import aspect_ratios_agree
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.records.pictures import VIEW_PX, SignatureBatch

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

_SIGMA_PX: Final = 1.5
# The variance that compression and scaling add to 32x32 pixels: about two grey levels, squared.
_NOISE: Final = 2.0
# Differences below this many grey levels hardly make an edge.
_SOFT_EDGE: Final = 4.0
# Views whose windows hold less information than this, in nats, are empty.
_EMPTY: Final = 1e-9
# Keeps the noise of flat pictures from counting as edges that agree.
_EDGE_NOISE: Final = 1e-3
# A share of the pixels may differ arbitrarily: a logo, a subtitle.
_DIFFERENCE_QUANTILE: Final = 0.75
_DETAIL_QUANTILE: Final = 0.85

# The views of a file by number. File n has the views _VIEWS * n + one of these.
_WHOLE, _CONTENT, _MIRRORED_WHOLE, _MIRRORED_CONTENT, _VIEWS = range(5)
# Alignments: a view of the first file, and a view of the second. Of two that agree equally, the
# first counts.
_BOTH_CONTENTS: Final = ((_CONTENT, _CONTENT), (_CONTENT, _MIRRORED_CONTENT))
_BOTH_WHOLES: Final = ((_WHOLE, _WHOLE), (_WHOLE, _MIRRORED_WHOLE))
_ALIGNMENTS: Final = (
    *(_BOTH_CONTENTS[0], (_CONTENT, _WHOLE), (_WHOLE, _CONTENT), _BOTH_WHOLES[0]),
    *(_BOTH_CONTENTS[1], (_CONTENT, _MIRRORED_WHOLE), (_WHOLE, _MIRRORED_CONTENT)),
    _BOTH_WHOLES[1],
)


# Scenery resembles its mirror image. So a mirrored alignment needs at least this structure at 8 px,
# and must agree better than any other by this much.
_MIN_MIRRORED_STRUCTURE: Final = 0.9
_MIRROR_MARGIN: Final = 0.1


class AlignedViews:
    """Aligned pairs of views; every method that measures returns one value per pair.

    `rows`: which of the given pairs these are. `left`, `right`: the views by number.
    """

    def __init__(
        self, signatures: SignatureBatch, rows: Positions, left: Positions, right: Positions
    ) -> None:
        self.rows = rows
        self._signatures, self._left, self._right = signatures, left, right
        used, self._i, self._j = files_of_pairs(left, right)
        self._views = _all_views(signatures)[used]
        self._windows: dict[int, _Windows] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, mask: NDArray[np.bool_]) -> "AlignedViews":
        """Return some of the pairs."""
        return AlignedViews(self._signatures, self.rows[mask], self._left[mask], self._right[mask])

    def structure(self, side_px: int) -> Floats:
        """Return how well the structure at this size agrees, -1 to 1."""
        return _structure(self._windows_at(side_px), self._i, self._j)

    def information(self, side_px: int) -> Floats:
        """Return the information of the emptier view at this size, in nats per pixel."""
        information = _information(self._windows_at(side_px).variances).mean(axis=(1, 2))
        return np.minimum(information[self._i], information[self._j])

    def contours(self) -> Floats:
        """Return how well edges agree, -1 to 1; strong and faint edges count nearly alike."""
        pixels = self._views.astype(np.float64)
        down = np.diff(pixels, axis=1)[:, :, :-1]
        across = np.diff(pixels, axis=2)[:, :-1, :]
        edges = np.concatenate((down, across), axis=1)
        edges = edges.reshape(len(pixels), 2 * (VIEW_PX - 1) ** 2)
        # In place: allocating memory costs as much as the arithmetic.
        strengths = np.abs(edges)
        strengths += _SOFT_EDGE
        edges /= strengths
        edges -= edges.mean(axis=1, keepdims=True)
        edges /= np.sqrt(np.square(edges).sum(axis=1, keepdims=True) + _EDGE_NOISE * edges.shape[1])
        return np.einsum("ij,ij->i", edges[self._i], edges[self._j])

    def difference(self) -> Floats:
        """Return the largest difference of 75 % of the pixels, in grey levels.

        The medians of both views are made equal first.
        """
        return np.quantile(self._differences, _DIFFERENCE_QUANTILE, axis=1).astype(np.float64)

    def detail_difference(self) -> Floats:
        """Return the largest difference of 85 % of the information, in grey levels.

        On a title card most pixels are black and agree; only the letters count here.
        """
        variances = self._windows_at(VIEW_PX).variances.reshape(len(self._views), VIEW_PX**2)
        weights = _information(variances[self._i] + variances[self._j])
        order = np.argsort(self._differences, axis=1, kind="stable")
        cumulative = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        place = (cumulative < _DETAIL_QUANTILE * cumulative[:, -1:]).sum(axis=1, keepdims=True)
        pixel = np.take_along_axis(order, place, axis=1)
        return np.take_along_axis(self._differences, pixel, axis=1)[:, 0].astype(np.float64)

    def duration_difference_ms(self) -> Floats:
        """Return the difference of the durations; NaN where neither file has one."""
        durations_ms = self._signatures.duration_ms
        return np.abs(durations_ms[self._left // _VIEWS] - durations_ms[self._right // _VIEWS])

    def is_mirrored(self) -> Floats:
        """Return 1 where the second view is mirrored, else 0."""
        mirrored = (_MIRRORED_WHOLE, _MIRRORED_CONTENT)
        return np.isin(self._right % _VIEWS, mirrored).astype(np.float64)

    def aspect_ratio_difference(self) -> Floats:
        """Return the difference of the files' aspect ratios, as a share of the larger."""
        ratios = self._signatures.aspect_ratio
        return _relative_difference(ratios[self._left // _VIEWS], ratios[self._right // _VIEWS])

    def content_aspect_ratio_difference(self) -> Floats:
        """Return the difference of the aligned views' aspect ratios, as a share of the larger."""
        ratios = _by_view(self._signatures.aspect_ratio, self._signatures.content_aspect_ratio)
        return _relative_difference(ratios[self._left], ratios[self._right])

    @cached_property
    def _differences(self) -> NDArray[np.float32]:
        """By how much pixels differ, with equal medians: (pairs, pixels)."""
        # All values are multiples of an eighth and below 512: float32 is exact, and half the size.
        grey = self._views.reshape(len(self._views), VIEW_PX**2).astype(np.float32)
        centred = grey - np.median(grey, axis=1, keepdims=True)
        return np.abs(centred[self._i] - centred[self._j])

    def _windows_at(self, side_px: int) -> "_Windows":
        if side_px not in self._windows:
            self._windows[side_px] = _Windows.of(self._views, side_px)
        return self._windows[side_px]


def align(
    signatures: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    min_structure: float,
) -> AlignedViews:
    """Find the best alignment of pairs, given by the positions of their files.

    Pairs whose coarsest structure agrees less than `min_structure` in every alignment are dropped.
    """
    windows = _Windows.of(_all_views(signatures), 8)
    exists = _by_view(np.ones_like(signatures.has_bars), signatures.has_bars)
    ratios = _by_view(signatures.aspect_ratio, signatures.content_aspect_ratio)
    structure = np.full((len(_ALIGNMENTS), len(first)), -np.inf)
    contents_comparable = np.zeros(len(first), np.bool_)
    for alignment, (first_view, second_view) in enumerate(_ALIGNMENTS):
        left, right = _VIEWS * first + first_view, _VIEWS * second + second_view
        comparable = exists[left] & exists[right]
        if aspect_ratio_tolerance is not None:
            comparable &= aspect_ratios_agree(ratios[left], ratios[right], aspect_ratio_tolerance)
        if (first_view, second_view) in _BOTH_CONTENTS:
            contents_comparable = comparable
        if (first_view, second_view) in _BOTH_WHOLES:
            # Bars agree with bars, whatever is between them.
            comparable &= ~contents_comparable
        structure[alignment, comparable] = _structure(windows, left[comparable], right[comparable])
        if second_view in (_MIRRORED_WHOLE, _MIRRORED_CONTENT):
            structure[alignment, structure[alignment] < _MIN_MIRRORED_STRUCTURE] = -np.inf
            structure[alignment] -= _MIRROR_MARGIN
    (rows,) = np.nonzero(structure.max(axis=0) >= min_structure)
    best_views = np.array(_ALIGNMENTS)[structure[:, rows].argmax(axis=0)]
    return AlignedViews(
        signatures,
        rows,
        _VIEWS * first[rows] + best_views[:, 0],
        _VIEWS * second[rows] + best_views[:, 1],
    )


@dataclass(frozen=True, slots=True)
class _Windows:
    """Views at some size, with mean and variance of the window around every pixel."""

    pixels: Floats
    means: Floats
    variances: Floats

    @classmethod
    def of(cls, views: NDArray[np.uint8], side_px: int) -> "_Windows":
        """Average views by area to a smaller size."""
        step = VIEW_PX // side_px
        blocks = views.reshape(len(views), side_px, step, side_px, step)
        pixels = blocks.mean(axis=(2, 4), dtype=np.float64)
        means = _window_means(pixels)
        variances = np.maximum(_window_means(np.square(pixels)) - np.square(means), 0.0)
        return cls(pixels, means, variances)


def _structure(windows: _Windows, i: Positions, j: Positions) -> Floats:
    """Return how well the structure of pairs of views agrees; two empty views agree."""
    covariances = (
        _window_means(windows.pixels[i] * windows.pixels[j]) - windows.means[i] * windows.means[j]
    )
    variances = windows.variances[i] + windows.variances[j]
    weights = _information(variances)
    agreements = (weights * (2 * covariances + _NOISE) / (variances + _NOISE)).sum(axis=(1, 2))
    totals = weights.sum(axis=(1, 2))
    return np.divide(agreements, totals, out=np.ones_like(totals), where=totals > _EMPTY)


def _information(variances: Floats) -> Floats:
    return np.log1p(variances / _NOISE)


def _relative_difference(a: Floats, b: Floats) -> Floats:
    return np.abs(a - b) / np.maximum(a, b)


def _by_view(wholes: NDArray[Any], contents: NDArray[Any]) -> NDArray[Any]:
    """Return the values of all views by their number; mirroring changes none."""
    return np.stack((wholes, contents, wholes, contents), axis=1).ravel()


def _all_views(signatures: SignatureBatch) -> NDArray[np.uint8]:
    """Return all views by their number: (files * _VIEWS, VIEW_PX, VIEW_PX)."""
    mirrored = signatures.views[..., ::-1]
    return np.concatenate((signatures.views, mirrored), axis=1).reshape(-1, VIEW_PX, VIEW_PX)


def _window_means(maps: Floats) -> Floats:
    """Average every pixel's window; at the borders, the part inside the picture."""
    window = _gaussian(maps.shape[-1])
    return window @ maps @ window.T


@lru_cache
def _gaussian(side_px: int) -> Floats:
    """Return a Gaussian around every pixel of a line: (side, side), each row sums to 1."""
    offsets = np.arange(side_px)[:, None] - np.arange(side_px)
    weights = np.exp(-np.square(offsets) / (2 * _SIGMA_PX**2))
    return weights / weights.sum(axis=1, keepdims=True)
