"""Sampled frames: how many, how they are packed, and how they become signatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.packed_arrays import pack_array, unpack_array
from hydindex.records.pictures import VIEW_PX, PackedFrames, SignatureBatch
from hydindex.store.frame_store import FramesOfVideo

MOMENTS: Final = 5
"""A video is sampled at this many moments …"""
FRAMES_PER_MOMENT: Final = 3
"""… with this many frames around each."""

_FACTOR_DTYPE: Final = np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class SampledFrames:
    """The frames of a video, each as the views of a signature.

    `views`: uint8 (MOMENTS, FRAMES_PER_MOMENT, 2, VIEW_PX, VIEW_PX); without bars both views are
    equal. `content_aspect_factors`: float64 (MOMENTS, FRAMES_PER_MOMENT), see `Signature`.
    """

    views: NDArray[np.uint8]
    content_aspect_factors: NDArray[np.float64]


def pack_frames(frames: SampledFrames) -> PackedFrames:
    """Compress the views; keep the factors as raw little-endian float64."""
    factors = frames.content_aspect_factors.astype(_FACTOR_DTYPE).tobytes()
    return PackedFrames(pack_array(frames.views), factors)


def unpack_frames(packed: PackedFrames) -> SampledFrames:
    """Undo `pack_frames`.

    Raises:
        ValueError: the bytes are damaged.
    """
    shape = (MOMENTS, FRAMES_PER_MOMENT)
    factors = np.frombuffer(packed.content_aspect_factors, _FACTOR_DTYPE).reshape(shape)
    return SampledFrames(unpack_array(packed.views, (*shape, 2, VIEW_PX, VIEW_PX)), factors)


def frame_signatures(videos: Sequence[FramesOfVideo]) -> SignatureBatch:
    """Return every frame of some videos as a signature of its own, one video after the other.

    Raises:
        ValueError: the frames of a video are damaged.
    """
    shape = (len(videos), MOMENTS, FRAMES_PER_MOMENT)
    views_by_video = np.empty((*shape, 2, VIEW_PX, VIEW_PX), np.uint8)
    factors = np.empty(shape)
    for position, video in enumerate(videos):
        frames = unpack_frames(video.packed)
        views_by_video[position], factors[position] = frames.views, frames.content_aspect_factors
    views = views_by_video.reshape(-1, 2, VIEW_PX, VIEW_PX)

    def per_frame(values: Sequence[float | None]) -> NDArray[np.float64]:
        return np.repeat(np.array(values, np.float64), MOMENTS * FRAMES_PER_MOMENT)

    aspect_ratio = per_frame([video.aspect_ratio for video in videos])
    return SignatureBatch(
        duration_ms=per_frame([video.duration_ms for video in videos]),
        aspect_ratio=aspect_ratio,
        content_aspect_ratio=aspect_ratio * factors.ravel(),
        has_bars=(views[:, 0] != views[:, 1]).any(axis=(1, 2)),
        views=views,
    )
