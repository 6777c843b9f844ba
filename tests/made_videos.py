"""Small videos for the tests, made frame by frame."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from made_pictures import encoded
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hydindex.standin.state import HydrusFile

FRAMES_PER_S = 10


def scene(number: int, *, frames: int, size_px: tuple[int, int] = (128, 96)) -> list[Image.Image]:
    """Film a slow way over coloured hills; every scene has hills of its own."""
    width, height = size_px
    hills = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
    landscape = Image.fromarray(hills).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    return [
        landscape.crop((x := round(step / frames * width), x // 2, x + width, x // 2 + height))
        for step in range(frames)
    ]


def letterboxed(frames: Iterable[Image.Image]) -> list[Image.Image]:
    """Put black bars above and below."""
    return [ImageOps.expand(each, (0, each.height // 6), "black") for each in frames]


def write_video(
    path: Path,
    frames: Iterable[Image.Image],
    *,
    frames_per_s: int = FRAMES_PER_S,
    codec: str = "mpeg4",
    **options: str,
) -> Path:
    """Encode frames; the suffix of the name is the container."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=frames_per_s, options=options)
        for number, frame in enumerate(frames):
            if number == 0:
                stream.width, stream.height = frame.size
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


def jpeg(grey: NDArray[np.uint8]) -> bytes:
    thumbnail = Image.fromarray(grey).resize((150, 112), Image.Resampling.BICUBIC)
    return encoded(thumbnail, "JPEG")


# Of two faint thumbnails that are the same, the pair matches, though not beyond doubt. Of two that
# show nothing at all, it does not, if their durations differ by 40 ms.
FAINT = jpeg(np.random.default_rng(1).normal(128, 1, (12, 16)).astype(np.uint8))
EMPTY = jpeg(np.full((12, 16), 128, np.uint8))


def doubtful_library(folder: Path) -> dict[str, HydrusFile]:
    """Eight videos by name; those with the same letter are about as long, a doubtful pair.

    By their thumbnails the pairs a and b match, by their frames a and c.
    """
    folder.mkdir(exist_ok=True)

    def video(name: str, scene_number: int, duration_ms: int, thumbnail: bytes) -> HydrusFile:
        path = folder / f"{name}.mp4"
        write_video(path, scene(scene_number, frames=duration_ms * FRAMES_PER_S // 1000))
        return HydrusFile(
            hash=name.encode().hex().ljust(64, "0"),
            size=path.stat().st_size,
            mime="video/mp4",
            ext=".mp4",
            width=128,
            height=96,
            duration_ms=duration_ms,
            num_frames=None,
            has_audio=False,
            tags=frozenset(),
            thumbnail=thumbnail,
            video=path,
        )

    return {
        "a1": video("a1", 1, 2000, FAINT),
        "a2": video("a2", 1, 2300, FAINT),
        "b1": video("b1", 2, 3500, FAINT),
        "b2": video("b2", 3, 3800, FAINT),
        "c1": video("c1", 4, 5000, EMPTY),
        "c2": video("c2", 4, 5040, EMPTY),
        "d1": video("d1", 5, 6500, EMPTY),
        "d2": video("d2", 6, 6540, EMPTY),
    }
