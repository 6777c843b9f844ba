"""Pictures, and what a method computes from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""A prepared thumbnail: (height, width) grey or (height, width, 3) RGB, uint8."""

CoarsePicture = NDArray[np.uint16]
"""A picture at an eighth of its size, as sums of 8x8 pixels: (channels, height, width), uint16."""

VIEW_PX: Final = 32
"""Width and height of a view."""


@dataclass(frozen=True, slots=True)
class PreparedThumbnail:
    """What a method computes from a thumbnail, as the store keeps it.

    `blobs` are packed pictures and vectors by the name of their table. `average_hash`: 64 bits as
    an unsigned integer. `content_aspect_factor` describes the picture without its bars. Both are
    None where the method doesn't use them.
    """

    blobs: Mapping[str, bytes]
    average_hash: int | None = None
    content_aspect_factor: float | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A thumbnail as the method `calibrated` sees it.

    `views`: uint8 (1 or 2, VIEW_PX, VIEW_PX), the whole picture in grey and, if it has bars, its
    content without them. `content_aspect_factor`: the aspect ratio of the content divided by that
    of the whole.
    """

    content_aspect_factor: float
    views: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PackedFrames:
    """The sampled frames of a video as the store keeps them (see `hydindex.frames.packing`)."""

    views: bytes
    content_aspect_factors: bytes


@dataclass(frozen=True, slots=True)
class SignatureBatch:
    """Signatures of many files: parallel arrays.

    `duration_ms`, aspect ratios: float64, NaN where unknown. `has_bars`: bool. `views`: uint8
    (files, 2, VIEW_PX, VIEW_PX); without bars both views are equal.
    """

    duration_ms: NDArray[np.float64]
    aspect_ratio: NDArray[np.float64]
    content_aspect_ratio: NDArray[np.float64]
    has_bars: NDArray[np.bool_]
    views: NDArray[np.uint8]
