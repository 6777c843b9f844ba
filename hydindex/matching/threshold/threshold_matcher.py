"""Match pairs by the (MS-)SSIM of their full pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.packed_arrays import unpack_array
from hydindex.config.sections import Device
from hydindex.matching.blocks import BlockResult, FileIds, MatcherCounts
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.score_bounds import ScoreBounds
from hydindex.matching.torch_device import torch_device
from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.store.file_store import damaged_picture

PREPARED: Final = "prepared_picture"
COARSE: Final = "coarse_picture"

# Scoring takes about twelve times the memory of the pictures. Larger blocks share more of the work
# that is done once per file.
_BLOCK_PICTURE_BYTES: Final = 6 << 20
_BLOCK_PAIRS: Final = 4096


@dataclass(frozen=True, slots=True)
class PairBlock:
    """Packed pictures of some files, and the pairs to score by the positions of their files.

    `bounds` are those after the coarse levels of MS-SSIM; None for SSIM. `counts` are those of the
    coarse step, reported once with the first block that it yields.
    """

    file_ids: FileIds
    packed: list[bytes]
    shape: tuple[int, ...]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    bounds: ScoreBounds | None
    threshold: float
    device: Device
    counts: MatcherCounts

    def match(self) -> BlockResult:
        """Score the pairs; return those that reach the threshold.

        Raises:
            IndexUnusable: the picture of a file is damaged.
            ConfigError: `compare.device` isn't available.
        """
        first_ids, second_ids = self.file_ids[self.first], self.file_ids[self.second]
        if len(self.first):
            scores, counts = self._score()
        else:
            scores, counts = np.empty(0), MatcherCounts()
        (rows,) = np.nonzero(scores >= self.threshold)
        return BlockResult(
            matches=[
                ScoredPair(FilePair.of(int(first_ids[row]), int(second_ids[row])), float(score))
                for row, score in zip(rows, scores[rows], strict=True)
            ],
            counts=self.counts + counts,
            first=first_ids,
            second=second_ids,
            scores=scores,
        )

    def _score(self) -> tuple[NDArray[np.float64], MatcherCounts]:
        """Return each pair's score; below the threshold it may be an upper bound."""
        # torch takes seconds to import: only scoring pays for it.
        from hydindex.matching.threshold.ms_ssim import fine_levels
        from hydindex.matching.threshold.ssim import ssim

        device = torch_device(self.device)
        pictures = self._unpack()
        first, second, threshold = self.first, self.second, self.threshold
        if self.bounds is None:
            bounds = ssim(pictures, first, second, device)
            exact_score = reference.ssim
        else:
            bounds = fine_levels(pictures, first, second, self.bounds, threshold, device)
            exact_score = reference.ms_ssim
        scores = bounds.scores
        (too_close,) = np.nonzero(bounds.needs_reference(threshold))
        for row in too_close.tolist():
            scores[row] = exact_score(pictures[first[row]], pictures[second[row]])
        return scores, MatcherCounts(bounds.pairs_per_level, confirmed_by_library=len(too_close))

    def _unpack(self) -> NDArray[np.uint8]:
        pictures = np.empty((len(self.packed), *self.shape), np.uint8)
        for position, packed in enumerate(self.packed):
            try:
                pictures[position] = unpack_array(packed, self.shape)
            except ValueError:
                raise damaged_picture(int(self.file_ids[position])) from None
        return pictures


def block_slices(first: FileIds, second: FileIds, picture_bytes: int) -> Iterator[slice]:
    """Divide pairs into blocks with a bounded number of files and pairs: at least one block."""
    max_files = max(2, _BLOCK_PICTURE_BYTES // picture_bytes)
    start, files = 0, set[int]()
    for row, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        added = (a not in files) + (b not in files)
        if len(files) + added > max_files or row - start == _BLOCK_PAIRS:
            yield slice(start, row)
            start, files = row, set()
        files.update((a, b))
    yield slice(start, len(first))
