"""Match pairs by (MS-)SSIM, in two steps.

The first step runs here, on the coarse pictures, and drops most pairs. The remaining pairs are
scored in blocks, on the full pictures, in threads or on other machines.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.batches import slices
from hydindex.common.errors import ConfigError
from hydindex.config.sections import Device
from hydindex.config.settings import Config
from hydindex.matching.matcher import BlockResult, FileIds, MatcherCounts, Scores
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.packing import coarse_size_bytes, unpack_coarse, unpack_picture
from hydindex.matching.threshold.pyramid import coarse_shape
from hydindex.matching.threshold.score_bounds import ScoreBounds
from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.store.file_store import FileStore, damaged_picture

PREPARED: Final = "prepared_picture"
COARSE: Final = "coarse_picture"

# Coarse pictures in memory at a time; a file may have a hundred thousand candidates. With the
# default settings this is enough for 10,000 pairs.
_COARSE_BYTES: Final = 16 << 20
_MIN_COARSE_PAIRS: Final = 256
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
        scores, counts = self._score() if len(self.first) else (np.empty(0), MatcherCounts())
        (rows,) = np.nonzero(scores >= self.threshold)
        return BlockResult(
            matches=[
                ScoredPair(FilePair.of(int(first_ids[row]), int(second_ids[row])), float(score))
                for row, score in zip(rows, scores[rows], strict=True)
            ],
            counts=self.counts + counts,
            scores=Scores(first_ids, second_ids, scores),
        )

    def _score(self) -> tuple[NDArray[np.float64], MatcherCounts]:
        """Return each pair's score; below the threshold it may be an upper bound."""
        # torch takes seconds to import: only scoring pays for it.
        from hydindex.matching.threshold.ms_ssim import FINE_LEVELS, fine_levels
        from hydindex.matching.threshold.ssim import ssim

        device = _available(self.device)
        pictures = np.stack([self._picture(position) for position in range(len(self.packed))])
        first, second, threshold = self.first, self.second, self.threshold
        counts = MatcherCounts()
        if self.bounds is None:
            bounds = ssim(pictures, first, second, device)
            exact_score = reference.ssim
        else:
            bounds = fine_levels(pictures, first, second, self.bounds, threshold, device)
            exact_score = reference.ms_ssim
            counts = MatcherCounts.of_levels(FINE_LEVELS, bounds.entered)
        scores = bounds.scores
        (too_close,) = np.nonzero(bounds.needs_reference(threshold))
        for row in too_close.tolist():
            scores[row] = exact_score(pictures[first[row]], pictures[second[row]])
        return scores, counts + MatcherCounts(confirmed_by_library=len(too_close))

    def _picture(self, position: int) -> NDArray[np.uint8]:
        try:
            return unpack_picture(self.packed[position], self.shape)
        except ValueError:
            raise damaged_picture(int(self.file_ids[position])) from None


class ThresholdMatcher:
    """See `hydindex.matching.matcher.Matcher`. `shape` is that of every prepared picture."""

    def __init__(self, files: FileStore, config: Config, shape: tuple[int, ...]) -> None:
        self._files = files
        self._threshold = config.similarity_threshold
        self._use_ms_ssim = config.preprocessing.use_ms_ssim
        self._device: Device = config.compare.device
        self._shape = shape
        self._coarse_shape = coarse_shape(shape)

    def preload(self) -> None:
        """Import torch: beside busy threads that takes twice as long, and slows them down."""
        import_module("hydindex.matching.threshold.ms_ssim")

    def blocks(self, first: FileIds, second: FileIds) -> Iterator[PairBlock]:
        """Drop the pairs that the coarse levels rule out, and load the rest."""
        if not self._use_ms_ssim:
            yield from self._load(first, second, None, MatcherCounts())
            return
        pairs_at_once = _COARSE_BYTES // coarse_size_bytes(self._coarse_shape)
        for part in slices(len(first), max(_MIN_COARSE_PAIRS, pairs_at_once)):
            bounds, counts = self._coarse_bounds(first[part], second[part])
            (rows,) = np.nonzero(bounds.may_match(self._threshold))
            yield from self._load(first[part][rows], second[part][rows], bounds[rows], counts)

    def _coarse_bounds(self, first: FileIds, second: FileIds) -> tuple[ScoreBounds, MatcherCounts]:
        from hydindex.matching.threshold.ms_ssim import COARSE_LEVELS, coarse_levels

        file_ids, first_at, second_at = files_of_pairs(first, second)
        _, packed = self._files.with_pictures(file_ids, COARSE)
        size_bytes = coarse_size_bytes(self._coarse_shape)
        for file_id, each in zip(file_ids.tolist(), packed, strict=True):
            if len(each) != size_bytes:
                raise damaged_picture(file_id)
        pictures = unpack_coarse(b"".join(packed), (len(file_ids), *self._coarse_shape))
        bounds = coarse_levels(pictures, first_at, second_at, self._threshold)
        return bounds, MatcherCounts.of_levels(COARSE_LEVELS, bounds.entered)

    def _load(
        self, first: FileIds, second: FileIds, bounds: ScoreBounds | None, counts: MatcherCounts
    ) -> Iterator[PairBlock]:
        """Load pairs in blocks; at least one, which carries the counts."""
        for part in block_slices(first, second, math.prod(self._shape)):
            file_ids, first_at, second_at = files_of_pairs(first[part], second[part])
            _, packed = self._files.with_pictures(file_ids, PREPARED)
            yield PairBlock(
                file_ids=file_ids,
                packed=packed,
                shape=self._shape,
                first=first_at,
                second=second_at,
                bounds=None if bounds is None else bounds[part],
                threshold=self._threshold,
                device=self._device,
                counts=counts,
            )
            counts = MatcherCounts()


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


def _available(name: Device) -> str:
    import torch

    # By default cuDNN convolves with 10 bits of precision: too few to subtract variances.
    torch.backends.cudnn.allow_tf32 = False
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device, is_there in available.items() if is_there), "cpu")
    if not available.get(name, True):
        raise ConfigError(
            f"compare.device is {name}, but torch finds no such device",
            "Set compare.device to auto, or install a torch that supports it.",
        )
    return name
