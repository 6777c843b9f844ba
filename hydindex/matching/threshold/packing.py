"""Pack prepared thumbnails for the store and for the way to another machine."""

import math
from typing import Any, Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from hydindex.records.pictures import CoarsePicture, Picture

# Level 3 makes real thumbnails as small as zlib does, and reads three times as fast.
_COMPRESSION_LEVEL: Final = 3
_COARSE_DTYPE: Final = np.dtype("<u2")


def compress(array: NDArray[Any]) -> bytes:
    """Compress an array's bytes, row by row, with Zstandard and a checksum."""
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
    return compressor.compress(array.tobytes())


def unpack_picture(packed: bytes, shape: tuple[int, ...]) -> Picture:
    """Undo `compress` for a uint8 array of this shape.

    Raises:
        ValueError: the bytes are damaged, or of another shape.
    """
    try:
        # A single damaged bit can claim terabytes: check the size before allocating.
        if zstandard.frame_content_size(packed) != math.prod(shape):
            raise ValueError("the packed picture has another size")
        return np.frombuffer(zstandard.decompress(packed), np.uint8).reshape(shape)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def pack_coarse(coarse: CoarsePicture) -> bytes:
    """Return a coarse picture as raw little-endian uint16: too small to gain from compression."""
    return coarse.astype(_COARSE_DTYPE).tobytes()


def coarse_size_bytes(shape: tuple[int, ...]) -> int:
    """Return how many bytes a coarse picture of this shape takes."""
    return math.prod(shape) * _COARSE_DTYPE.itemsize


def unpack_coarse(packed: bytes, shape: tuple[int, ...]) -> CoarsePicture:
    """Undo `pack_coarse`, for one picture or for several whose bytes are joined.

    Raises:
        ValueError: the bytes have another shape.
    """
    return np.frombuffer(packed, _COARSE_DTYPE).reshape(shape)
