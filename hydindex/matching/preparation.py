"""Turns a thumbnail as Hydrus serves it into what is compared: an average hash and an array."""

import io
import warnings
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hydindex.config.settings import Config
from hydindex.matching.average_hash import average_hash
from hydindex.matching.calibrated.signature import signature
from hydindex.matching.threshold.pyramid import coarse_picture
from hydindex.records.pictures import Picture, Prepared, Signature

_FORMATS: Final = ("JPEG", "PNG")  # what Hydrus serves
# A few bytes can claim to be a picture that fills the memory. Pillow would only warn of it.
_LARGEST_PX: Final = 1 << 24
Image.MAX_IMAGE_PIXELS = None
# Whether a picture can be used shows when it is decoded; no user can mend its metadata.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Rows are judged by the mean of their neighbourhood, so that one odd line does not stop a trim.
_SMOOTHED_ROWS: Final = 5


@dataclass(frozen=True, slots=True)
class Preparation:
    """How thumbnails are prepared; sizes are (width, height).

    `calibrated` is whether signatures are made of them, which of all the rest only depend on
    `hash_resize_px`.
    """

    hash_resize_px: tuple[int, int]
    size_px: tuple[int, int]
    scored_size_px: tuple[int, int]
    grey: bool
    blur_sigma_px: float
    equalize: bool
    trim_strength: float
    min_keep_fraction: float
    calibrated: bool

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take the settings from a config."""
        settings = config.preprocessing
        return cls(
            hash_resize_px=config.ahash.resize,
            size_px=settings.fixed_resize,
            scored_size_px=settings.scored_size_px,
            grey=settings.to_gray,
            blur_sigma_px=settings.pre_blur_sigma,
            equalize=settings.hist_eq,
            trim_strength=settings.trim_strength,
            min_keep_fraction=settings.min_keep_fraction,
            calibrated=config.decision.method == "calibrated",
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every picture prepared so: (height, width), or (height, width, 3)."""
        width_px, height_px = self.scored_size_px
        return (height_px, width_px) if self.grey else (height_px, width_px, 3)


def prepare(encoded: bytes, preparation: Preparation) -> Prepared | Signature | str:
    """Make a thumbnail (JPEG or PNG) comparable, or say why it cannot be.

    The calibrated decision looks at signatures and at nothing else.
    """
    try:
        picture = _decode(encoded)
    except UnidentifiedImageError:
        return "its thumbnail cannot be decoded: it is neither JPEG nor PNG"
    except Exception as error:  # decoders fail in many ways on what is no picture
        return f"its thumbnail cannot be decoded: {error}"
    if preparation.calibrated:
        return signature(picture, preparation.hash_resize_px)
    comparable = _comparable_picture(picture, preparation)
    return Prepared(
        average_hash=average_hash(picture, preparation.hash_resize_px),
        picture=comparable,
        coarse=coarse_picture(comparable),
    )


def _decode(encoded: bytes) -> Image.Image:
    """Decode to RGB; where a picture is transparent, black shines through."""
    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
        if picture.width * picture.height > _LARGEST_PX:
            raise ValueError(f"suspiciously large: {picture.width}x{picture.height} pixels")
        if picture.mode.startswith("I"):  # "I;16", or "I" in an older Pillow: a PNG of 16 bits grey
            return _high_bytes(picture)
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        transparent = picture.convert("RGBA")
    black = Image.new("RGBA", transparent.size, "black")
    return Image.alpha_composite(black, transparent).convert("RGB")


def _high_bytes(picture: Image.Image) -> Image.Image:
    """Scale 16 bits to 8; Pillow itself would clip nearly all of them to white."""
    values = np.asarray(picture)
    grey = (values >> 8).astype(np.uint8)
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 0
    return Image.fromarray(grey).convert("RGB")


def _comparable_picture(picture: Image.Image, preparation: Preparation) -> Picture:
    """Trim, resize, turn grey, blur, equalize and cut, in this order.

    Gives uint8 of `preparation.shape`.
    """
    grey = np.asarray(picture.convert("L"))
    box = trim_box(grey, preparation.trim_strength, preparation.min_keep_fraction)
    picture = picture.crop(box).resize(preparation.size_px, Image.Resampling.BILINEAR)
    if preparation.grey:
        picture = picture.convert("L")
    array = np.asarray(picture)
    if preparation.blur_sigma_px > 0:
        array = _blurred(array, preparation.blur_sigma_px)
    if preparation.equalize:
        array = np.asarray(ImageOps.equalize(Image.fromarray(array)))
    return _central_part(array, preparation.scored_size_px)


def _blurred(array: Picture, sigma_px: float) -> Picture:
    from scipy.ndimage import gaussian_filter  # a tenth of a second that a quiet night can save

    channels_stay_apart = (0,) * (array.ndim - 2)
    blurred = gaussian_filter(array.astype(np.float32), (sigma_px, sigma_px, *channels_stay_apart))
    rounded: Picture = np.rint(blurred).astype(np.uint8)
    return rounded


def _central_part(array: Picture, size_px: tuple[int, int]) -> Picture:
    """Cut out the middle; `size_px` is width and height."""
    width_px, height_px = size_px
    top = (array.shape[0] - height_px) // 2
    left = (array.shape[1] - width_px) // 2
    return array[top : top + height_px, left : left + width_px].copy()


def trim_box(
    grey: NDArray[np.uint8], trim_strength: float, min_keep_fraction: float
) -> tuple[int, int, int, int]:
    """Find what is left of a (height, width) picture without its flat borders.

    Gives left, top, right and bottom in pixels. Columns and rows are kept from the first to the
    last whose contrast exceeds `trim_strength` times the largest; a direction in which less than
    `min_keep_fraction` would be left is not trimmed at all.
    """
    left, right = _kept(grey.std(axis=0), trim_strength, min_keep_fraction)
    top, bottom = _kept(grey.std(axis=1), trim_strength, min_keep_fraction)
    return left, top, right, bottom


def _kept(
    contrast: NDArray[np.float64], trim_strength: float, min_keep_fraction: float
) -> tuple[int, int]:
    padded = np.pad(contrast, _SMOOTHED_ROWS // 2, mode="edge")
    smooth = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED_ROWS).mean(axis=1)
    (kept,) = np.nonzero(smooth > trim_strength * smooth.max())
    if len(kept) == 0:  # the whole picture is flat
        return 0, len(contrast)
    first, end = int(kept[0]), int(kept[-1]) + 1
    if end - first < min_keep_fraction * len(contrast):
        return 0, len(contrast)
    return first, end
