"""Sampled frames: their shape, how they are packed, and how they become signatures."""

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

_SHAPE_DTYPE: Final = np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class SampledFrames:
    """The frames of a video, each as the views of a signature.

    `views`: uint8 (MOMENTS, FRAMES_PER_MOMENT, 2, VIEW_PX, VIEW_PX); without bars both views are
    equal. `content_shapes`: float64 (MOMENTS, FRAMES_PER_MOMENT), see `Signature`.
    """

    views: NDArray[np.uint8]
    content_shapes: NDArray[np.float64]


def pack_frames(frames: SampledFrames) -> PackedFrames:
    """Compress the views; keep the shapes as raw little-endian float64."""
    shapes = frames.content_shapes.astype(_SHAPE_DTYPE).tobytes()
    return PackedFrames(pack_array(frames.views), shapes)


def unpack_frames(packed: PackedFrames) -> SampledFrames:
    """Undo `pack_frames`.

    Raises:
        ValueError: the bytes are damaged.
    """
    shape = (MOMENTS, FRAMES_PER_MOMENT)
    return SampledFrames(
        views=unpack_array(packed.views, (*shape, 2, VIEW_PX, VIEW_PX)),
        content_shapes=np.frombuffer(packed.content_shapes, _SHAPE_DTYPE).reshape(shape),
    )


def frame_signatures(videos: Sequence[FramesOfVideo]) -> SignatureBatch:
    """Return every frame of some videos as a signature of its own, one video after the other.

    Frames have no average hashes: these are 0.

    Raises:
        ValueError: the frames of a video are damaged.
    """
    frames_per_video = MOMENTS * FRAMES_PER_MOMENT
    views_of = np.empty((len(videos), frames_per_video, 2, VIEW_PX, VIEW_PX), np.uint8)
    shapes = np.empty((len(videos), frames_per_video))
    for position, video in enumerate(videos):
        sampled = unpack_frames(video.packed)
        views_of[position] = sampled.views.reshape(views_of.shape[1:])
        shapes[position] = sampled.content_shapes.ravel()
    views = views_of.reshape(-1, 2, VIEW_PX, VIEW_PX)
    durations_ms = np.array([each.duration_ms for each in videos], np.float64)
    ratios = np.repeat(
        np.array([each.aspect_ratio for each in videos], np.float64), frames_per_video
    )
    no_hashes = np.zeros(len(views), np.uint64)
    return SignatureBatch(
        duration_ms=np.repeat(durations_ms, frames_per_video),
        aspect_ratio=ratios,
        average_hash=no_hashes,
        content_aspect_ratio=ratios * shapes.ravel(),
        content_hash=no_hashes,
        has_bars=(views[:, 0] != views[:, 1]).any(axis=(1, 2)),
        views=views,
    )
