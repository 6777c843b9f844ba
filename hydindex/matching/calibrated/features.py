"""What speaks for a pair of files showing the same, and what against: figures, not a verdict.

Pictures are compared as their signatures show them (`hydindex.matching.calibrated.signature`): 32x32 grey
pixels of the whole, and of what is left without bars. Of the ways to lay two files' views upon each
other, those whose aspect ratios agree are tried, and the one counts in which the coarsest structure
agrees best: so a letterboxed copy is compared without its bars, with a whole original.

Structure is compared as SSIM does it, by the correlation of two pictures in every small window, at
three sizes. Each window counts by the information that it holds, because two flat walls agree, and
say nothing.

Source: Z. Wang, Q. Li, "Information content weighting for perceptual image quality assessment",
2011, of which this is the structure term, with windows weighted by log(1 + variance / noise).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.candidates import aspect_ratios_agree
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.records.pictures import VIEW_PX, SignatureBatch

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]

_SIGMA_PX: Final = 1.5
# What compression and reducing do to 32x32 pixels: some two grey levels, squared.
_NOISE: Final = 2.0
# Edges that differ by less than this are hardly edges.
_SOFT_EDGE: Final = 4.0
# Two views whose windows hold less than this, in nats, are empty.
_EMPTY: Final = 1e-9
# Keeps the noise of a flat picture from being taken for edges that agree.
_EDGE_NOISE: Final = 1e-3
# A few pixels may differ as they like: a logo, a subtitle.
_DIFFERENCE_QUANTILE: Final = 0.75
_DETAIL_QUANTILE: Final = 0.85

# Which view of the first file is laid upon which of the second; 0 is the whole, 1 the content.
_WAYS: Final = ((1, 1), (1, 0), (0, 1), (0, 0))


@dataclass(frozen=True, slots=True)
class Features:
    """The evidence for some pairs: parallel arrays, float64 (pairs,).

    - structure_8px, _16px, _32px: how well the structure agrees at this size, -1 to 1.
    - contours: how well edges agree, strong ones and faint ones nearly alike, -1 to 1.
    - difference: of three quarters of the pixels, by how many grey levels they differ at the most,
      once the medians of both pictures are brought together.
    - detail_difference: the same of 85 % of the information. On a title card most pixels are
      black, and that they agree says nothing.
    - information, coarse_information: how much the emptier of both pictures shows, in nats per
      pixel, at 32x32 and at 8x8 pixels. A picture without any can say nothing for a pair.
    - duration_difference_ms: NaN where neither file has a duration.
    - hamming_distance: of the average hashes of what was compared, in bits.
    - aspect_ratio_difference, content_aspect_ratio_difference: of the files, and of what was
      compared, as shares of the larger one; NaN where unknown.
    """

    structure_8px: Floats
    structure_16px: Floats
    structure_32px: Floats
    contours: Floats
    difference: Floats
    detail_difference: Floats
    information: Floats
    coarse_information: Floats
    duration_difference_ms: Floats
    hamming_distance: Floats
    aspect_ratio_difference: Floats
    content_aspect_ratio_difference: Floats

    def __len__(self) -> int:
        return len(self.contours)

    @classmethod
    def of_pairs(cls, pairs: Sequence[Mapping[str, float]]) -> Self:
        """Take up again what `of_pair` gave of each pair."""
        return cls(
            **{
                field.name: np.array([each.get(field.name, np.nan) for each in pairs], np.float64)
                for field in fields(cls)
            }
        )

    def of_pair(self, row: int) -> dict[str, float]:
        """Give the evidence for one pair by name, rounded; what is unknown is left out."""
        values = {field.name: float(getattr(self, field.name)[row]) for field in fields(self)}
        return {name: round(value, 4) for name, value in values.items() if not np.isnan(value)}


@dataclass(frozen=True, slots=True)
class CheapFeatures:
    """The evidence that costs little and says most: parallel arrays, (pairs,), as in `Features`.

    `rows` tells which of the given pairs these are; `first` and `second` are their files by
    position, and `left` and `right` the views that are laid upon each other, by number.
    """

    files: SignatureBatch
    rows: Positions
    first: Positions
    second: Positions
    left: Positions
    right: Positions
    structure_8px: Floats
    coarse_information: Floats
    contours: Floats
    difference: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "CheapFeatures":
        of_pairs = fields(self)[1:]
        return CheapFeatures(self.files, *(getattr(self, field.name)[chosen] for field in of_pairs))


def compute_features(
    files: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    gate: float,
) -> tuple[Positions, Features]:
    """Gather the evidence for pairs, given by the positions of their files.

    Gives which of the pairs are worth a verdict, and their evidence (see `cheap_features`).
    """
    seen = cheap_features(
        files, first, second, aspect_ratio_tolerance=aspect_ratio_tolerance, gate=gate
    )
    return seen.rows, remaining_features(seen)


def cheap_features(
    files: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    gate: float,
) -> CheapFeatures:
    """Look at pairs, given by the positions of their files.

    Left out are those whose coarsest structure agrees by less than `gate`, however their views are
    laid upon each other.
    """
    views = files.views.reshape(-1, VIEW_PX, VIEW_PX)
    at_8px = _Windows.of(views, 8)
    left, right, agreement = _best_ways(files, at_8px, first, second, aspect_ratio_tolerance)
    (rows,) = np.nonzero(agreement >= gate)
    left, right = left[rows], right[rows]
    used, i, j = files_of_pairs(left, right)
    coarse_information = at_8px.information()
    return CheapFeatures(
        files=files,
        rows=rows,
        first=first[rows],
        second=second[rows],
        left=left,
        right=right,
        structure_8px=agreement[rows],
        coarse_information=np.minimum(coarse_information[left], coarse_information[right]),
        contours=_contours(views[used], i, j),
        difference=_difference(views[used], i, j),
    )


def remaining_features(seen: CheapFeatures) -> Features:
    """Gather all the evidence for pairs that have been glanced at."""
    files, first, second, left, right = seen.files, seen.first, seen.second, seen.left, seen.right
    used, i, j = files_of_pairs(left, right)
    views = files.views.reshape(-1, VIEW_PX, VIEW_PX)[used]
    at_16px, at_32px = _Windows.of(views, 16), _Windows.of(views, 32)
    information = at_32px.information()
    hashes = np.stack((files.average_hash, files.content_hash), axis=1).ravel()
    ratios = np.stack((files.aspect_ratio, files.content_aspect_ratio), axis=1).ravel()
    return Features(
        structure_8px=seen.structure_8px,
        structure_16px=_structure(at_16px, i, j),
        structure_32px=_structure(at_32px, i, j),
        contours=seen.contours,
        difference=seen.difference,
        detail_difference=_detail_difference(views, at_32px, i, j),
        information=np.minimum(information[i], information[j]),
        coarse_information=seen.coarse_information,
        duration_difference_ms=np.abs(files.duration_ms[first] - files.duration_ms[second]),
        hamming_distance=np.bitwise_count(hashes[left] ^ hashes[right]).astype(np.float64),
        aspect_ratio_difference=_relative(files.aspect_ratio[first], files.aspect_ratio[second]),
        content_aspect_ratio_difference=_relative(ratios[left], ratios[right]),
    )


@dataclass(frozen=True, slots=True)
class _Windows:
    """Views at some size, and what is in the window around every pixel: (views, side, side)."""

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
        """Tell how much each view shows, in nats per pixel."""
        result: Floats = _information(self.variances).mean(axis=(1, 2))
        return result


def _best_ways(
    files: SignatureBatch,
    at_8px: _Windows,
    first: Positions,
    second: Positions,
    aspect_ratio_tolerance: float | None,
) -> tuple[Positions, Positions, Floats]:
    """Find for each pair the two views that agree best, by number, and how well they do.

    File n has the views 2n, the whole, and 2n + 1, its content. No way at all is -infinity.
    """
    best = np.full(len(first), -np.inf)
    left, right = 2 * first, 2 * second
    ratios = (files.aspect_ratio, files.content_aspect_ratio)
    contents_agree = np.zeros(len(first), np.bool_)
    for a, b in _WAYS:
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
        agreement = _structure(at_8px, 2 * first[rows] + a, 2 * second[rows] + b)
        better = agreement > best[rows]
        rows = rows[better]
        best[rows] = agreement[better]
        left[rows], right[rows] = 2 * first[rows] + a, 2 * second[rows] + b
    return left, right, best


def _structure(windows: _Windows, i: Positions, j: Positions) -> Floats:
    """Tell how well the structure of pairs of views agrees; that of two empty ones does."""
    products = _windowed(windows.pixels[i] * windows.pixels[j])
    covariances = products - windows.means[i] * windows.means[j]
    variances = windows.variances[i] + windows.variances[j]
    weights = _information(variances)
    agreements = (weights * (2 * covariances + _NOISE) / (variances + _NOISE)).sum(axis=(1, 2))
    totals = weights.sum(axis=(1, 2))
    result: Floats = np.divide(agreements, totals, out=np.ones_like(totals), where=totals > _EMPTY)
    return result


def _contours(views: NDArray[np.uint8], i: Positions, j: Positions) -> Floats:
    pixels = views.astype(np.float64)
    down = np.diff(pixels, axis=1)[:, :, :-1]
    across = np.diff(pixels, axis=2)[:, :-1, :]
    soft = np.concatenate((down, across), axis=1).reshape(
        len(pixels), 2 * math.prod(down.shape[1:])
    )
    # In place: fresh memory costs as much as the arithmetic on it.
    strengths = np.abs(soft)
    strengths += _SOFT_EDGE
    soft /= strengths
    soft -= soft.mean(axis=1, keepdims=True)
    soft /= np.sqrt(np.square(soft).sum(axis=1, keepdims=True) + _EDGE_NOISE * soft.shape[1])
    result: Floats = np.einsum("ij,ij->i", soft[i], soft[j])
    return result


def _difference(views: NDArray[np.uint8], i: Positions, j: Positions) -> Floats:
    return np.quantile(_apart(views, i, j), _DIFFERENCE_QUANTILE, axis=1).astype(np.float64)


def _apart(views: NDArray[np.uint8], i: Positions, j: Positions) -> NDArray[np.float32]:
    """Tell by how much pixels differ, once medians are brought together: (pairs, pixels)."""
    # All of these are multiples of an eighth and below 512: float32 is exact, and half the size.
    flat = views.reshape(len(views), math.prod(views.shape[1:])).astype(np.float32)
    centred = flat - np.median(flat, axis=1, keepdims=True)
    apart: NDArray[np.float32] = np.abs(centred[i] - centred[j])
    return apart


def _detail_difference(
    views: NDArray[np.uint8], windows: _Windows, i: Positions, j: Positions
) -> Floats:
    """Find below which difference the given share of the information lies."""
    apart = _apart(views, i, j)
    variances = windows.variances.reshape(len(views), math.prod(windows.variances.shape[1:]))
    weights = _information(variances[i] + variances[j])
    order = np.argsort(apart, axis=1, kind="stable")
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    place = (reached < _DETAIL_QUANTILE * reached[:, -1:]).sum(axis=1, keepdims=True)
    at = np.take_along_axis(order, place, axis=1)
    return np.take_along_axis(apart, at, axis=1)[:, 0].astype(np.float64)


def _information(variances: Floats) -> Floats:
    result: Floats = np.log1p(variances / _NOISE)
    return result


def _relative(a: Floats, b: Floats) -> Floats:
    result: Floats = np.abs(a - b) / np.maximum(a, b)
    return result


def _windowed(maps: Floats) -> Floats:
    """Average every pixel's window; at the borders, what there is of it."""
    window = _window(maps.shape[-1])
    result: Floats = window @ maps @ window.T
    return result


@lru_cache
def _window(side_px: int) -> Floats:
    """A Gaussian around every pixel of a line, (side, side), each row with a sum of 1."""
    offsets = np.arange(side_px)[:, None] - np.arange(side_px)
    weights = np.exp(-np.square(offsets) / (2 * _SIGMA_PX**2))
    window: Floats = weights / weights.sum(axis=1, keepdims=True)
    return window
