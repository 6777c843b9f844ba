"""Pictures, and what a method computes from them."""

from collections.abc import Sequence
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


MOMENTS: Final = 5


FRAMES_A_MOMENT: Final = 3
"""A second look samples a video at so many moments, and around each of them so many frames."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A thumbnail made comparable by the threshold rule.

    `average_hash` is 64 bits as an unsigned integer, first pixel highest; `picture` is trimmed,
    resized, filtered and cut to its central part as the config says, and `coarse` made of it.
    """

    average_hash: int
    picture: Picture
    coarse: CoarsePicture


@dataclass(frozen=True, slots=True)
class Packed:
    """The same as the index keeps it: the bytes of both pictures (see `hydindex.matching.threshold.packing`)."""

    average_hash: int
    pixels: bytes
    sums: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """A thumbnail made comparable by the calibrated decision.

    `views` uint8 (1 or 2, VIEW_PX, VIEW_PX): the whole picture in grey, and what is left of it
    without its bars, where it has any. `content_shape` is the aspect ratio of that in units of the
    whole's: 1.0 without bars. Both hashes are 64 bits as unsigned integers.
    """

    average_hash: int
    content_hash: int
    content_shape: float
    views: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SampledFrames:
    """What a second look sees of a video: each frame as its signature shows a thumbnail.

    `views` uint8 (MOMENTS, FRAMES_A_MOMENT, 2, VIEW_PX, VIEW_PX), of a frame without bars twice the
    same; `content_shapes` float64 (MOMENTS, FRAMES_A_MOMENT), see `Signature`.
    """

    views: NDArray[np.uint8]
    content_shapes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SignatureBatch:
    """What the calibrated decision looks at, of many files: parallel arrays of one length.

    `duration_ms` and both aspect ratios float64, NaN where unknown; both hashes uint64; `has_bars`
    bool; `views` uint8 (files, 2, 32, 32), of a file without bars twice the same.
    """

    duration_ms: NDArray[np.float64]
    aspect_ratio: NDArray[np.float64]
    average_hash: NDArray[np.uint64]
    content_aspect_ratio: NDArray[np.float64]
    content_hash: NDArray[np.uint64]
    has_bars: NDArray[np.bool_]
    views: NDArray[np.uint8]

    @classmethod
    def of_frames(
        cls,
        sampled: Sequence[SampledFrames],
        durations_ms: Sequence[float | None],
        aspect_ratios: Sequence[float | None],
    ) -> "SignatureBatch":
        """Give every frame of some videos as a file of its own, one video after the other.

        Frames have no average hashes: these are 0.
        """
        frames_each = MOMENTS * FRAMES_A_MOMENT
        count = len(sampled) * frames_each
        views = np.empty((count, 2, VIEW_PX, VIEW_PX), np.uint8)
        shapes = np.empty(count)
        for position, each in enumerate(sampled):
            part = slice(position * frames_each, (position + 1) * frames_each)
            views[part] = each.views.reshape(-1, 2, VIEW_PX, VIEW_PX)
            shapes[part] = each.content_shapes.ravel()
        ratios = np.repeat(np.array(aspect_ratios, np.float64), frames_each)
        no_hashes = np.zeros(count, np.uint64)
        return cls(
            duration_ms=np.repeat(np.array(durations_ms, np.float64), frames_each),
            aspect_ratio=ratios,
            average_hash=no_hashes,
            content_aspect_ratio=ratios * shapes,
            content_hash=no_hashes,
            has_bars=(views[:, 0] != views[:, 1]).any(axis=(1, 2)),
            views=views,
        )
