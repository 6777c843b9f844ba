"""Preprocess a thumbnail for the method `threshold`: trim, resize, grey, blur, equalize, crop."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.config.sections import PreprocessingSettings
from hydindex.records.pictures import Picture

if TYPE_CHECKING:  # slow to import, and the shape is needed without it
    from PIL import Image

# Each row's contrast is averaged with its neighbours', so that one odd row doesn't stop a trim.
_SMOOTHED_ROWS: Final = 5


def preprocess(picture: "Image.Image", settings: PreprocessingSettings) -> Picture:
    """Preprocess an RGB picture; return uint8 of `preprocessed_shape`."""
    from PIL import Image, ImageOps

    grey = np.asarray(picture.convert("L"))
    box = trim_box(grey, settings.trim_strength, settings.min_keep_fraction)
    picture = picture.crop(box).resize(settings.fixed_resize, Image.Resampling.BILINEAR)
    if settings.to_gray:
        picture = picture.convert("L")
    array = np.asarray(picture)
    if settings.pre_blur_sigma > 0:
        array = _blur(array, settings.pre_blur_sigma)
    if settings.hist_eq:
        array = np.asarray(ImageOps.equalize(Image.fromarray(array)))
    height_px, width_px = preprocessed_shape(settings)[:2]
    top = (array.shape[0] - height_px) // 2
    left = (array.shape[1] - width_px) // 2
    return array[top : top + height_px, left : left + width_px].copy()


def preprocessed_shape(settings: PreprocessingSettings) -> tuple[int, ...]:
    """Return the shape of every result: (height, width), or (height, width, 3) in colour."""
    width_px, height_px = settings.scored_size_px
    return (height_px, width_px) if settings.to_gray else (height_px, width_px, 3)


def _blur(array: Picture, sigma_px: float) -> Picture:
    from scipy.ndimage import gaussian_filter  # imports in 0.1 s

    return np.rint(gaussian_filter(array.astype(np.float32), sigma_px, axes=(0, 1))).astype(
        np.uint8
    )


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
