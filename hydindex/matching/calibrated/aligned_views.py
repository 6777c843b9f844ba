"""Aligned pairs of views, and how much they agree: the measures behind the features."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.view_numbers import (
    aspect_ratios,
    cut_views,
    is_cropped,
    is_mirrored,
    positions_of_files,
)
from hydindex.matching.calibrated.windows import (
    NOISE,
    Floats,
    Positions,
    Windows,
    averaged,
    structure,
)
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.records.pictures import VIEW_PX, SignatureBatch

# Contours and differences are those of 16x16 pixels: finer ones differ between copies too.
_COARSE_PX: Final = 16
_EDGES: Final = _COARSE_PX * (_COARSE_PX - 1)
# Differences below this many grey levels hardly make an edge.
_SOFT_EDGE: Final = 4.0
# Keeps the noise of flat pictures from counting as edges that agree.
_EDGE_NOISE: Final = 1e-3
# A share of the pixels may differ arbitrarily: a logo, a subtitle.
_DIFFERENCE_QUANTILE: Final = 0.75
_DETAIL_QUANTILE: Final = 0.85


class AlignedViews:
    """Aligned pairs of views; every method that measures returns one value per pair.

    `rows`: which of the given pairs these are. `left`, `right`: the views by number.
    """

    def __init__(
        self, signatures: SignatureBatch, rows: Positions, left: Positions, right: Positions
    ) -> None:
        self.rows = rows
        self._signatures, self._left, self._right = signatures, left, right
        numbers, self._i, self._j = files_of_pairs(left, right)
        self._views = cut_views(signatures, numbers)
        self._windows: dict[int, Windows] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, mask: NDArray[np.bool_]) -> "AlignedViews":
        """Return some of the pairs."""
        return AlignedViews(self._signatures, self.rows[mask], self._left[mask], self._right[mask])

    def structure(self, side_px: int, noise: float = NOISE) -> Floats:
        """Return how well the structure at this size agrees, -1 to 1."""
        return structure(self._windows_at(side_px), self._i, self._j, noise)

    def information(self, side_px: int) -> Floats:
        """Return the information of the emptier view at this size, in nats per pixel."""
        information = self._windows_at(side_px).information()
        return np.minimum(information[self._i], information[self._j])

    def contours(self) -> Floats:
        """Return how well edges agree, -1 to 1; strong and faint edges count nearly alike."""
        pixels = averaged(self._views, _COARSE_PX).reshape(-1, _COARSE_PX, _COARSE_PX)
        # All edges in both directions: a mirrored view has the mirrored edges.
        down, across = (np.diff(pixels, axis=axis).reshape(len(pixels), _EDGES) for axis in (1, 2))
        edges = np.concatenate((down, across), axis=1)
        edges /= np.abs(edges) + _SOFT_EDGE
        edges /= np.sqrt(np.square(edges).sum(axis=1, keepdims=True) + _EDGE_NOISE * edges.shape[1])
        return np.einsum("ij,ij->i", edges[self._i], edges[self._j])

    def difference(self) -> Floats:
        """Return the largest difference of 75 % of the pixels, in grey levels.

        The medians of both views are made equal first.
        """
        differences = self._differences(_COARSE_PX)
        return np.quantile(differences, _DIFFERENCE_QUANTILE, axis=1).astype(np.float64)

    def detail_difference(self) -> Floats:
        """Return the largest difference of 85 % of the information, in grey levels.

        On a title card most pixels are black and agree; only the letters count here.
        """
        variances = self._windows_at(VIEW_PX).variances
        weights = np.log1p((variances[self._i] + variances[self._j]) / NOISE)
        differences = self._differences(VIEW_PX)
        order = np.argsort(differences, axis=1, kind="stable")
        cumulative = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        place = (cumulative < _DETAIL_QUANTILE * cumulative[:, -1:]).sum(axis=1, keepdims=True)
        pixel = np.take_along_axis(order, place, axis=1)
        return np.take_along_axis(differences, pixel, axis=1)[:, 0].astype(np.float64)

    def duration_difference_ms(self) -> Floats:
        """Return the difference of the durations; NaN where neither file has one."""
        durations_ms = self._signatures.duration_ms
        left, right = (positions_of_files(each) for each in (self._left, self._right))
        return np.abs(durations_ms[left] - durations_ms[right])

    def is_mirrored(self) -> Floats:
        """Return 1 where the second view is mirrored, else 0."""
        return is_mirrored(self._right).astype(np.float64)

    def is_cropped(self) -> Floats:
        """Return 1 where one view is a part of its picture, else 0."""
        return (is_cropped(self._left) | is_cropped(self._right)).astype(np.float64)

    def aspect_ratio_difference(self) -> Floats:
        """Return the difference of the files' aspect ratios, as a share of the larger."""
        ratios = self._signatures.aspect_ratio
        left, right = (positions_of_files(each) for each in (self._left, self._right))
        return _relative_difference(ratios[left], ratios[right])

    def content_aspect_ratio_difference(self) -> Floats:
        """Return the difference of the aligned views' aspect ratios, as a share of the larger."""
        left, right = (aspect_ratios(self._signatures, each) for each in (self._left, self._right))
        return _relative_difference(left, right)

    def _differences(self, side_px: int) -> NDArray[np.float32]:
        """By how much pixels differ, with equal medians: (pairs, pixels)."""
        # All values are multiples of an eighth and below 512: float32 is exact, and half the size.
        pixels = averaged(self._views, side_px).astype(np.float32)
        centred = pixels - np.median(pixels, axis=1, keepdims=True)
        return np.abs(centred[self._i] - centred[self._j])

    def _windows_at(self, side_px: int) -> Windows:
        if side_px not in self._windows:
            self._windows[side_px] = Windows.of(self._views, side_px)
        return self._windows[side_px]


def _relative_difference(a: Floats, b: Floats) -> Floats:
    return np.abs(a - b) / np.maximum(a, b)
