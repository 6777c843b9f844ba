"""Pictures to fit the descriptor to, and the alterations that it should ignore.

Any folders of pictures serve. The shipped descriptor was fitted to those of these Debian packages,
unpacked: gnome-backgrounds, mate-backgrounds, lomiri-wallpapers-16.04, lomiri-wallpapers-20.04,
plasma-workspace-wallpapers, ukui-wallpapers, sway-backgrounds, openclipart-png, renpy-demo,
tuxpaint-stamps-default, wesnoth-1.16-data and stellarium-data (Debian 12).
"""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Rng = np.random.Generator
Alteration = Callable[[Image.Image, Rng], Image.Image]

# Smaller files are icons; a picture with this many pixels on its longer side yields tiles too.
_MIN_FILE_BYTES: Final = 20_000
_TILED_PX: Final = 1400
_TILE_COLUMNS, _TILE_ROWS = 3, 2
_LONGER_SIDE_PX: Final = 480
_BACKGROUND_SIZES_PX: Final = ((480, 270), (480, 360), (270, 480), (400, 400))
_THUMBNAIL_PX: Final = (200, 200)
_ASPECT_RATIOS: Final = (9 / 16, 1.0, 4 / 3, 16 / 9, 2.35)
_WORDS: Final = (
    *("the", "of", "and", "it", "was", "you", "all", "along", "who", "is", "there", "clips", "tv"),
    *("HD", "free", "episode", "one", "night", "watch", "now", "love", "part", "best", "moments"),
)


def load_pictures(folders: list[Path], per_folder: int, rng: Rng) -> Iterator[Image.Image]:
    """Yield pictures: whole ones, tiles of large ones, and transparent ones on a background.

    At most `per_folder` files of each folder are used, so that none outweighs the others.
    """
    files = []
    for folder in folders:
        in_folder = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
            and path.is_file()
            and not path.is_symlink()
            and path.stat().st_size >= _MIN_FILE_BYTES
        )
        files += [in_folder[n] for n in rng.permutation(len(in_folder))[:per_folder]]
    for position in rng.permutation(len(files)):
        with Image.open(files[position]) as picture:
            if picture.mode in ("P", "LA", "RGBA"):
                yield _on_background(picture.convert("RGBA"), rng)
            else:
                yield from _whole_and_tiles(picture.convert("RGB"))


def _whole_and_tiles(picture: Image.Image) -> Iterator[Image.Image]:
    picture.thumbnail((_TILED_PX, _TILED_PX))
    width, height = picture.size
    if max(width, height) == _TILED_PX:
        for column in range(_TILE_COLUMNS):
            for row in range(_TILE_ROWS):
                yield picture.crop(
                    (
                        column * width // _TILE_COLUMNS,
                        row * height // _TILE_ROWS,
                        (column + 1) * width // _TILE_COLUMNS,
                        (row + 1) * height // _TILE_ROWS,
                    )
                )
    picture.thumbnail((_LONGER_SIDE_PX, _LONGER_SIDE_PX))
    yield picture


def _on_background(picture: Image.Image, rng: Rng) -> Image.Image:
    background = _background(_BACKGROUND_SIZES_PX[rng.integers(len(_BACKGROUND_SIZES_PX))], rng)
    side = rng.uniform(0.4, 1.0) * min(background.size)
    picture.thumbnail((side, side))
    x = int(rng.uniform(0, background.width - picture.width + 1))
    y = int(rng.uniform(0, background.height - picture.height + 1))
    background.paste(picture, (x, y), picture)
    return background


def altered_copies(picture: Image.Image, count: int, side_px: int, rng: Rng) -> NDArray[np.uint8]:
    """Return thumbnails of a picture and of `count - 1` altered copies, RGB, squashed to squares.

    Copies have one or two alterations: (count, side, side, 3).
    """
    thumbnails = [_thumbnail(picture, side_px, rng)]
    for _ in range(count - 1):
        copy = picture
        for alteration in rng.choice(len(ALTERATIONS), int(rng.integers(1, 3)), replace=False):
            copy = ALTERATIONS[alteration](copy, rng)
        thumbnails.append(_thumbnail(copy, side_px, rng))
    return np.stack(thumbnails)


def _thumbnail(picture: Image.Image, side_px: int, rng: Rng) -> NDArray[np.uint8]:
    thumbnail = picture.copy()
    thumbnail.thumbnail(_THUMBNAIL_PX)
    encoded = compressed(thumbnail, int(rng.integers(70, 90)))
    return np.asarray(encoded.resize((side_px, side_px), Image.Resampling.BICUBIC))


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG and decode again."""
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded).convert("RGB")


def _colour(rng: Rng) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _background(size_px: tuple[int, int], rng: Rng) -> Image.Image:
    """Fill with one colour, or with a gradient of two."""
    if rng.random() < 0.4:
        return Image.new("RGB", size_px, _colour(rng))
    mask = Image.linear_gradient("L").resize(size_px)
    if rng.random() < 0.5:
        mask = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90).resize(size_px)
    return Image.composite(
        Image.new("RGB", size_px, _colour(rng)), Image.new("RGB", size_px, _colour(rng)), mask
    )


def _low_quality(picture: Image.Image, rng: Rng) -> Image.Image:
    return compressed(picture, int(rng.integers(10, 60)))


def _mirrored(picture: Image.Image, _rng: Rng) -> Image.Image:
    return ImageOps.mirror(picture)


def _cropped_to(picture: Image.Image, aspect_ratio: float, place: float) -> Image.Image:
    width, height = picture.size
    if width / height > aspect_ratio:
        across = max(1, round(height * aspect_ratio))
        left = round((width - across) * place)
        return picture.crop((left, 0, left + across, height))
    down = max(1, round(width / aspect_ratio))
    top = round((height - down) * place)
    return picture.crop((0, top, width, top + down))


def _reframed(picture: Image.Image, rng: Rng) -> Image.Image:
    return _cropped_to(picture, float(rng.choice(_ASPECT_RATIOS[:4])), rng.uniform(0.35, 0.65))


def _zoomed(picture: Image.Image, rng: Rng) -> Image.Image:
    """Crop a part: enlarged, or another moment of a moving camera."""
    share = rng.uniform(0.75, 0.97)
    width, height = picture.size
    left, top = rng.uniform(0, width * (1 - share)), rng.uniform(0, height * (1 - share))
    return picture.crop((int(left), int(top), int(left + width * share), int(top + height * share)))


def _in_box(picture: Image.Image, background: Image.Image) -> Image.Image:
    """Fit into the middle of a background."""
    fitted = ImageOps.contain(picture, background.size)
    background.paste(
        fitted, ((background.width - fitted.width) // 2, (background.height - fitted.height) // 2)
    )
    return background


def _box_px(rng: Rng) -> tuple[int, int]:
    aspect_ratio = float(rng.choice(_ASPECT_RATIOS))
    if aspect_ratio > 1:
        return _LONGER_SIDE_PX, round(_LONGER_SIDE_PX / aspect_ratio)
    return round(_LONGER_SIDE_PX * aspect_ratio), _LONGER_SIDE_PX


def _on_blurred_bars(picture: Image.Image, rng: Rng) -> Image.Image:
    width, height = _box_px(rng)
    background = _cropped_to(picture, width / height, 0.5).resize((width, height))
    background = background.filter(ImageFilter.GaussianBlur(rng.uniform(8, 25)))
    return _in_box(picture, ImageEnhance.Brightness(background).enhance(rng.uniform(0.5, 1)))


def _with_bars(picture: Image.Image, rng: Rng) -> Image.Image:
    colour = (0, 0, 0) if rng.random() < 0.8 else _colour(rng)
    return _in_box(picture, Image.new("RGB", _box_px(rng), colour))


def _in_frame(picture: Image.Image, rng: Rng) -> Image.Image:
    scale = rng.uniform(1.08, 1.5)
    frame = _background((round(picture.width * scale), round(picture.height * scale)), rng)
    place = rng.uniform(0.2, 0.8, 2)
    x, y = (np.subtract(frame.size, picture.size) * place).astype(int).tolist()
    frame.paste(picture, (x, y))
    return frame


def _with_text(picture: Image.Image, rng: Rng) -> Image.Image:
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    for _ in range(rng.integers(1, 4)):
        draw.text(
            (rng.uniform(0, width * 0.6), rng.uniform(0, height * 0.92)),
            " ".join(rng.choice(_WORDS, rng.integers(1, 6))),
            font=ImageFont.load_default(size=max(8, int(height * rng.uniform(0.04, 0.13)))),
            fill=(255, 255, 255) if rng.random() < 0.6 else _colour(rng),
            stroke_width=int(rng.integers(0, 3)),
            stroke_fill=(0, 0, 0),
        )
    return picture


def _graded(picture: Image.Image, rng: Rng) -> Image.Image:
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.6, 1.5))
    picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.6, 1.4))
    picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.0, 1.8))
    hue, saturation, value = picture.convert("HSV").split()
    turn = int(rng.integers(-20, 21))
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _noisy(picture: Image.Image, rng: Rng) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    noise = rng.normal(0, rng.uniform(4, 25), pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def _blurred(picture: Image.Image, rng: Rng) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))


def _rotated(picture: Image.Image, rng: Rng) -> Image.Image:
    return picture.rotate(rng.uniform(-6, 6), Image.Resampling.BILINEAR)


def _stretched(picture: Image.Image, rng: Rng) -> Image.Image:
    return picture.resize((max(8, int(picture.width * rng.uniform(0.75, 1.33))), picture.height))


ALTERATIONS: Final[tuple[Alteration, ...]] = (
    _low_quality,
    _mirrored,
    _reframed,
    _reframed,  # twice: there are four shapes
    _zoomed,
    _zoomed,
    _on_blurred_bars,
    _with_bars,
    _in_frame,
    _with_text,
    _with_text,
    _graded,
    _noisy,
    _blurred,
    _rotated,
    _stretched,
)
