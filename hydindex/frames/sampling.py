"""Samples a few frames of a video, for a second look at a doubtful pair.

Copies of a video are looked at in the same moments, each a share of the duration, whatever their
frame rates. Around each moment a little earlier and a little later frame are taken as well, so that
a copy that lost its beginning can be laid upon the original.

PyAV is needed here and nowhere else: `hydindex[frames]`.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

import av
import av.logging
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from hydindex.matching.calibrated.bars import content_box
from hydindex.matching.calibrated.signature import content_shape, view
from hydindex.records.pictures import FRAMES_A_MOMENT, MOMENTS, VIEW_PX, SampledFrames

SHIFT_S: Final = 0.4
"""How far the frames around a moment lie apart."""

# A seek goes to a key frame, often seconds before the moment: what lies nearer is decoded on to.
_NEAR_S: Final = 10.0
# From a key frame to a moment. A decoder that has more to do than this is not worth the wait.
_MOST_FRAMES_ON_THE_WAY: Final = 2_000
_LARGEST_PX: Final = 1 << 26
# As large as a thumbnail: enough to find bars in.
_BOX_PX: Final = 160
_ROUNDING_S: Final = 0.001
_SEEK_UNITS_A_SECOND: Final = 1_000_000
# A file that poses as a video may be a playlist: it must not make FFmpeg open anything else.
_OPEN_NOTHING_ELSE: Final = {"protocol_whitelist": "none"}

av.logging.set_level(av.logging.PANIC)  # FFmpeg's own words about damaged videos would go to stderr


def sample_frames(video: BinaryIO, duration_ms: float) -> SampledFrames | str:
    """Sample a video, or say why it cannot be decoded.

    `video` must be seekable; of a long one, only the parts before the moments are read.

    Raises:
        MemoryError: there is not enough, at present.
    """
    times_s = moments_s(duration_ms).ravel()
    in_order = np.argsort(times_s, kind="stable")
    views = np.empty((len(times_s), 2, VIEW_PX, VIEW_PX), np.uint8)
    shapes = np.empty(len(times_s))
    try:
        with av.open(video, mode="r", options=_OPEN_NOTHING_ELSE) as container:
            decoder = _Decoder(container)
            for place in in_order.tolist():
                views[place], shapes[place] = decoder.look_at(times_s[place])
    except MemoryError:
        raise
    except Exception as error:  # decoders fail in many ways on what is no video
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"its frames cannot be decoded: {cause}"
    return SampledFrames(
        views=views.reshape(MOMENTS, FRAMES_A_MOMENT, 2, VIEW_PX, VIEW_PX),
        content_shapes=shapes.reshape(MOMENTS, FRAMES_A_MOMENT),
    )


def moments_s(duration_ms: float) -> NDArray[np.float64]:
    """Tell when frames are taken, in seconds: (MOMENTS, FRAMES_A_MOMENT), all within the video."""
    duration_s = duration_ms / 1000
    middles = (np.arange(MOMENTS) + 0.5) / MOMENTS * duration_s
    around = (np.arange(FRAMES_A_MOMENT) - FRAMES_A_MOMENT // 2) * SHIFT_S
    return np.clip(middles[:, None] + around, 0.0, duration_s)


class _Decoder:
    """Goes through a video, from earlier to later moments."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self._stream = container.streams.video[0]
        width, height = self._stream.width, self._stream.height
        if not 0 < width * height <= _LARGEST_PX:
            raise ValueError(f"a picture of {width}x{height} pixels")
        scale = min(1.0, _BOX_PX / max(width, height))
        self._size_px = max(1, round(width * scale)), max(1, round(height * scale))
        self._stream.codec_context.thread_count = 1  # who samples many does so in threads
        self._decoded, self._shown, self._upcoming = self._begin()
        self._start_s = _time_s(self._shown)

    def look_at(self, time_s: float) -> tuple[NDArray[np.uint8], float]:
        """Give the views, and the content shape, of the frame that is shown at a time."""
        time_s += self._start_s + _ROUNDING_S
        if time_s - _time_s(self._shown) > _NEAR_S:
            self._container.seek(round(time_s * _SEEK_UNITS_A_SECOND))
            self._decoded, self._shown, self._upcoming = self._begin()
        for _ in range(_MOST_FRAMES_ON_THE_WAY):
            if self._upcoming is None or _time_s(self._upcoming) > time_s:
                return self._look()
            self._shown, self._upcoming = self._upcoming, next(self._decoded, None)
        raise ValueError("its key frames lie too far apart")

    def _begin(self) -> tuple[Iterator[av.VideoFrame], av.VideoFrame, av.VideoFrame | None]:
        """Decode from where the container stands, which is a key frame; give the first two."""
        decoded = self._container.decode(self._stream)
        return decoded, next(decoded), next(decoded, None)

    def _look(self) -> tuple[NDArray[np.uint8], float]:
        width, height = self._size_px
        picture = self._shown.to_image(width=width, height=height, interpolation="AREA")
        grey = picture.convert("L").rotate(self._shown.rotation, expand=True)
        box = content_box(np.asarray(grey))
        views = np.stack((view(grey), view(grey.crop(box))))
        return views, content_shape(box, grey.size)


def _time_s(frame: av.VideoFrame) -> float:
    if frame.time is None:
        raise ValueError("a frame without a time")
    return frame.time
