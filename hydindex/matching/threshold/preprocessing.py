"""Preprocess a thumbnail for the method `threshold`: trim, resize, grey, blur, equalize, crop."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.records.pictures import Picture

if TYPE_CHECKING:  # slow to import, and the settings are needed without it
    from PIL import Image

# Each row's contrast is averaged with its neighbours', so that one odd row doesn't stop a trim.
_SMOOTHED_ROWS: Final = 5


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The settings of `preprocess`; sizes are (width, height) in pixels."""

    size_px: tuple[int, int]
    scored_size_px: tuple[int, int]
    grey: bool
    blur_sigma_px: float
    equalize: bool
    trim_strength: float
    min_keep_fraction: float

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take the settings from a config."""
        settings = config.preprocessing
        return cls(
            size_px=settings.fixed_resize,
            scored_size_px=settings.scored_size_px,
            grey=settings.to_gray,
            blur_sigma_px=settings.pre_blur_sigma,
            equalize=settings.hist_eq,
            trim_strength=settings.trim_strength,
            min_keep_fraction=settings.min_keep_fraction,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every result: (height, width), or (height, width, 3) in colour."""
        width_px, height_px = self.scored_size_px
        return (height_px, width_px) if self.grey else (height_px, width_px, 3)


def preprocess(picture: "Image.Image", settings: Preprocessing) -> Picture:
    """Preprocess an RGB picture; return uint8 of `settings.shape`."""
    from PIL import Image, ImageOps

    grey = np.asarray(picture.convert("L"))
    box = trim_box(grey, settings.trim_strength, settings.min_keep_fraction)
    picture = picture.crop(box).resize(settings.size_px, Image.Resampling.BILINEAR)
    if settings.grey:
        picture = picture.convert("L")
    array = np.asarray(picture)
    if settings.blur_sigma_px > 0:
        array = _blurred(array, settings.blur_sigma_px)
    if settings.equalize:
        array = np.asarray(ImageOps.equalize(Image.fromarray(array)))
    return _central_part(array, settings.scored_size_px)


def _blurred(array: Picture, sigma_px: float) -> Picture:
    from scipy.ndimage import gaussian_filter  # imports in 0.1 s

    channels_stay_apart = (0,) * (array.ndim - 2)
    blurred = gaussian_filter(array.astype(np.float32), (sigma_px, sigma_px, *channels_stay_apart))
    rounded: Picture = np.rint(blurred).astype(np.uint8)
    return rounded


def _central_part(array: Picture, size_px: tuple[int, int]) -> Picture:
    """Crop the centre; `size_px` is (width, height)."""
    width_px, height_px = size_px
    top = (array.shape[0] - height_px) // 2
    left = (array.shape[1] - width_px) // 2
    return array[top : top + height_px, left : left + width_px].copy()


def trim_box(
    grey: NDArray[np.uint8], trim_strength: float, min_keep_fraction: float
) -> tuple[int, int, int, int]:
    """Return the box (left, top, right, bottom) of a (height, width) picture without flat borders.

    Columns and rows are kept from the first to the last whose contrast exceeds `trim_strength`
    times the largest. A direction that would keep less than `min_keep_fraction` isn't trimmed.
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
