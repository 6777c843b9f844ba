"""The average hash of a picture, and the files whose hashes are similar."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from hydindex.matching.candidates import CandidateRules, Positions
from hydindex.records.files import ComparableFiles

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


def similar_hashes(
    files: ComparableFiles, positions: Positions, rules: CandidateRules, hamming_max: int
) -> Iterator[Positions]:
    """Yield the positions of files with similar hashes for each of some files, ascending.

    Files far beyond the tolerance in duration are left out.
    """
    hashes = files.average_hash
    windows = rules.duration_ranges(files, positions)
    for position, window in zip(positions.tolist(), windows, strict=True):
        distances = np.bitwise_count(hashes[window] ^ hashes[position])
        yield window.start + np.flatnonzero(distances <= hamming_max)
