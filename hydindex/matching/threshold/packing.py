"""How pictures are packed: for the index, and for the way to another machine."""

import math
from typing import Final

import numpy as np
import zstandard

from hydindex.records.pictures import (
    FRAMES_A_MOMENT,
    MOMENTS,
    VIEW_PX,
    CoarsePicture,
    Packed,
    Picture,
    Prepared,
    SampledFrames,
)

# Level 3 makes real thumbnails as small as zlib does, and reads three times as fast.
_COMPRESSION_LEVEL: Final = 3
_COARSE_TYPE: Final = np.dtype("<u2")
_SHAPE_TYPE: Final = np.dtype("<f8")
_FRAMES_SHAPE: Final = (MOMENTS, FRAMES_A_MOMENT)


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


def pack_frames(frames: SampledFrames) -> tuple[bytes, bytes]:
    """Compress the views of a video's frames as a picture's pixels; take the shapes as they are."""
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
    shapes = frames.content_shapes.astype(_SHAPE_TYPE).tobytes()
    return compressor.compress(frames.views.tobytes()), shapes


def unpack_frames(views: bytes, content_shapes: bytes) -> SampledFrames:
    """Get the frames back.

    Raises:
        ValueError: these bytes are no frames.
    """
    return SampledFrames(
        views=unpack_picture(views, (*_FRAMES_SHAPE, 2, VIEW_PX, VIEW_PX)),
        content_shapes=np.frombuffer(content_shapes, _SHAPE_TYPE).reshape(_FRAMES_SHAPE),
    )
