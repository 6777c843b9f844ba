"""Align the pictures of two files, and measure how much they agree.

Signatures hold 32x32 grey views of the whole picture and of its content without bars. For each
pair, every alignment of views with a compatible aspect ratio is tried, and the one whose coarsest
structure agrees best counts: so a letterboxed copy is compared, without its bars, with the whole
original.

Structure is compared as in SSIM: the correlation of two pictures in every small window. Each window
is weighted by its information, because two flat areas always agree.

Source: Z. Wang, Q. Li, "Information content weighting for perceptual image quality assessment",
2011: the structure term, with windows weighted by log(1 + variance / noise).
"""

import math
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Final

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

# Alignments: a view of the first file, and a view of the second; 0 is the whole, 1 the content.
_ALIGNMENTS: Final = ((1, 1), (1, 0), (0, 1), (0, 0))


@dataclass(frozen=True, slots=True)
class Alignment:
    """Pairs with their best alignment: parallel arrays, (pairs,).

    `rows`: which of the given pairs these are. `first`, `second`: their files by position. `left`,
    `right`: the aligned views by number; file n has the views 2n (whole) and 2n + 1 (content).
    `structure_8px`: how well the structure at 8x8 pixels agrees, -1 to 1. `coarse_information`: the
    information of the emptier view at 8x8 pixels, in nats per pixel.
    """

    signatures: SignatureBatch
    rows: Positions
    first: Positions
    second: Positions
    left: Positions
    right: Positions
    structure_8px: Floats
    coarse_information: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, mask: NDArray[np.bool_]) -> "Alignment":
        """Return some of the pairs."""
        columns = fields(self)[1:]
        return Alignment(self.signatures, *(getattr(self, field.name)[mask] for field in columns))


def align(
    signatures: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    min_structure: float,
) -> Alignment:
    """Find the best alignment of pairs, given by the positions of their files.

    Pairs whose coarsest structure agrees less than `min_structure` in every alignment are dropped.
    """
    windows = _Windows.of(signatures.views.reshape(-1, VIEW_PX, VIEW_PX), 8)
    left, right, structure = _best_alignments(
        signatures, windows, first, second, aspect_ratio_tolerance
    )
    (rows,) = np.nonzero(structure >= min_structure)
    left, right = left[rows], right[rows]
    information = windows.information()
    return Alignment(
        signatures=signatures,
        rows=rows,
        first=first[rows],
        second=second[rows],
        left=left,
        right=right,
        structure_8px=structure[rows],
        coarse_information=np.minimum(information[left], information[right]),
    )


class AlignedViews:
    """The views of aligned pairs; every method returns one value per pair, float64 (pairs,)."""

    def __init__(self, alignment: Alignment) -> None:
        self.alignment = alignment
        used, self._i, self._j = files_of_pairs(alignment.left, alignment.right)
        self._views = alignment.signatures.views.reshape(-1, VIEW_PX, VIEW_PX)[used]
        self._windows: dict[int, _Windows] = {}

    def structure(self, side_px: int) -> Floats:
        """Return how well the structure at this size agrees, -1 to 1."""
        return _structure(self._windows_at(side_px), self._i, self._j)

    def contours(self) -> Floats:
        """Return how well edges agree, -1 to 1; strong and faint edges count nearly alike."""
        pixels = self._views.astype(np.float64)
        down = np.diff(pixels, axis=1)[:, :, :-1]
        across = np.diff(pixels, axis=2)[:, :-1, :]
        soft = np.concatenate((down, across), axis=1).reshape(
            len(pixels), 2 * math.prod(down.shape[1:])
        )
        # In place: allocating memory costs as much as the arithmetic.
        strengths = np.abs(soft)
        strengths += _SOFT_EDGE
        soft /= strengths
        soft -= soft.mean(axis=1, keepdims=True)
        soft /= np.sqrt(np.square(soft).sum(axis=1, keepdims=True) + _EDGE_NOISE * soft.shape[1])
        result: Floats = np.einsum("ij,ij->i", soft[self._i], soft[self._j])
        return result

    def difference(self) -> Floats:
        """Return the largest difference of 75 % of the pixels, in grey levels.

        The medians of both views are made equal first.
        """
        return np.quantile(self._differences, _DIFFERENCE_QUANTILE, axis=1).astype(np.float64)

    def detail_difference(self) -> Floats:
        """Return the largest difference of 85 % of the information, in grey levels.

        On a title card most pixels are black and agree; only the letters count here.
        """
        differences, windows = self._differences, self._windows_at(32)
        variances = windows.variances.reshape(
            len(self._views), math.prod(windows.variances.shape[1:])
        )
        weights = _information(variances[self._i] + variances[self._j])
        order = np.argsort(differences, axis=1, kind="stable")
        reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        place = (reached < _DETAIL_QUANTILE * reached[:, -1:]).sum(axis=1, keepdims=True)
        at = np.take_along_axis(order, place, axis=1)
        return np.take_along_axis(differences, at, axis=1)[:, 0].astype(np.float64)

    def information(self) -> Floats:
        """Return the information of the emptier view, in nats per pixel."""
        information = self._windows_at(32).information()
        return np.minimum(information[self._i], information[self._j])

    def duration_difference_ms(self) -> Floats:
        """Return the difference of the durations; NaN where neither file has one."""
        durations_ms = self.alignment.signatures.duration_ms
        result: Floats = np.abs(
            durations_ms[self.alignment.first] - durations_ms[self.alignment.second]
        )
        return result

    def hamming_distance(self) -> Floats:
        """Return in how many bits the average hashes of the aligned views differ."""
        files = self.alignment.signatures
        hashes = np.stack((files.average_hash, files.content_hash), axis=1).ravel()
        differing = hashes[self.alignment.left] ^ hashes[self.alignment.right]
        result: Floats = np.bitwise_count(differing).astype(np.float64)
        return result

    def aspect_ratio_difference(self) -> Floats:
        """Return the difference of the files' aspect ratios, as a share of the larger."""
        ratios = self.alignment.signatures.aspect_ratio
        return _relative(ratios[self.alignment.first], ratios[self.alignment.second])

    def content_aspect_ratio_difference(self) -> Floats:
        """Return the difference of the aligned views' aspect ratios, as a share of the larger."""
        files = self.alignment.signatures
        ratios = np.stack((files.aspect_ratio, files.content_aspect_ratio), axis=1).ravel()
        return _relative(ratios[self.alignment.left], ratios[self.alignment.right])

    @cached_property
    def _differences(self) -> NDArray[np.float32]:
        """By how much pixels differ, with equal medians: (pairs, pixels)."""
        # All values are multiples of an eighth and below 512: float32 is exact, and half the size.
        flat = self._views.reshape(len(self._views), math.prod(self._views.shape[1:]))
        grey = flat.astype(np.float32)
        centred = grey - np.median(grey, axis=1, keepdims=True)
        result: NDArray[np.float32] = np.abs(centred[self._i] - centred[self._j])
        return result

    def _windows_at(self, side_px: int) -> "_Windows":
        if side_px not in self._windows:
            self._windows[side_px] = _Windows.of(self._views, side_px)
        return self._windows[side_px]


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
        means = _windowed(pixels)
        variances = np.maximum(_windowed(np.square(pixels)) - np.square(means), 0.0)
        return cls(pixels, means, variances)

    def information(self) -> Floats:
        """Return the information of each view, in nats per pixel."""
        result: Floats = _information(self.variances).mean(axis=(1, 2))
        return result


def _best_alignments(
    files: SignatureBatch,
    windows: _Windows,
    first: Positions,
    second: Positions,
    aspect_ratio_tolerance: float | None,
) -> tuple[Positions, Positions, Floats]:
    """Return each pair's two views that agree best, and how well; -inf where none is possible."""
    best = np.full(len(first), -np.inf)
    left, right = 2 * first, 2 * second
    ratios = (files.aspect_ratio, files.content_aspect_ratio)
    contents_agree = np.zeros(len(first), np.bool_)
    for a, b in _ALIGNMENTS:
        # Bars agree with bars, whatever is between them.
        possible = ~contents_agree if not a and not b else np.ones(len(first), np.bool_)
        if a:
            possible &= files.has_bars[first]
        if b:
            possible &= files.has_bars[second]
        if aspect_ratio_tolerance is not None:
            possible &= aspect_ratios_agree(
                ratios[a][first], ratios[b][second], aspect_ratio_tolerance
            )
        if a and b:
            contents_agree = possible
        (rows,) = np.nonzero(possible)
        structure = _structure(windows, 2 * first[rows] + a, 2 * second[rows] + b)
        better = structure > best[rows]
        rows = rows[better]
        best[rows] = structure[better]
        left[rows], right[rows] = 2 * first[rows] + a, 2 * second[rows] + b
    return left, right, best


def _structure(windows: _Windows, i: Positions, j: Positions) -> Floats:
    """Return how well the structure of pairs of views agrees; two empty views agree."""
    products = _windowed(windows.pixels[i] * windows.pixels[j])
    covariances = products - windows.means[i] * windows.means[j]
    variances = windows.variances[i] + windows.variances[j]
    weights = _information(variances)
    agreements = (weights * (2 * covariances + _NOISE) / (variances + _NOISE)).sum(axis=(1, 2))
    totals = weights.sum(axis=(1, 2))
    result: Floats = np.divide(agreements, totals, out=np.ones_like(totals), where=totals > _EMPTY)
    return result


def _information(variances: Floats) -> Floats:
    result: Floats = np.log1p(variances / _NOISE)
    return result


def _relative(a: Floats, b: Floats) -> Floats:
    result: Floats = np.abs(a - b) / np.maximum(a, b)
    return result


def _windowed(maps: Floats) -> Floats:
    """Average every pixel's window; at the borders, the part inside the picture."""
    window = _window(maps.shape[-1])
    result: Floats = window @ maps @ window.T
    return result


@lru_cache
def _window(side_px: int) -> Floats:
    """Return a Gaussian around every pixel of a line: (side, side), each row sums to 1."""
    offsets = np.arange(side_px)[:, None] - np.arange(side_px)
    weights = np.exp(-np.square(offsets) / (2 * _SIGMA_PX**2))
    window: Floats = weights / weights.sum(axis=1, keepdims=True)
    return window
