"""Statistics of the windows around every pixel, as in SSIM: structure and information.

Structure is the correlation of two pictures in every window. Each window is weighted by its
information, because two flat areas always agree.

Source: Z. Wang, Q. Li, "Information content weighting for perceptual image quality assessment",
2011: the structure term, with windows weighted by log(1 + variance / noise).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.records.pictures import VIEW_PX

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]
Views = NDArray[np.uint8]
"""Pictures of VIEW_PX pixels a side: (views, VIEW_PX, VIEW_PX)."""

NOISE: Final = 2.0
"""The variance that compression and scaling add to 32x32 pixels: about two grey levels, squared."""

_SIGMA_PX: Final = 1.5
# What the weights of a window's rows, and of its columns, sum to.
_WEIGHT_SUM: Final = 256
# Up to this size, one product with all windows at once is faster than two with rows and columns.
_SMALL_PX: Final = 8
# Pairs of views whose windows hold less information than this, in nats, are empty.
_EMPTY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Windows:
    """Views at some size, with mean and variance of the window around every pixel: (views, px)."""

    pixels: Floats
    means: Floats
    variances: Floats

    @classmethod
    def of(cls, views: Views, side_px: int) -> Self:
        """Average views by area to a smaller size."""
        pixels = averaged(views, side_px)
        means = window_means(pixels)
        variances = np.maximum(window_means(np.square(pixels)) - np.square(means), 0.0)
        return cls(pixels, means, variances)

    def with_mirrored(self) -> Self:
        """Return these views, followed by their mirror images."""
        side_px = round(self.pixels.shape[1] ** 0.5)
        mirrored = np.arange(side_px**2).reshape(side_px, side_px)[:, ::-1].ravel()
        maps = (self.pixels, self.means, self.variances)
        return type(self)(*(np.concatenate((each, each[:, mirrored])) for each in maps))

    def information(self) -> Floats:
        """Return the information of each view, in nats per pixel."""
        return np.log1p(self.variances / NOISE).mean(axis=1)


def averaged(views: Views, side_px: int) -> Floats:
    """Average views by area to a smaller size: (views, side_px ** 2). Exact."""
    sums = views.astype(np.uint16)
    while sums.shape[1] > side_px:
        sums = sums[:, ::2] + sums[:, 1::2]
        sums = sums[:, :, ::2] + sums[:, :, 1::2]
    return sums.reshape(len(views), side_px**2) / (VIEW_PX // side_px) ** 2


def structure(windows: Windows, i: Positions, j: Positions, noise: float = NOISE) -> Floats:
    """Return how well the structure of pairs of views agrees, -1 to 1; two empty views agree.

    Structure far fainter than the noise counts for little.
    """
    covariances = window_means(windows.pixels[i] * windows.pixels[j])
    covariances -= windows.means[i] * windows.means[j]
    variances = windows.variances[i] + windows.variances[j]
    weights = np.log1p(variances / noise)
    agreements = (weights * (2 * covariances + noise) / (variances + noise)).sum(axis=1)
    totals = weights.sum(axis=1)
    return np.divide(agreements, totals, out=np.ones_like(totals), where=totals > _EMPTY)


def correlation(windows: Windows, i: Positions, j: Positions) -> Floats:
    """Return how well the pixels of pairs of views correlate, -1 to 1; 0 for a flat view."""
    centred = windows.pixels - windows.pixels.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    units = np.divide(centred, lengths, out=centred, where=lengths > 0)
    return np.einsum("ij,ij->i", units[i], units[j])


def detail_information(views: Views) -> Floats:
    """Return the information of the details of views, in nats per pixel: a gradient has none."""
    pixels = averaged(views, VIEW_PX)
    details = pixels - window_means(pixels)
    return np.log1p(window_means(np.square(details)) / NOISE).mean(axis=1)


def window_means(maps: Floats) -> Floats:
    """Average every pixel's window, (maps, px); at the borders, the part inside the picture.

    The weights are whole numbers, so that the sums of whole numbers are exact, in any order: a pair
    has the same value in every block of pairs.
    """
    side_px = round(maps.shape[1] ** 0.5)
    weights = _window_weights(side_px)
    if side_px <= _SMALL_PX:
        sums = maps @ np.kron(weights, weights).T
    else:
        squares = maps.reshape(len(maps), side_px, side_px)
        sums = (weights @ squares @ weights.T).reshape(maps.shape)
    return sums / _WEIGHT_SUM**2


@lru_cache
def _window_weights(side_px: int) -> Floats:
    """Return a Gaussian around every pixel of a line: (side, side), whole numbers."""
    offsets = np.arange(side_px)[:, None] - np.arange(side_px)
    gaussian = np.exp(-np.square(offsets) / (2 * _SIGMA_PX**2))
    weights = np.rint(gaussian / gaussian.sum(axis=1, keepdims=True) * _WEIGHT_SUM)
    weights[np.diag_indices(side_px)] += _WEIGHT_SUM - weights.sum(axis=1)
    return weights
