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

    A bar is a band of lines (rows or columns) along an edge, uniformly as bright as the edge line.
    """
    top, bottom = _between_bars(grey)
    left, right = _between_bars(grey[top:bottom].T)
    return left, top, right, bottom


def _between_bars(grey: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the first line inside the bars, and the end of these lines."""
    lines = grey.astype(np.float32)
    count = len(lines)
    before, after = _bar_lines(lines), _bar_lines(lines[::-1])
    largest = int(_LARGEST_SHARE * count)
    if max(before, after) >= largest or count - before - after < _SMALLEST_CONTENT * count:
        return 0, count
    start = before + _MIXED_LINES if before else 0
    end = count - (after + _MIXED_LINES if after else 0)
    return start, end


def _bar_lines(lines: NDArray[np.float32]) -> int:
    """Count the lines of the bar at the start."""
    is_content = np.abs(lines - lines[0].mean()).mean(axis=1) > _TOLERANCE
    return int(is_content.argmax()) if is_content.any() else len(lines)
