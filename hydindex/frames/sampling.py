"""Sample a few frames of a video with PyAV (`hydindex[frames]`).

Copies are sampled at the same moments, each a share of the duration, whatever their frame rates.
Around each moment an earlier and a later frame are taken too, so that a copy that lost its
beginning can be aligned with the original.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

import av
import av.logging
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from hydindex.frames.packing import FRAMES_PER_MOMENT, MOMENTS, SampledFrames
from hydindex.matching.calibrated.bars import content_box
from hydindex.matching.calibrated.signature import content_aspect_factor, view
from hydindex.records.pictures import VIEW_PX

SHIFT_S: Final = 0.4
"""Distance between the frames around a moment."""

# A seek lands on a key frame, often seconds early: nearer moments are reached by decoding on.
_SEEK_BEYOND_S: Final = 10.0
# From a key frame to a moment; beyond this, the video is not worth the time.
_MAX_DECODED_FRAMES: Final = 2_000
_MAX_PX: Final = 1 << 26
# The size of a thumbnail: enough to find bars.
_BOX_PX: Final = 160
_ROUNDING_S: Final = 0.001
_SEEK_UNITS_PER_S: Final = 1_000_000
# A file may be a playlist in disguise: FFmpeg must not open anything it names.
_OPEN_NOTHING_ELSE: Final = {"protocol_whitelist": "none"}

av.logging.set_level(av.logging.PANIC)  # keeps FFmpeg's messages about damaged videos off stderr


def sample_frames(video: BinaryIO, duration_ms: float) -> SampledFrames | str:
    """Sample a video, or return the reason why it can't be decoded.

    `video` must be seekable; only the parts before the moments are read.

    Raises:
        MemoryError: there is too little memory now.
    """
    times_s = moments_s(duration_ms).ravel()
    in_order = np.argsort(times_s, kind="stable")
    views = np.empty((len(times_s), 2, VIEW_PX, VIEW_PX), np.uint8)
    factors = np.empty(len(times_s))
    try:
        with av.open(video, mode="r", options=_OPEN_NOTHING_ELSE) as container:
            decoder = _Decoder(container)
            for place in in_order.tolist():
                views[place], factors[place] = decoder.frame_at(times_s[place])
    except MemoryError:
        raise
    except Exception as error:  # decoders raise all kinds of errors
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"its frames cannot be decoded: {cause}"
    return SampledFrames(
        views=views.reshape(MOMENTS, FRAMES_PER_MOMENT, 2, VIEW_PX, VIEW_PX),
        content_aspect_factors=factors.reshape(MOMENTS, FRAMES_PER_MOMENT),
    )


def moments_s(duration_ms: float) -> NDArray[np.float64]:
    """Return the times of the frames in seconds, within the video: (MOMENTS, FRAMES_PER_MOMENT)."""
    duration_s = duration_ms / 1000
    middles = (np.arange(MOMENTS) + 0.5) / MOMENTS * duration_s
    around = (np.arange(FRAMES_PER_MOMENT) - FRAMES_PER_MOMENT // 2) * SHIFT_S
    return np.clip(middles[:, None] + around, 0.0, duration_s)


class _Decoder:
    """Decodes frames in the order of time."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self._stream = container.streams.video[0]
        width, height = self._stream.width, self._stream.height
        if not 0 < width * height <= _MAX_PX:
            raise ValueError(f"unsupported size {width}x{height}")
        scale = min(1.0, _BOX_PX / max(width, height))
        self._size_px = max(1, round(width * scale)), max(1, round(height * scale))
        # Several videos are sampled in parallel threads.
        self._stream.codec_context.thread_count = 1
        self._decoded, self._shown, self._upcoming = self._begin()
        self._start_s = _time_s(self._shown)

    def frame_at(self, time_s: float) -> tuple[NDArray[np.uint8], float]:
        """Return the views and the content aspect factor of the frame shown at a time."""
        time_s += self._start_s + _ROUNDING_S
        if time_s - _time_s(self._shown) > _SEEK_BEYOND_S:
            self._container.seek(round(time_s * _SEEK_UNITS_PER_S))
            self._decoded, self._shown, self._upcoming = self._begin()
        for _ in range(_MAX_DECODED_FRAMES):
            if self._upcoming is None or _time_s(self._upcoming) > time_s:
                return self._views()
            self._shown, self._upcoming = self._upcoming, next(self._decoded, None)
        raise ValueError("key frames are too far apart")

    def _begin(self) -> tuple[Iterator[av.VideoFrame], av.VideoFrame, av.VideoFrame | None]:
        """Start decoding at the container's position, a key frame; return the first two frames."""
        decoded = self._container.decode(self._stream)
        return decoded, next(decoded), next(decoded, None)

    def _views(self) -> tuple[NDArray[np.uint8], float]:
        width, height = self._size_px
        picture = self._shown.to_image(width=width, height=height, interpolation="AREA")
        grey = picture.convert("L").rotate(self._shown.rotation, expand=True)
        box = content_box(np.asarray(grey))
        views = np.stack((view(grey), view(grey.crop(box))))
        return views, content_aspect_factor(box, grey.size)


def _time_s(frame: av.VideoFrame) -> float:
    if frame.time is None:
        raise ValueError("a frame has no time")
    return frame.time
