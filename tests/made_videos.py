"""Small videos for the tests, made frame by frame."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

FRAMES_PER_S = 10


def scene(number: int, *, frames: int, size_px: tuple[int, int] = (128, 96)) -> list[Image.Image]:
    """Film a slow way over coloured hills; every scene has hills of its own."""
    width, height = size_px
    hills = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
    land = Image.fromarray(hills).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    return [
        land.crop((x := round(step / frames * width), x // 2, x + width, x // 2 + height))
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
    """Encode frames; the name of the file tells the container."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=frames_per_s, options=options)
        for number, frame in enumerate(frames):
            if number == 0:
                stream.width, stream.height = frame.size
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path
