"""The five levels of MS-SSIM, as sums of pixels: exact in integers.

Level 1 is the picture; each further level sums 2x2 values of the one before. Level 4, an eighth of
each side, is a file's coarse picture: quick to load, and enough to rule out most pairs.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.records.pictures import CoarsePicture, Picture

Sums = NDArray[np.uint8] | NDArray[np.uint16]
"""One level of many pictures: (files, channels, height, width)."""

_COARSE_DTYPE: Final = np.dtype("<u2")


def halve(sums: Sums) -> NDArray[np.uint16]:
    """Sum a level by 2x2.

    A row or column of zeros precedes an odd side, as in pytorch-msssim. Level 5 sums 256 pixels,
    and 256 * 255 still fits into 16 bits.
    """
    height, width = sums.shape[-2:]
    even: NDArray[Any] = sums
    if height % 2 or width % 2:
        even = np.pad(sums, [(0, 0), (0, 0), (height % 2, 0), (width % 2, 0)])
    rows = np.add(even[..., 0::2, :], even[..., 1::2, :], dtype=np.uint16)
    return rows[..., 0::2] + rows[..., 1::2]


def channels_first(pictures: Picture) -> NDArray[np.uint8]:
    """Return (files, height, width[, 3]) pictures as (files, channels, height, width): level 1."""
    return np.moveaxis(pictures.reshape(*pictures.shape[:3], -1), 3, 1)


def coarse_picture(picture: Picture) -> CoarsePicture:
    """Compute level 4 of one picture."""
    (level_4,) = halve(halve(halve(channels_first(picture[None]))))
    return np.ascontiguousarray(level_4)


def coarse_shape(picture_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the coarse picture of a picture."""
    return coarse_picture(np.zeros(picture_shape, np.uint8)).shape


def pack_coarse(coarse: CoarsePicture) -> bytes:
    """Return a coarse picture as raw little-endian uint16: too small to gain from compression."""
    return coarse.astype(_COARSE_DTYPE).tobytes()


def unpack_coarse(packed: bytes, shape: tuple[int, ...]) -> CoarsePicture:
    """Undo `pack_coarse`, for one picture or for several whose bytes are joined.

    Raises:
        ValueError: the bytes have another shape.
    """
    return np.frombuffer(packed, _COARSE_DTYPE).reshape(shape)
