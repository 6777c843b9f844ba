"""A second labelled library, to see how a decision does on what it was not calibrated on.

Other pictures than in the corpus, altered in other ways:

- crops of the photographs that scikit-image brings along, leaving out those the corpus has;
- crops of made-up scenes (`hydindex.demo.scenes`);
- flat pictures with next to nothing in them.

Every base is a video of its own. Several show the same source at different moments: they are no
duplicates, though most of them have the same length and shape. Hard negatives, like the flat ones.

    python benchmarks/second_library.py FOLDER
    hydindex demo --folder FOLDER
"""

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps
from skimage.util import img_as_ubyte

from hydindex.demo.alterations import Alteration, Clip, Rng
from hydindex.demo.generated_library import thumbnail
from hydindex.demo.scenes import SCENES, Scene
from hydindex.standin.library_files import HydrusFile, true_pairs

# Of the pictures in the wheel of scikit-image, the corpus already has chelsea, coffee, coins,
# grass, gravel, hubble_deep_field, immunohistochemistry, moon, stereo_motorcycle and text.
PHOTOGRAPHS: Final = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "clock",
    "colorwheel",
    "horse",
    "logo",
    "page",
    "retina",
    "rocket",
)

ORIGINAL: Final = "original"
_MAX_COPIES: Final = 5

_PHOTOGRAPH_SHARE: Final = 0.44  # of the bases
_SCENE_SHARE: Final = 0.44  # the other bases are flat
_MOST_MOMENTS_OF_A_PHOTOGRAPH: Final = 6
_MOMENTS_OF_A_SCENE: Final = 3
_MOMENT_SIZE: Final = (0.45, 0.7)  # of the largest crop of that shape
_MOST_OVERLAP: Final = 0.45  # of two moments: what they share, of what they show together

_RESOLUTIONS: Final = (
    (1920, 1080),
    (1280, 720),
    (854, 480),
    (640, 360),
    (1440, 1080),
    (640, 480),
    (1080, 1920),
    (720, 1280),
    (1080, 1080),
)
_RESOLUTION_SHARES: Final = (0.22, 0.2, 0.1, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08)
_WIDE: Final = 16 / 9
_NARROW: Final = 4 / 3
_FRAMES_PER_S: Final = (24.0, 25.0, 30.0, 50.0)

# Frames are larger than any thumbnail, and what they are cut from is larger than a frame.
_FRAME_BOX_PX: Final = (300, 250)
_CANVAS_BOX_PX: Final = (600, 500)
# Finer noise than this is gone from the thumbnail.
_NOISE_BOX_PX: Final = (150, 125)

_ROUND_DURATIONS_MS: Final = (6_000, 8_000, 10_000, 10_000, 15_000)
_ROUND_SHARE: Final = 0.5
_MEDIAN_DURATION_MS: Final = 14_000
_DURATION_SIGMA: Final = 0.8  # of the logarithm
_DURATION_RANGE_MS: Final = (3_000, 60_000)
_SAME_DURATION_SHARE: Final = 0.6  # of the moments of a source
_NEAR_DURATION_SHARE: Final = 0.2
_NEAR_MS: Final = 900
_SAME_SHAPE_SHARE: Final = 0.85

_UNRELATED_SIZE_PX: Final = (1280, 720)
_UNRELATED_DURATION_MS: Final = 10_000

_WORDS: Final = (
    *("the", "of", "from", "last", "first", "blue", "silent", "house", "river", "winter", "road"),
    *("king", "part", "episode", "season", "chapter", "presents", "directed", "music", "camera"),
)

Box = tuple[float, float, float, float]


def second_library(seed: int = 11, bases: int = 150) -> list[HydrusFile]:
    """Make the library of so many bases, each with none to five copies; one seed, one library.

    `base` tells which files belong together, the tags `source:...` and `copy:...` what a file
    was cut from and how it was altered.
    """
    rng = np.random.default_rng(seed)
    files = []
    for number, (source, original) in enumerate(_originals(rng, bases)):
        base = f"{seed}-{number:04}"
        files.append(_file(original, base, source, ORIGINAL, rng))
        count = int(rng.integers(0, _MAX_COPIES + 1))
        for name in rng.choice(list(ALTERATIONS), count, replace=False).tolist():
            files.append(_file(_altered(original, name, rng), base, source, name, rng))
    return files


def unrelated_library(seed: int = 12, files: int = 2000) -> list[HydrusFile]:
    """Make so many files of one length and one shape, none of which is a copy of another."""
    rng = np.random.default_rng(seed)
    kinds = list(SCENES.items())
    made = []
    for number in range(files):
        kind, scene = kinds[number % len(kinds)]
        width, height = _UNRELATED_SIZE_PX
        frame = scene(rng, *_fitted(width, height, _FRAME_BOX_PX))
        clip = _film(rng, frame, width, height, _UNRELATED_DURATION_MS)
        name = f"{kind}-{number // len(kinds)}"
        made.append(_file(clip, f"{seed}-{number:04}", name, ORIGINAL, rng))
    return made


def title_cards(seed: int = 13, cards: int = 200) -> list[HydrusFile]:
    """Make so many title cards, white on black or the reverse, and up to two copies of each.

    Nearly all of such a picture agrees with that of any other.
    """
    rng = np.random.default_rng(seed)
    width, height = _UNRELATED_SIZE_PX
    within_reach = [name for name in ALTERATIONS if name not in _OUT_OF_REACH]
    made = []
    for number in range(cards):
        duration_ms = _UNRELATED_DURATION_MS + int(rng.integers(-_NEAR_MS, _NEAR_MS + 1)) // 2
        frame = title_card(rng, *_fitted(width, height, _FRAME_BOX_PX))
        original = _film(rng, frame, width, height, duration_ms)
        base, source = f"{seed}-{number:04}", f"card-{number}"
        made.append(_file(original, base, source, ORIGINAL, rng))
        for name in rng.choice(within_reach, int(rng.integers(0, 3)), replace=False).tolist():
            made.append(_file(_altered(original, name, rng), base, source, name, rng))
    return made


def source_of(file: HydrusFile) -> str:
    """Name what the file was cut from: a photograph, or a kind of scene and its number."""
    return _tagged(file, "source:")


def alteration_of(file: HydrusFile) -> str:
    """Name the alteration that made the file: a key of `ALTERATIONS`, or `ORIGINAL`."""
    return _tagged(file, "copy:")


def save_folder(files: Sequence[HydrusFile], folder: Path) -> None:
    """Write a library down as `hydindex demo --folder` reads it."""
    thumbs = folder / "thumbs"
    thumbs.mkdir(parents=True, exist_ok=True)
    for file in files:
        (thumbs / file.hash).write_bytes(file.thumbnail)
    rows = (json.dumps(_row(file_id, file)) for file_id, file in enumerate(files, start=1))
    (folder / "files.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def _tagged(file: HydrusFile, namespace: str) -> str:
    return next(tag.removeprefix(namespace) for tag in file.tags if tag.startswith(namespace))


def _row(file_id: int, file: HydrusFile) -> dict[str, object]:
    (base,) = file.base
    variant = alteration_of(file)
    return {
        "file_id": file_id,
        "hash": file.hash,
        "size": file.size,
        "mime": file.mime,
        "ext": file.ext,
        "width": file.width,
        "height": file.height,
        "duration": file.duration_ms,
        "num_frames": file.num_frames,
        "num_words": None,
        "has_audio": file.has_audio,
        "name": f"{base}-{variant}{file.ext}",
        "base": [base],
        "variant": variant,
        "source": source_of(file),
    }


# What is shown


@dataclass(frozen=True, slots=True)
class _Source:
    """A picture that bases are cut from, and the shape and length that most of them have."""

    name: str
    canvas: Image.Image
    resolution_px: tuple[int, int]
    duration_ms: int


def _originals(rng: Rng, bases: int) -> Iterator[tuple[str, Clip]]:
    """Cut so many bases; each comes with the name of its source."""
    of_photographs = min(
        round(bases * _PHOTOGRAPH_SHARE), _MOST_MOMENTS_OF_A_PHOTOGRAPH * len(PHOTOGRAPHS)
    )
    of_flat = round(bases * (1 - _PHOTOGRAPH_SHARE - _SCENE_SHARE))
    for number, name in enumerate(PHOTOGRAPHS):
        source = _Source(name, _photograph(name), _resolution_px(rng), _duration_ms(rng))
        yield from _moments(rng, source, len(range(number, of_photographs, len(PHOTOGRAPHS))))
    left = bases - of_photographs - of_flat
    for source in _drawn(rng, SCENES):
        if left <= 0:
            break
        yield from _moments(rng, source, min(left, _MOMENTS_OF_A_SCENE))
        left -= _MOMENTS_OF_A_SCENE
    for source, _ in zip(_drawn(rng, FLAT_SCENES), range(of_flat), strict=False):
        yield from _moments(rng, source, 1)


def _photograph(name: str) -> Image.Image:
    image = Image.fromarray(img_as_ubyte(getattr(skimage.data, name)())).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _drawn(rng: Rng, scenes: dict[str, Scene]) -> Iterator[_Source]:
    """Draw scenes without end, of each kind in turn."""
    number = 0
    while True:
        for kind, scene in scenes.items():
            resolution_px = _resolution_px(rng)
            canvas = scene(rng, *_fitted(*resolution_px, _CANVAS_BOX_PX))
            yield _Source(f"{kind}-{number}", canvas, resolution_px, _duration_ms(rng))
        number += 1


def _moments(rng: Rng, source: _Source, count: int) -> Iterator[tuple[str, Clip]]:
    """Cut videos from a source that are no duplicates of each other."""
    cut: list[Box] = []
    for _ in range(count):
        resolution_px = source.resolution_px
        if rng.random() >= _SAME_SHAPE_SHARE:
            resolution_px = _resolution_px(rng)
        boxes = [_box(rng, source.canvas.size, resolution_px) for _ in range(100)]
        # The first that is unlike the others, else the one that is least like them.
        box = min(boxes, key=lambda new: max([_MOST_OVERLAP, *(_overlap(new, old) for old in cut)]))
        cut.append(box)
        size_px = _fitted(*resolution_px, _FRAME_BOX_PX)
        frame = source.canvas.resize(size_px, Image.Resampling.LANCZOS, box=box)
        yield source.name, _film(rng, frame, *resolution_px, _moment_ms(rng, source.duration_ms))


def _box(rng: Rng, canvas_px: tuple[int, int], shape: tuple[int, int]) -> Box:
    scale = min(canvas_px[0] / shape[0], canvas_px[1] / shape[1]) * rng.uniform(*_MOMENT_SIZE)
    wide, high = shape[0] * scale, shape[1] * scale
    x, y = rng.uniform(0, canvas_px[0] - wide), rng.uniform(0, canvas_px[1] - high)
    return x, y, x + wide, y + high


def _overlap(one: Box, two: Box) -> float:
    """Say how much two boxes share, of what they cover together."""
    wide = min(one[2], two[2]) - max(one[0], two[0])
    high = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return shared / (sum(areas) - shared)


def _film(rng: Rng, frame: Image.Image, width: int, height: int, duration_ms: int) -> Clip:
    return Clip(
        frame=frame,
        width=width,
        height=height,
        duration_ms=duration_ms,
        frames_per_s=float(rng.choice(_FRAMES_PER_S)),
        bits_per_pixel=rng.uniform(0.04, 0.12),
    )


def _resolution_px(rng: Rng) -> tuple[int, int]:
    return _RESOLUTIONS[rng.choice(len(_RESOLUTIONS), p=_RESOLUTION_SHARES)]


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


def _fitted(width: int, height: int, box_px: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape that fits into a box."""
    scale = min(box_px[0] / width, box_px[1] / height)
    return round(width * scale), round(height * scale)


def _file(clip: Clip, base: str, source: str, copy: str, rng: Rng) -> HydrusFile:
    num_frames = max(1, round(clip.duration_ms / 1000 * clip.frames_per_s))
    return HydrusFile(
        hash=hashlib.sha256(f"second {base} {copy}".encode()).hexdigest(),
        size=round(num_frames * clip.width * clip.height * clip.bits_per_pixel / 8),
        mime="video/mp4",
        ext=".mp4",
        width=clip.width,
        height=clip.height,
        duration_ms=clip.duration_ms,
        num_frames=num_frames,
        has_audio=bool(rng.random() < 0.5),
        tags=frozenset({"meta:demo", f"source:{source}", f"copy:{copy}"}),
        thumbnail=thumbnail(clip),
        base=frozenset({base}),
    )


# Flat pictures


def _levels(rng: Rng, low: int, high: int) -> NDArray[np.float64]:
    return rng.uniform(low, high, 3)


def _grained(rng: Rng, pixels: NDArray[np.float64], sigma: float) -> Image.Image:
    """Add noise, the same to all channels, and make a picture of it."""
    noise = rng.normal(0, sigma, pixels.shape[:2])
    return Image.fromarray((pixels + noise[..., None]).clip(0, 255).astype(np.uint8))


def gradient(rng: Rng, width: int, height: int) -> Image.Image:
    """From one colour to another, in any direction."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * math.pi)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    along = (along - along.min()) / np.ptp(along)
    one, other = _levels(rng, 20, 235), _levels(rng, 20, 235)
    return _grained(rng, one + along[..., None] * (other - one), 0.5)


def dark(rng: Rng, width: int, height: int) -> Image.Image:
    """Night: one faint light in the black."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.1, 0.4)
    light = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / radius**2)
    return _grained(rng, _levels(rng, 2, 10) + light[..., None] * _levels(rng, 3, 30), 1.5)


def plain(rng: Rng, width: int, height: int) -> Image.Image:
    """One colour, and the noise of a sensor."""
    colour = np.broadcast_to(_levels(rng, 20, 235), (height, width, 3))
    return _grained(rng, colour, rng.uniform(2, 6))


def title_card(rng: Rng, width: int, height: int) -> Image.Image:
    """One to three lines of text in the middle of nothing."""
    is_dark = rng.random() < 0.8
    ground = np.broadcast_to(
        _levels(rng, *((0, 14) if is_dark else (240, 255))), (height, width, 3)
    )
    card = _grained(rng, ground, 1.0)
    draw = ImageDraw.Draw(card)
    font = ImageFont.load_default(size=height * rng.uniform(0.06, 0.16))
    y = height * rng.uniform(0.3, 0.6)
    for _ in range(int(rng.integers(1, 4))):
        line = " ".join(rng.choice(_WORDS, int(rng.integers(1, 5))))
        text = line.upper() if rng.random() < 0.5 else line
        draw.text(
            (width / 2, y), text, font=font, fill="white" if is_dark else "black", anchor="mm"
        )
        y += font.size * 1.5
    return card


FLAT_SCENES: Final[dict[str, Scene]] = {scene.__name__: scene for scene in (gradient, dark, plain)}


# Alterations


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))


def _encoded(frame: Image.Image, quality: int) -> Image.Image:
    encoded = BytesIO()
    frame.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded).convert("RGB")


def _altered(original: Clip, name: str, rng: Rng) -> Clip:
    altered = ALTERATIONS[name](original, rng)
    # Whatever is done to a video, it is encoded once more.
    return replace(altered, frame=_encoded(altered.frame, int(rng.integers(65, 90))))


def mirrored(clip: Clip, _rng: Rng) -> Clip:
    """Left and right exchanged."""
    return replace(clip, frame=ImageOps.mirror(clip.frame))


def sped_up(clip: Clip, _rng: Rng) -> Clip:
    """Five percent faster, as many frames."""
    return replace(
        clip,
        duration_ms=round(clip.duration_ms / 1.05),
        frames_per_s=clip.frames_per_s * 1.05,
    )


def logo(clip: Clip, rng: Rng) -> Clip:
    """The opaque mark of a channel in one of the corners."""
    frame = clip.frame.copy()
    wide, high = frame.size
    edge, margin = wide * rng.uniform(0.08, 0.14), wide * rng.uniform(0.02, 0.04)
    x = float(rng.choice((margin, wide - margin - edge)))
    y = float(rng.choice((margin, high - margin - edge)))
    hue = int(rng.integers(360))
    draw = ImageDraw.Draw(frame)
    fill = f"hsl({hue}, 85%, 45%)"
    draw.rounded_rectangle((x, y, x + edge, y + edge), radius=edge / 4, fill=fill)
    draw.text(
        (x + edge / 2, y + edge / 2),
        str(rng.choice(list("ABEKMRTX"))),
        font=ImageFont.load_default(size=edge * 0.8),
        fill="white",
        anchor="mm",
    )
    return replace(clip, frame=frame)


def colour_graded(clip: Clip, rng: Rng) -> Clip:
    """The look of a film: more contrast, lifted shadows, a tint, another saturation."""
    saturated = ImageEnhance.Color(clip.frame).enhance(rng.uniform(0.5, 1.5))
    level = np.asarray(saturated) / 255
    amount = rng.uniform(0.4, 1.0)
    curved = (1 - amount) * level + amount * level**2 * (3 - 2 * level)
    lift, tint = rng.uniform(0.0, 0.06), rng.uniform(0.85, 1.1, 3)
    graded = (lift + (1 - lift) * curved * tint).clip(0, 1)
    return replace(clip, frame=Image.fromarray((graded * 255).round().astype(np.uint8)))


def noisy(clip: Clip, rng: Rng) -> Clip:
    """Grain coarse enough for the thumbnail to show it, and then compressed."""
    frame = clip.frame.copy()
    frame.thumbnail(_NOISE_BOX_PX, Image.Resampling.LANCZOS)
    grained = _grained(rng, np.asarray(frame, np.float64), rng.uniform(8, 16))
    return replace(clip, frame=_encoded(grained, 40), bits_per_pixel=clip.bits_per_pixel * 1.2)


def _without_sides(clip: Clip, share: float, left: float = 0.5) -> Clip:
    """Keep a share of the width; `left` is how much of what is cut away lies on the left."""
    wide, high = clip.frame.size
    kept = round(wide * share)
    x = round((wide - kept) * left)
    return replace(
        clip, frame=clip.frame.crop((x, 0, x + kept, high)), width=_even(clip.width * share)
    )


def reframed(clip: Clip, rng: Rng) -> Clip:
    """The sides cut away until the aspect ratio is a quarter less: 16:9 becomes 4:3."""
    return _without_sides(clip, 0.75, left=rng.uniform(0.4, 0.6))


def _between_bars(
    clip: Clip, aspect: float, bars: Callable[[tuple[int, int]], Image.Image]
) -> Clip:
    """Set the clip into the middle of a wider frame, which `bars` makes in a size."""
    wide, high = clip.frame.size
    frame = bars((round(high * aspect), high))
    frame.paste(clip.frame, ((frame.width - wide) // 2, 0))
    return replace(clip, frame=frame, width=_even(clip.height * aspect))


def pillarboxed(clip: Clip, _rng: Rng) -> Clip:
    """Black bars beside it in a 16:9 frame; what is wider than 4:3 is cut to that first."""
    share = min(1.0, _NARROW * clip.height / clip.width)
    return _between_bars(
        _without_sides(clip, share), _WIDE, lambda size_px: Image.new("RGB", size_px)
    )


def blurred_bars(clip: Clip, _rng: Rng) -> Clip:
    """Itself, enlarged and blurred, beside it in a wider frame: 16:9, or 64:27 if it was that."""
    is_wide = clip.width > 1.5 * clip.height

    def backdrop(size_px: tuple[int, int]) -> Image.Image:
        filled = ImageOps.fit(clip.frame, size_px, Image.Resampling.BICUBIC)
        soft = filled.filter(ImageFilter.GaussianBlur(size_px[1] / 16))
        return ImageEnhance.Brightness(soft).enhance(0.8)

    return _between_bars(clip, _WIDE * _NARROW if is_wide else _WIDE, backdrop)


def rescaled(clip: Clip, rng: Rng) -> Clip:
    """72 % as wide and as high, and sharpened a little."""
    size_px = tuple(round(edge * 0.72) for edge in clip.frame.size)
    frame = clip.frame.resize((size_px[0], size_px[1]), Image.Resampling.BICUBIC)
    sharper = ImageFilter.UnsharpMask(radius=1, percent=int(rng.integers(40, 90)), threshold=0)
    return replace(
        clip,
        frame=frame.filter(sharper),
        width=_even(clip.width * 0.72),
        height=_even(clip.height * 0.72),
    )


def later_frame(clip: Clip, rng: Rng) -> Clip:
    """A thumbnail from a little later, the camera having moved; up to 80 ms longer or shorter.

    What comes into view at the edges is made up: it mirrors what is there.
    """
    wide, high = clip.frame.size
    margin = max(wide, high) // 20
    padding = ((margin, margin), (margin, margin), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(clip.frame), padding, mode="reflect"))
    scale = 1 + float(rng.choice((-1, 1))) * rng.uniform(0.01, 0.02)
    angle, shift = rng.uniform(0, 2 * math.pi), rng.uniform(0.01, 0.03)
    x = margin + wide / 2 + shift * wide * math.cos(angle)
    y = margin + high / 2 + shift * high * math.sin(angle)
    across, down = wide * scale / 2, high * scale / 2
    frame = padded.resize(
        clip.frame.size,
        Image.Resampling.BICUBIC,
        box=(x - across, y - down, x + across, y + down),
    )
    return replace(clip, frame=frame, duration_ms=clip.duration_ms + int(rng.integers(-80, 81)))


def re_encoded(clip: Clip, rng: Rng) -> Clip:
    """Compressed hard, at half the frame rate: up to one of the new frames longer."""
    frames_per_s = clip.frames_per_s / 2
    return replace(
        clip,
        frame=_encoded(clip.frame, 30),
        frames_per_s=frames_per_s,
        duration_ms=clip.duration_ms + round(rng.uniform(0, 1000 / frames_per_s)),
        bits_per_pixel=clip.bits_per_pixel * 0.4,
    )


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


# The decision misses most of these, of whatever they are copies.
_OUT_OF_REACH: Final = ("mirrored", "reframed", "pillarboxed", "blurred_bars")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a second labelled library in a folder.")
    parser.add_argument("folder", type=Path, help="where to write files.json and thumbs/")
    parser.add_argument(
        "--unrelated", action="store_true", help="no copies, and all videos 10 s long"
    )
    arguments = parser.parse_args()
    files = unrelated_library() if arguments.unrelated else second_library()
    save_folder(files, arguments.folder)
    print(f"{len(files)} files, {len(true_pairs(files))} true pairs: {arguments.folder}")


if __name__ == "__main__":
    main()
