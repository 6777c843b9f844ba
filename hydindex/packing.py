"""How pictures are packed: for the index, and for the way to another machine."""

import math
from typing import Final

import numpy as np
import zstandard

from hydindex.model import CoarsePicture, Packed, Picture, Prepared

# Level 3 makes real thumbnails as small as zlib does, and reads three times as fast.
_COMPRESSION_LEVEL: Final = 3
_COARSE_TYPE: Final = np.dtype("<u2")


def pack(prepared: Prepared) -> Packed:
    """Compress the picture's raw pixels, row by row, with Zstandard; take the coarse one as it is.

    That one is too small to gain from compression.
    """
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
    return Packed(
        average_hash=prepared.average_hash,
        pixels=compressor.compress(prepared.picture.tobytes()),
        sums=prepared.coarse.astype(_COARSE_TYPE).tobytes(),
    )


def unpack_picture(pixels: bytes, shape: tuple[int, ...]) -> Picture:
    """Get the picture back.

    Raises:
        ValueError: these bytes are no picture of this shape.
    """
    try:
        # A single damaged bit can claim terabytes: ask before making room for them.
        if zstandard.frame_content_size(pixels) != math.prod(shape):
            raise ValueError("the packed picture has another size")
        return np.frombuffer(zstandard.decompress(pixels), np.uint8).reshape(shape)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def coarse_size_bytes(shape: tuple[int, ...]) -> int:
    """Tell how many bytes a coarse picture of this shape takes."""
    return math.prod(shape) * _COARSE_TYPE.itemsize


def unpack_coarse(sums: bytes, shape: tuple[int, ...]) -> CoarsePicture:
    """Get the coarse picture back, or several at once from their bytes joined together.

    Raises:
        ValueError: these bytes are nothing of this shape.
    """
    return np.frombuffer(sums, _COARSE_TYPE).reshape(shape)
