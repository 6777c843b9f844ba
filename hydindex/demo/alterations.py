"""How a copy of a video can differ from the original."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: one `frame`, reduced in size, and its metadata; `width` and `height` in pixels."""

    frame: Image.Image
    width: int
    height: int
    duration_ms: int
    frames_per_s: float
    bits_per_pixel: float


Alteration = Callable[[Clip, Rng], Clip]


def _even(pixels: float) -> int:
    """Round to an even number, as H.264 with 4:2:0 colour requires."""
    return max(2, 2 * round(pixels / 2))


def _scaled(clip: Clip, frame: Image.Image, across: float, down: float) -> Clip:
    width, height = _even(clip.width * across), _even(clip.height * down)
    return replace(clip, frame=frame, width=width, height=height)


def lower_quality(clip: Clip, rng: Rng) -> Clip:
    """Compress until the blocks are visible."""
    encoded = BytesIO()
    clip.frame.save(encoded, "JPEG", quality=int(rng.integers(12, 35)))
    frame = Image.open(encoded).convert("RGB")
    return replace(clip, frame=frame, bits_per_pixel=clip.bits_per_pixel * 0.35)


def half_size(clip: Clip, _rng: Rng) -> Clip:
    """Halve width and height."""
    return _scaled(clip, clip.frame.reduce(2), 0.5, 0.5)


def brighter(clip: Clip, rng: Rng) -> Clip:
    """Brighten by 10 to 30 %."""
    return replace(clip, frame=ImageEnhance.Brightness(clip.frame).enhance(rng.uniform(1.1, 1.3)))


def other_colours(clip: Clip, rng: Rng) -> Clip:
    """Rotate every hue by the same angle, up to 60 degrees."""
    hue, saturation, value = clip.frame.convert("HSV").split()
    turned = np.asarray(hue).astype(int) + int(rng.integers(-42, 43))
    hue = Image.fromarray((turned % 256).astype(np.uint8))
    return replace(clip, frame=Image.merge("HSV", (hue, saturation, value)).convert("RGB"))


def cropped(clip: Clip, _rng: Rng) -> Clip:
    """Crop 4 % of the width and height, evenly on both sides."""
    wide, high = clip.frame.size
    box = (round(wide * 0.02), round(high * 0.02), round(wide * 0.98), round(high * 0.98))
    return _scaled(clip, clip.frame.crop(box), 0.96, 0.96)


def watermarked(clip: Clip, rng: Rng) -> Clip:
    """Draw a half-transparent mark into a corner."""
    frame = clip.frame.convert("RGBA")
    wide, high = frame.size
    mark = Image.new("RGBA", frame.size)
    x = wide * float(rng.choice((0.04, 0.66)))
    y = high * float(rng.choice((0.04, 0.84)))
    font = ImageFont.load_default(size=high // 9)
    ImageDraw.Draw(mark).text((x, y), "clips.tv", font=font, fill=(255, 255, 255, 170))
    return replace(clip, frame=Image.alpha_composite(frame, mark).convert("RGB"))


def subtitled(clip: Clip, rng: Rng) -> Clip:
    """Draw a line of text at the bottom."""
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
    """Blur, as if enlarged from a smaller size."""
    soft = clip.frame.filter(ImageFilter.GaussianBlur(rng.uniform(1.0, 2.5)))
    return replace(clip, frame=soft, bits_per_pixel=clip.bits_per_pixel * 0.7)


def other_frame_rate(clip: Clip, rng: Rng) -> Clip:
    """Change the frame rate, the duration by up to 0.3 s, and so the thumbnail's frame a little."""
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
    """Add black bars: make it square, or 16:9 if it is square."""
    wide, high = clip.frame.size
    edge = max(wide, high)
    size = (edge, edge) if wide != high else (edge * 16 // 9, edge)
    frame = Image.new("RGB", size)
    frame.paste(clip.frame, ((size[0] - wide) // 2, (size[1] - high) // 2))
    return _scaled(clip, frame, size[0] / wide, size[1] / high)


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
