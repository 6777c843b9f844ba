"""The views of files by number: whole or without bars, mirrored, and cut around the centre.

A number says which file, which of its four views, and how much of its width and height remains.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.windows import Floats, Positions, Views
from hydindex.records.pictures import VIEW_PX, SignatureBatch

WHOLE: Final = 0
CONTENT: Final = 1
MIRRORED: Final = 2
"""Added to WHOLE or CONTENT."""
ALL: Final = 64
"""Widths and heights are given in this many parts."""

_KINDS: Final = 4
_SIZES: Final = ALL + 1


def view_numbers(
    files: Positions, kind: int, width: Positions | int = ALL, height: Positions | int = ALL
) -> Positions:
    """Return the numbers of views of files, of which some width and height remains."""
    return np.asarray(((_KINDS * files + kind) * _SIZES + width) * _SIZES + height, np.intp)


def positions_of_files(numbers: Positions) -> Positions:
    """Return which file each view shows."""
    return numbers // (_KINDS * _SIZES**2)


def is_mirrored(numbers: Positions) -> NDArray[np.bool_]:
    """Return which views are mirrored."""
    return _kinds(numbers) >= MIRRORED


def unmirrored(numbers: Positions) -> Positions:
    """Return the numbers of the same views, none of them mirrored."""
    return numbers - MIRRORED * _SIZES**2 * is_mirrored(numbers)


def is_cropped(numbers: Positions) -> NDArray[np.bool_]:
    """Return which views are only a part."""
    width, height = _sizes(numbers)
    return (width < ALL) | (height < ALL)


def aspect_ratios(signatures: SignatureBatch, numbers: Positions) -> Floats:
    """Return the aspect ratio of each view."""
    files, (width, height) = positions_of_files(numbers), _sizes(numbers)
    ratios = np.where(
        _kinds(numbers) % MIRRORED == CONTENT,
        signatures.content_aspect_ratio[files],
        signatures.aspect_ratio[files],
    )
    return ratios * width / height


def cut_views(signatures: SignatureBatch, numbers: Positions) -> Views:
    """Return views by their numbers."""
    kinds, (width, height) = _kinds(numbers), _sizes(numbers)
    views = signatures.views[positions_of_files(numbers), kinds % MIRRORED]
    mirrored = kinds >= MIRRORED
    views[mirrored] = views[mirrored, :, ::-1]
    for across, down in np.unique(np.stack((width, height))[:, is_cropped(numbers)], axis=1).T:
        of_size = (width == across) & (height == down)
        sums = _pixel_weights(down) @ views[of_size].astype(np.float64) @ _pixel_weights(across).T
        views[of_size] = np.rint(sums / (across * down))
    return views


def _kinds(numbers: Positions) -> Positions:
    return numbers // _SIZES**2 % _KINDS


def _sizes(numbers: Positions) -> tuple[Positions, Positions]:
    return numbers // _SIZES % _SIZES, numbers % _SIZES


@lru_cache
def _pixel_weights(size: int) -> Floats:
    """Return how much of each old pixel is in each new one along a line: (VIEW_PX, VIEW_PX).

    The weights are whole numbers that sum to `size`, so that sums of pixels are exact.
    """
    margin = (1 - size / ALL) / 2
    edges = np.linspace(margin, 1 - margin, VIEW_PX + 1) * VIEW_PX
    old = np.arange(VIEW_PX)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.rint(overlap.clip(0) * ALL)
