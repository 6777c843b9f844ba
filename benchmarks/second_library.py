"""Generated labelled libraries to which no model was fitted.

`second_library` has other pictures and other alterations than the library of the shipped model:
crops of photographs of scikit-image, crops of generated scenes, and featureless pictures. Several
videos show the same source at different moments; they are no duplicates, though most have the same
duration and shape. `unrelated_library` has no duplicates at all. `title_cards` are white on black,
or the reverse.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import count, cycle, islice
from typing import Final

import numpy as np
import skimage.data
from labelled import LabelledFile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from skimage.util import img_as_ubyte

from hydindex.demo.alterations import Alteration, Clip, Rng
from hydindex.demo.generated_library import thumbnail
from hydindex.demo.scenes import SCENES, Scene
from hydindex.standin.state import HydrusFile

# Pictures that come with scikit-image, except those in the library of the shipped model.
PHOTOGRAPHS: Final = (
    "astronaut", "brick", "camera", "cell", "clock", "colorwheel", "horse", "logo", "page",
    "retina", "rocket",
)  # fmt: skip
_SCENE_SOURCES, _FEATURELESS_SOURCES = 22, 18
_MOMENTS_OF_PHOTOGRAPH, _MOMENTS_OF_SCENE = 6, 3
_MOMENT_SIZE: Final = (0.45, 0.7)  # as a share of the largest crop of that shape
_MAX_OVERLAP: Final = 0.45  # intersection over union of two moments

_RESOLUTION_SHARES: Final = {
    (1920, 1080): 0.22,
    (1280, 720): 0.2,
    (854, 480): 0.1,
    (640, 360): 0.08,
    (1440, 1080): 0.08,
    (640, 480): 0.08,
    (1080, 1920): 0.08,
    (720, 1280): 0.08,
    (1080, 1080): 0.08,
}
_HD_PX: Final = (1280, 720)
_WIDE, _NARROW = 16 / 9, 4 / 3
_FRAMES_PER_S: Final = (24.0, 25.0, 30.0, 50.0)
# Sources are larger than frames, and frames larger than thumbnails; noise is coarser than both.
_SOURCE_BOX_PX, _FRAME_BOX_PX, _NOISE_BOX_PX = (600, 500), (300, 250), (150, 125)

_ROUND_DURATIONS_MS: Final = (6_000, 8_000, 10_000, 10_000, 15_000)
_ROUND_SHARE: Final = 0.5
_MEDIAN_DURATION_MS, _DURATION_SIGMA = 14_000, 0.8  # log-normal
_DURATION_RANGE_MS: Final = (3_000, 60_000)
_TEN_SECONDS_MS: Final = 10_000
_SAME_DURATION_SHARE, _NEAR_DURATION_SHARE = 0.6, 0.2  # of the moments of a source
_NEAR_MS: Final = 900
_SAME_SHAPE_SHARE: Final = 0.85

_WORDS: Final = (
    "the", "of", "from", "last", "first", "blue", "silent", "house", "river", "winter", "road",
    "king", "part", "episode", "season", "chapter", "presents", "directed", "music", "camera",
)  # fmt: skip

Box = tuple[float, float, float, float]


def second_library(seed: int) -> list[LabelledFile]:
    """Generate videos with up to five altered copies each."""
    rng = np.random.default_rng(seed)
    files: list[LabelledFile] = []
    for number, (source, original) in enumerate(_originals(rng)):
        kinds = list(ALTERATIONS)
        files += _with_copies(original, f"{seed}-{number:04}", source, 5, kinds, rng)
    return files


def unrelated_library(count: int = 2000) -> list[HydrusFile]:
    """Generate videos of equal duration and shape, none of which is a copy of another."""
    rng = np.random.default_rng(12)
    files = []
    for number, scene in zip(range(count), cycle(SCENES.values())):
        frame = scene(rng, *_fitted(_HD_PX, _FRAME_BOX_PX))
        clip = _clip(rng, frame, _HD_PX, _TEN_SECONDS_MS)
        files.append(_file(clip, f"12-{number:04}", "original", rng))
    return files


def title_cards() -> list[LabelledFile]:
    """Generate 200 title cards with up to two altered copies each."""
    rng = np.random.default_rng(13)
    kinds = [name for name in ALTERATIONS if name not in _MOSTLY_MISSED]
    files: list[LabelledFile] = []
    for number in range(200):
        duration_ms = _TEN_SECONDS_MS + int(rng.integers(-_NEAR_MS, _NEAR_MS + 1)) // 2
        frame = title_card(rng, *_fitted(_HD_PX, _FRAME_BOX_PX))
        original = _clip(rng, frame, _HD_PX, duration_ms)
        files += _with_copies(original, f"13-{number:04}", f"card-{number}", 2, kinds, rng)
    return files


def _with_copies(
    original: Clip, base: str, source: str, max_copies: int, kinds: list[str], rng: Rng
) -> Iterator[LabelledFile]:
    yield LabelledFile(_file(original, base, "original", rng), source, "original")
    number = int(rng.integers(0, max_copies + 1))
    for name in rng.choice(kinds, number, replace=False).tolist():
        altered = ALTERATIONS[name](original, rng)
        # An altered video is encoded again.
        frame = _encoded(altered.frame, int(rng.integers(65, 90)))
        copy = _file(replace(altered, frame=frame), base, name, rng)
        yield LabelledFile(copy, source, name)


# Videos


@dataclass(frozen=True, slots=True)
class _Source:
    """A picture that videos are cut from; most of them have this size and duration."""

    name: str
    picture: Image.Image
    size_px: tuple[int, int]
    duration_ms: int


def _originals(rng: Rng) -> Iterator[tuple[str, Clip]]:
    """Generate videos, each with the name of its source."""
    for name in PHOTOGRAPHS:
        source = _Source(name, _photograph(name), _size_px(rng), _duration_ms(rng))
        yield from _moments(rng, source, _MOMENTS_OF_PHOTOGRAPH)
    scenes = _scenes(rng, SCENES)
    for source in islice(scenes, _SCENE_SOURCES):
        yield from _moments(rng, source, _MOMENTS_OF_SCENE)
    next(scenes)  # not used, but without it the libraries would differ from those measured before
    for source in islice(_scenes(rng, FEATURELESS), _FEATURELESS_SOURCES):
        yield from _moments(rng, source, 1)


def _photograph(name: str) -> Image.Image:
    image = Image.fromarray(img_as_ubyte(getattr(skimage.data, name)())).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _scenes(rng: Rng, scenes: Mapping[str, Scene]) -> Iterator[_Source]:
    for number in count():
        for kind, scene in scenes.items():
            size_px = _size_px(rng)
            picture = scene(rng, *_fitted(size_px, _SOURCE_BOX_PX))
            yield _Source(f"{kind}-{number}", picture, size_px, _duration_ms(rng))


def _moments(rng: Rng, source: _Source, number: int) -> Iterator[tuple[str, Clip]]:
    """Cut videos from a source that are no duplicates of each other."""
    cut: list[Box] = []
    for _ in range(number):
        size_px = source.size_px
        if rng.random() >= _SAME_SHAPE_SHARE:
            size_px = _size_px(rng)
        boxes = [_box(rng, source.picture.size, size_px) for _ in range(100)]
        # The first that overlaps little with the others, else the one that overlaps least.
        box = min(boxes, key=lambda new: max([_MAX_OVERLAP, *(_overlap(new, old) for old in cut)]))
        cut.append(box)
        frame_px = _fitted(size_px, _FRAME_BOX_PX)
        frame = source.picture.resize(frame_px, Image.Resampling.LANCZOS, box=box)
        yield source.name, _clip(rng, frame, size_px, _moment_ms(rng, source.duration_ms))


def _box(rng: Rng, source_px: tuple[int, int], shape: tuple[int, int]) -> Box:
    scale = min(source_px[0] / shape[0], source_px[1] / shape[1]) * rng.uniform(*_MOMENT_SIZE)
    wide, high = shape[0] * scale, shape[1] * scale
    x, y = rng.uniform(0, source_px[0] - wide), rng.uniform(0, source_px[1] - high)
    return x, y, x + wide, y + high


def _overlap(one: Box, two: Box) -> float:
    wide = min(one[2], two[2]) - max(one[0], two[0])
    high = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return shared / (sum(areas) - shared)


def _clip(rng: Rng, frame: Image.Image, size_px: tuple[int, int], duration_ms: int) -> Clip:
    rate = float(rng.choice(_FRAMES_PER_S))
    return Clip(frame, *size_px, duration_ms, rate, bits_per_pixel=rng.uniform(0.04, 0.12))


def _size_px(rng: Rng) -> tuple[int, int]:
    shares = list(_RESOLUTION_SHARES.values())
    return list(_RESOLUTION_SHARES)[rng.choice(len(shares), p=shares)]


def _duration_ms(rng: Rng) -> int:
    if rng.random() < _ROUND_SHARE:
        return int(rng.choice(_ROUND_DURATIONS_MS))
    natural_ms = rng.lognormal(math.log(_MEDIAN_DURATION_MS), _DURATION_SIGMA)
    return int(np.clip(natural_ms, *_DURATION_RANGE_MS))


def _moment_ms(rng: Rng, source_ms: int) -> int:
    kind = rng.random()
    if kind < _SAME_DURATION_SHARE:
        return source_ms
    if kind < _SAME_DURATION_SHARE + _NEAR_DURATION_SHARE:
        return source_ms + int(rng.integers(-_NEAR_MS, _NEAR_MS + 1))
    return _duration_ms(rng)


def _fitted(size_px: tuple[int, int], box_px: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that fits into a box."""
    scale = min(box_px[0] / size_px[0], box_px[1] / size_px[1])
    return round(size_px[0] * scale), round(size_px[1] * scale)


def _file(clip: Clip, base: str, alteration: str, rng: Rng) -> HydrusFile:
    num_frames = max(1, round(clip.duration_ms / 1000 * clip.frames_per_s))
    return HydrusFile(
        hash=hashlib.sha256(f"second {base} {alteration}".encode()).hexdigest(),
        size=round(num_frames * clip.width * clip.height * clip.bits_per_pixel / 8),
        mime="video/mp4",
        ext=".mp4",
        width=clip.width,
        height=clip.height,
        duration_ms=clip.duration_ms,
        num_frames=num_frames,
        has_audio=bool(rng.random() < 0.5),
        tags=frozenset(),
        thumbnail=thumbnail(clip),
        base=frozenset({base}),
    )


# Featureless pictures and title cards


def _colour(rng: Rng, low: int, high: int) -> NDArray[np.float64]:
    return rng.uniform(low, high, 3)


def _noisy(rng: Rng, pixels: NDArray[np.float64], sigma: float) -> Image.Image:
    """Add noise, the same to all channels, and convert to a picture."""
    noise = rng.normal(0, sigma, pixels.shape[:2])
    return Image.fromarray((pixels + noise[..., None]).clip(0, 255).astype(np.uint8))


def gradient(rng: Rng, width: int, height: int) -> Image.Image:
    """From one colour to another, in any direction."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * math.pi)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    along = (along - along.min()) / np.ptp(along)
    one, other = _colour(rng, 20, 235), _colour(rng, 20, 235)
    return _noisy(rng, one + along[..., None] * (other - one), 0.5)


def dark(rng: Rng, width: int, height: int) -> Image.Image:
    """One faint light on black."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.1, 0.4)
    light = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / radius**2)
    return _noisy(rng, _colour(rng, 2, 10) + light[..., None] * _colour(rng, 3, 30), 1.5)


def plain(rng: Rng, width: int, height: int) -> Image.Image:
    """One colour with the noise of a sensor."""
    colour = np.broadcast_to(_colour(rng, 20, 235), (height, width, 3))
    return _noisy(rng, colour, rng.uniform(2, 6))


def title_card(rng: Rng, width: int, height: int) -> Image.Image:
    """One to three centred lines of text."""
    is_dark = rng.random() < 0.8
    colour = _colour(rng, *((0, 14) if is_dark else (240, 255)))
    card = _noisy(rng, np.broadcast_to(colour, (height, width, 3)), 1.0)
    draw = ImageDraw.Draw(card)
    size_px = height * rng.uniform(0.06, 0.16)
    font = ImageFont.load_default(size=size_px)
    fill = "white" if is_dark else "black"
    y = height * rng.uniform(0.3, 0.6)
    for _ in range(int(rng.integers(1, 4))):
        line = " ".join(rng.choice(_WORDS, int(rng.integers(1, 5))))
        text = line.upper() if rng.random() < 0.5 else line
        draw.text((width / 2, y), text, font=font, fill=fill, anchor="mm")
        y += size_px * 1.5
    return card


FEATURELESS: Final = {"gradient": gradient, "dark": dark, "plain": plain}


# Alterations


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))


def _encoded(frame: Image.Image, quality: int) -> Image.Image:
    encoded = BytesIO()
    frame.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded).convert("RGB")


def mirrored(clip: Clip, _rng: Rng) -> Clip:
    """Left and right swapped."""
    return replace(clip, frame=ImageOps.mirror(clip.frame))


def sped_up(clip: Clip, _rng: Rng) -> Clip:
    """5 % faster, with the same frames."""
    duration_ms = round(clip.duration_ms / 1.05)
    return replace(clip, duration_ms=duration_ms, frames_per_s=clip.frames_per_s * 1.05)


def logo(clip: Clip, rng: Rng) -> Clip:
    """An opaque logo in one of the corners."""
    frame = clip.frame.copy()
    wide, high = frame.size
    edge, margin = wide * rng.uniform(0.08, 0.14), wide * rng.uniform(0.02, 0.04)
    x = float(rng.choice((margin, wide - margin - edge)))
    y = float(rng.choice((margin, high - margin - edge)))
    fill = f"hsl({int(rng.integers(360))}, 85%, 45%)"
    draw = ImageDraw.Draw(frame)
    draw.rounded_rectangle((x, y, x + edge, y + edge), radius=edge / 4, fill=fill)
    letter = str(rng.choice(list("ABEKMRTX")))
    font = ImageFont.load_default(size=edge * 0.8)
    draw.text((x + edge / 2, y + edge / 2), letter, font=font, fill="white", anchor="mm")
    return replace(clip, frame=frame)


def colour_graded(clip: Clip, rng: Rng) -> Clip:
    """More contrast, lifted shadows, a tint, another saturation."""
    saturated = ImageEnhance.Color(clip.frame).enhance(rng.uniform(0.5, 1.5))
    level = np.asarray(saturated) / 255
    amount = rng.uniform(0.4, 1.0)
    curved = (1 - amount) * level + amount * level**2 * (3 - 2 * level)
    lift, tint = rng.uniform(0.0, 0.06), rng.uniform(0.85, 1.1, 3)
    graded = (lift + (1 - lift) * curved * tint).clip(0, 1)
    return replace(clip, frame=Image.fromarray((graded * 255).round().astype(np.uint8)))


def noisy(clip: Clip, rng: Rng) -> Clip:
    """Noise that is coarse enough to show in the thumbnail, then compression."""
    frame = clip.frame.copy()
    frame.thumbnail(_NOISE_BOX_PX, Image.Resampling.LANCZOS)
    grained = _noisy(rng, np.asarray(frame, np.float64), rng.uniform(8, 16))
    return replace(clip, frame=_encoded(grained, 40))


def _without_sides(clip: Clip, share: float, left: float = 0.5) -> Clip:
    """Keep a share of the width; `left` is the share of the loss on the left."""
    wide, high = clip.frame.size
    kept = round(wide * share)
    x = round((wide - kept) * left)
    frame = clip.frame.crop((x, 0, x + kept, high))
    return replace(clip, frame=frame, width=_even(clip.width * share))


def reframed(clip: Clip, rng: Rng) -> Clip:
    """The sides cut off until the aspect ratio is a quarter less: 16:9 becomes 4:3."""
    return _without_sides(clip, 0.75, left=rng.uniform(0.4, 0.6))


def _between_bars(
    clip: Clip, aspect: float, bars: Callable[[tuple[int, int]], Image.Image]
) -> Clip:
    """Paste the clip into the middle of a wider frame, which `bars` makes."""
    wide, high = clip.frame.size
    frame = bars((round(high * aspect), high))
    frame.paste(clip.frame, ((frame.width - wide) // 2, 0))
    return replace(clip, frame=frame, width=_even(clip.height * aspect))


def pillarboxed(clip: Clip, _rng: Rng) -> Clip:
    """Black bars beside it in a 16:9 frame; wider clips are first cut to 4:3."""
    narrow = _without_sides(clip, min(1.0, _NARROW * clip.height / clip.width))
    return _between_bars(narrow, _WIDE, lambda size_px: Image.new("RGB", size_px))


def blurred_bars(clip: Clip, _rng: Rng) -> Clip:
    """A blurred copy beside it in a 16:9 frame; in a 64:27 frame if it was wide."""
    is_wide = clip.width > 1.5 * clip.height

    def backdrop(size_px: tuple[int, int]) -> Image.Image:
        filled = ImageOps.fit(clip.frame, size_px, Image.Resampling.BICUBIC)
        soft = filled.filter(ImageFilter.GaussianBlur(size_px[1] / 16))
        return ImageEnhance.Brightness(soft).enhance(0.8)

    return _between_bars(clip, _WIDE * _NARROW if is_wide else _WIDE, backdrop)


def rescaled(clip: Clip, rng: Rng) -> Clip:
    """72 % of the width and height, then sharpened slightly."""
    wide, high = (round(edge * 0.72) for edge in clip.frame.size)
    frame = clip.frame.resize((wide, high), Image.Resampling.BICUBIC)
    sharpen = ImageFilter.UnsharpMask(radius=1, percent=int(rng.integers(40, 90)), threshold=0)
    width, height = _even(clip.width * 0.72), _even(clip.height * 0.72)
    return replace(clip, frame=frame.filter(sharpen), width=width, height=height)


def later_frame(clip: Clip, rng: Rng) -> Clip:
    """A slightly later thumbnail, after a camera movement; up to 80 ms longer or shorter."""
    wide, high = clip.frame.size
    margin = max(wide, high) // 20  # mirrored edges stand for what comes into view
    padding = ((margin, margin), (margin, margin), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(clip.frame), padding, mode="reflect"))
    scale = 1 + float(rng.choice((-1, 1))) * rng.uniform(0.01, 0.02)
    angle, shift = rng.uniform(0, 2 * math.pi), rng.uniform(0.01, 0.03)
    x = margin + wide / 2 + shift * wide * math.cos(angle)
    y = margin + high / 2 + shift * high * math.sin(angle)
    across, down = wide * scale / 2, high * scale / 2
    box = (x - across, y - down, x + across, y + down)
    frame = padded.resize(clip.frame.size, Image.Resampling.BICUBIC, box=box)
    return replace(clip, frame=frame, duration_ms=clip.duration_ms + int(rng.integers(-80, 81)))


def re_encoded(clip: Clip, rng: Rng) -> Clip:
    """Compressed hard, at half the frame rate; up to one frame longer."""
    rate = clip.frames_per_s / 2
    duration_ms = clip.duration_ms + round(rng.uniform(0, 1000 / rate))
    return replace(clip, frame=_encoded(clip.frame, 30), frames_per_s=rate, duration_ms=duration_ms)


ALTERATIONS: Final[dict[str, Alteration]] = {
    alteration.__name__: alteration
    for alteration in (
        mirrored,
        sped_up,
        logo,
        colour_graded,
        noisy,
        reframed,
        pillarboxed,
        blurred_bars,
        rescaled,
        later_frame,
        re_encoded,
    )
}
_MOSTLY_MISSED: Final = ("mirrored", "reframed", "pillarboxed", "blurred_bars")
