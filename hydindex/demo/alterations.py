"""Ways in which a copy of a video differs from the original."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, as far as a library shows it: one `frame` of it, and its figures.

    The frame is smaller than the video's `width` and `height` (in pixels) but of their shape.
    """

    frame: Image.Image
    width: int
    height: int
    duration_ms: int
    frames_per_s: float
    bits_per_pixel: float


Alteration = Callable[[Clip, Rng], Clip]


def _even(pixels: float) -> int:
    """Round to an even number: H.264 with 4:2:0 colour has no odd sizes."""
    return max(2, 2 * round(pixels / 2))


def lower_quality(clip: Clip, rng: Rng) -> Clip:
    """Compressed until the blocks show."""
    encoded = BytesIO()
    clip.frame.save(encoded, "JPEG", quality=int(rng.integers(12, 35)))
    frame = Image.open(encoded).convert("RGB")
    return replace(clip, frame=frame, bits_per_pixel=clip.bits_per_pixel * 0.35)


def half_size(clip: Clip, _rng: Rng) -> Clip:
    """Half as wide and half as high, in the picture as in the figures."""
    return replace(
        clip,
        frame=clip.frame.reduce(2),
        width=_even(clip.width / 2),
        height=_even(clip.height / 2),
    )


def brighter(clip: Clip, rng: Rng) -> Clip:
    """Brighter by 10 to 30 %."""
    return replace(clip, frame=ImageEnhance.Brightness(clip.frame).enhance(rng.uniform(1.1, 1.3)))


def other_colours(clip: Clip, rng: Rng) -> Clip:
    """Every hue turned by the same angle, up to 60 degrees either way."""
    hue, saturation, value = clip.frame.convert("HSV").split()
    turned = np.asarray(hue).astype(int) + int(rng.integers(-42, 43))
    hue = Image.fromarray((turned % 256).astype(np.uint8))
    return replace(clip, frame=Image.merge("HSV", (hue, saturation, value)).convert("RGB"))


def cropped(clip: Clip, _rng: Rng) -> Clip:
    """Four percent of the width and of the height cut away, evenly on both sides."""
    wide, high = clip.frame.size
    box = (round(wide * 0.02), round(high * 0.02), round(wide * 0.98), round(high * 0.98))
    return replace(
        clip,
        frame=clip.frame.crop(box),
        width=_even(clip.width * 0.96),
        height=_even(clip.height * 0.96),
    )


def watermarked(clip: Clip, rng: Rng) -> Clip:
    """A half transparent mark in one of the corners."""
    frame = clip.frame.convert("RGBA")
    wide, high = frame.size
    mark = Image.new("RGBA", frame.size)
    x = wide * float(rng.choice((0.04, 0.66)))
    y = high * float(rng.choice((0.04, 0.84)))
    font = ImageFont.load_default(size=high // 9)
    ImageDraw.Draw(mark).text((x, y), "clips.tv", font=font, fill=(255, 255, 255, 170))
    return replace(clip, frame=Image.alpha_composite(frame, mark).convert("RGB"))


def subtitled(clip: Clip, rng: Rng) -> Clip:
    """A line of text at the foot."""
    frame = clip.frame.copy()
    wide, high = frame.size
    line = str(rng.choice(("- Who is there?", "[door creaks]", "It was you, all along.")))
    ImageDraw.Draw(frame).text(
        (wide / 2, high * 0.92),
        line,
        font=ImageFont.load_default(size=high // 12),
        fill="white",
        stroke_width=2,
        stroke_fill="black",
        anchor="ms",
    )
    return replace(clip, frame=frame)


def blurred(clip: Clip, rng: Rng) -> Clip:
    """Softened, as if enlarged from something smaller."""
    soft = clip.frame.filter(ImageFilter.GaussianBlur(rng.uniform(1.0, 2.5)))
    return replace(clip, frame=soft, bits_per_pixel=clip.bits_per_pixel * 0.7)


def other_frame_rate(clip: Clip, rng: Rng) -> Clip:
    """Another frame rate, which makes it up to 0.3 s longer or shorter.

    The frame for the thumbnail is another one then; the camera has moved on by a little.
    """
    others = [rate for rate in (23.976, 25.0, 29.97) if rate != clip.frames_per_s]
    duration_ms = max(500, clip.duration_ms + int(rng.integers(-299, 300)))
    wide, high = clip.frame.size
    return replace(
        clip,
        frame=clip.frame.crop((2, 0, wide, high)),
        frames_per_s=float(rng.choice(others)),
        duration_ms=duration_ms,
    )


def letterboxed(clip: Clip, _rng: Rng) -> Clip:
    """Black bars to make it square, or a square one wide: another aspect ratio altogether."""
    wide, high = clip.frame.size
    edge = max(wide, high)
    size = (edge, edge) if wide != high else (edge * 16 // 9, edge)
    frame = Image.new("RGB", size)
    frame.paste(clip.frame, ((size[0] - wide) // 2, (size[1] - high) // 2))
    return replace(
        clip,
        frame=frame,
        width=_even(clip.width * size[0] / wide),
        height=_even(clip.height * size[1] / high),
    )


ALTERATIONS: dict[str, Alteration] = {
    alteration.__name__: alteration
    for alteration in (
        lower_quality,
        half_size,
        brighter,
        other_colours,
        cropped,
        watermarked,
        subtitled,
        blurred,
        other_frame_rate,
        letterboxed,
    )
}
