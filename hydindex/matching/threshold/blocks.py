"""The unit of work of scoring: some pictures, and which of them to compare.

Scoring a block is a pure function of what the block holds, so it can be done in any thread, and on
any machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.config.sections import Device
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.packing import unpack_picture
from hydindex.matching.threshold.score_bounds import ScoreBounds

# Scoring takes some twelve times as much memory as the pictures; and what belongs to one file is
# computed once a block, so larger blocks share more.
_PICTURE_BYTES: Final = 6 << 20
_PAIRS: Final = 4096


@dataclass(frozen=True, slots=True)
class PairBlock:
    """Pictures, packed (see `hydindex.matching.threshold.packing`), and pairs of them by their positions.

    `standing` is that of the pairs after the coarse levels of MS-SSIM; SSIM has none.
    """

    packed: list[bytes]
    shape: tuple[int, ...]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    standing: ScoreBounds | None
    threshold: float
    device: Device


@dataclass(frozen=True, slots=True)
class BlockScores:
    """What came of a block.

    `scores` float64 (pairs,): of a pair below the threshold it may be an upper bound that lies
    below it, too. `entered`: for how many pairs each level was computed. `settled`: how many pairs
    were so near to the threshold that the library had to score them.
    """

    scores: NDArray[np.float64]
    entered: tuple[int, ...]
    settled: int


class DamagedPictureError(Exception):
    """A picture of a block cannot be unpacked; the argument is its position."""


class NoSuchDeviceError(Exception):
    """torch has no such device here; the argument is its name."""


def block_rows(
    first: NDArray[np.int64], second: NDArray[np.int64], picture_bytes: int
) -> Iterator[slice]:
    """Divide pairs, given by their files, into blocks of a bounded number of files and pairs."""
    most_files = max(2, _PICTURE_BYTES // picture_bytes)
    start, files = 0, set[int]()
    for row, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        joined = (a not in files) + (b not in files)
        if len(files) + joined > most_files or row - start == _PAIRS:
            yield slice(start, row)
            start, files = row, set()
        files.update((a, b))
    if start < len(first):
        yield slice(start, len(first))


def score_block(block: PairBlock) -> BlockScores:
    """Score the pairs of a block.

    Raises:
        DamagedPictureError, NoSuchDeviceError: it cannot be done.
    """
    # torch takes seconds to import: only who scores pays for it.
    from hydindex.matching.threshold.ms_ssim import fine_levels
    from hydindex.matching.threshold.ssim import ssim

    device = _device(block.device)
    pictures = np.stack([_unpacked(block, position) for position in range(len(block.packed))])
    first, second, threshold = block.first, block.second, block.threshold
    if block.standing is None:
        standing = ssim(pictures, first, second, device)
        judge = reference.ssim
    else:
        standing = fine_levels(pictures, first, second, block.standing, threshold, device)
        judge = reference.ms_ssim

    scores = standing.scores
    (doubtful,) = np.nonzero(standing.in_doubt(threshold))
    for row in doubtful.tolist():
        scores[row] = judge(pictures[first[row]], pictures[second[row]])
    return BlockScores(scores, standing.entered, len(doubtful))


def _unpacked(block: PairBlock, position: int) -> NDArray[np.uint8]:
    try:
        return unpack_picture(block.packed[position], block.shape)
    except ValueError:
        raise DamagedPictureError(position) from None


def _device(name: Device) -> str:
    import torch

    # By default cuDNN convolves with 10 bits of precision: too few to subtract variances.
    torch.backends.cudnn.allow_tf32 = False
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device, is_there in available.items() if is_there), "cpu")
    if not available.get(name, True):
        raise NoSuchDeviceError(name)
    return name
