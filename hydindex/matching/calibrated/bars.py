"""Find the bars that letterboxing, pillarboxing and borders leave around a picture."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, as Pillow takes it."""

# The mean deviation from the brightness of a bar, in grey levels, that JPEG adds to its lines.
_TOLERANCE: Final = 4.0
# A flat area that takes a larger share of the side is part of a flat picture, not a bar.
_LARGEST_SHARE: Final = 0.4
_SMALLEST_CONTENT: Final = 0.3
# Scaling a frame to a thumbnail mixes bar and content in one line between them.
_MIXED_LINES: Final = 1


def content_box(grey: NDArray[np.uint8]) -> Box:
    """Return the part of a (height, width) picture inside its bars; without bars, all of it.

    A bar consists of lines along an edge, each as bright as the outermost one along its length.
    """
    top, bottom = _between_bars(grey)
    left, right = _between_bars(grey[top:bottom].T)
    return left, top, right, bottom


def _between_bars(grey: NDArray[np.uint8]) -> tuple[int, int]:
    lines = grey.astype(np.float32)
    count = len(lines)
    before, after = _bar_lines(lines), _bar_lines(lines[::-1])
    most = int(_LARGEST_SHARE * count)
    if max(before, after) >= most or count - before - after < _SMALLEST_CONTENT * count:
        return 0, count
    return (before and before + _MIXED_LINES), count - (after and after + _MIXED_LINES)


def _bar_lines(lines: NDArray[np.float32]) -> int:
    deviates = np.abs(lines - lines[0].mean()).mean(axis=1) > _TOLERANCE
    return int(deviates.argmax()) if deviates.any() else len(lines)
