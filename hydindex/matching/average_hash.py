"""The average hash: 64 bits that tell where a picture is brighter than its mean."""

import numpy as np
from PIL import Image

SIDE_PX = 8


def average_hash(picture: Image.Image, resize_px: tuple[int, int]) -> int:
    """Compute the average hash of an RGB picture.

    The picture is resized to `resize_px` (width, height) with bilinear interpolation, converted to
    grey (ITU-R 601) and averaged by area to 8x8. A bit is set where a pixel is above the mean of
    all 64. The first pixel (top left) is the highest bit.

    Source: N. Krawetz, "Looks Like It", 2011.
    """
    grey = picture.resize(resize_px, Image.Resampling.BILINEAR).convert("L")
    pixels = np.asarray(grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), np.float64)
    return int.from_bytes(np.packbits(pixels > pixels.mean()).tobytes(), "big")
