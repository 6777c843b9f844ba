"""Scores pairs of indexed files in two sieves, and gives those that match.

The first works here, on the coarse pictures of MS-SSIM, and drops most pairs. What is left is
scored in blocks, on the full pictures, in other threads or on other machines.
"""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.errors import ConfigError
from hydindex.config.settings import Config
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.matching.preparation import Preparation
from hydindex.matching.threshold.blocks import (
    BlockScores,
    DamagedPictureError,
    NoSuchDeviceError,
    PairBlock,
    block_rows,
    score_block,
)
from hydindex.matching.threshold.packing import coarse_size_bytes
from hydindex.matching.threshold.pyramid import coarse_shape
from hydindex.matching.threshold.score_bounds import ScoreBounds
from hydindex.matching.workers import Workers, scoring_workers
from hydindex.pipeline.run_report import MatcherCounts
from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.store.file_store import FileStore, no_sound_picture

log = logging.getLogger(__name__)

# Coarse pictures in memory at a time; a file may have a hundred thousand rivals. As shipped, this
# is enough for 10,000 pairs.
_COARSE_BYTES: Final = 16 << 20
_FEWEST_SIFTED_AT_ONCE: Final = 256

FileIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PendingBlock:
    """A block on its way: its pairs by the ids of their files, and its scores to come."""

    first: FileIds
    second: FileIds
    file_ids: FileIds
    scores: Future[BlockScores]


class ThresholdMatcher(ExitStack):
    """Scores pairs for one run; a context, because it may hold threads or a cluster."""

    def __init__(self, files: FileStore, config: Config, counts: MatcherCounts) -> None:
        super().__init__()
        self._files = files
        self._config = config
        self._counts = counts
        self._threshold = config.similarity_threshold
        self._in_levels = config.preprocessing.use_ms_ssim
        self._shape = Preparation.of(config).shape
        self._coarse_shape = coarse_shape(self._shape)
        self._started: Workers | None = None

    def get_ready(self) -> None:
        """Load torch, because there will be something to score soon.

        Beside the threads that fetch and prepare it would take twice as long, and slow them down.
        """
        import_module("hydindex.matching.threshold.ms_ssim")

    def submit(self, first: FileIds, second: FileIds) -> list[PendingBlock]:
        """Drop the pairs that the coarse levels rule out, and begin to score the rest."""
        fitting = _COARSE_BYTES // coarse_size_bytes(self._coarse_shape)
        at_once = max(_FEWEST_SIFTED_AT_ONCE, fitting)
        parts = [slice(start, start + at_once) for start in range(0, len(first), at_once)]
        return [block for part in parts for block in self._submit_part(first[part], second[part])]

    def is_done(self, block: PendingBlock) -> bool:
        """Tell whether a block has been scored."""
        return block.scores.done()

    def matches(self, block: PendingBlock) -> list[ScoredPair]:
        """Wait for the scores of a block, and give its pairs that match.

        Raises:
            IndexUnusable: the picture of one of its files is damaged.
            ConfigError: `compare.device` names a device that is not there.
        """
        try:
            result = block.scores.result()
        except DamagedPictureError as error:
            raise no_sound_picture(int(block.file_ids[error.args[0]])) from None
        except NoSuchDeviceError as error:
            raise ConfigError(
                f"compare.device is {error}, and torch finds no such device here",
                "Put auto into compare.device, or install a torch that supports it.",
            ) from None
        if self._in_levels:
            from hydindex.matching.threshold.ms_ssim import FINE_LEVELS

            self._counts.count_levels(FINE_LEVELS, result.entered)
        self._counts.settled += result.settled
        self._log_scores(block, result)
        (rows,) = np.nonzero(result.scores >= self._threshold)
        return [
            ScoredPair(FilePair.of(int(block.first[row]), int(block.second[row])), float(score))
            for row, score in zip(rows, result.scores[rows], strict=True)
        ]

    def _submit_part(self, first: FileIds, second: FileIds) -> Iterator[PendingBlock]:
        standing = None
        if self._in_levels:
            standing = self._coarse_standing(first, second)
            (rows,) = np.nonzero(standing.may_match(self._threshold))
            first, second, standing = first[rows], second[rows], standing[rows]
        for part in block_rows(first, second, math.prod(self._shape)):
            yield self._submit_block(
                first[part], second[part], None if standing is None else standing[part]
            )

    def _coarse_standing(self, first: FileIds, second: FileIds) -> ScoreBounds:
        from hydindex.matching.threshold.ms_ssim import COARSE_LEVELS, coarse_levels

        file_ids, first_at, second_at = files_of_pairs(first, second)
        pictures = self._files.coarse_pictures(file_ids, self._coarse_shape)
        standing = coarse_levels(pictures, first_at, second_at, self._threshold)
        self._counts.count_levels(COARSE_LEVELS, standing.entered)
        return standing

    def _submit_block(
        self, first: FileIds, second: FileIds, standing: ScoreBounds | None
    ) -> PendingBlock:
        workers = self._workers()
        workers.wait_for_room()
        file_ids, first_at, second_at = files_of_pairs(first, second)
        block = PairBlock(
            packed=self._files.packed_pictures(file_ids),
            shape=self._shape,
            first=first_at,
            second=second_at,
            standing=standing,
            threshold=self._threshold,
            device=self._config.compare.device,
        )
        return PendingBlock(first, second, file_ids, workers.submit(score_block, block))

    def _workers(self) -> Workers:
        if self._started is None:
            self._started = self.enter_context(scoring_workers(self._config))
        return self._started

    def _log_scores(self, block: PendingBlock, result: BlockScores) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        for first, second, score in zip(block.first, block.second, result.scores, strict=True):
            a, b = self._files.hashes((int(first), int(second)))
            left_early = self._in_levels and score < self._threshold
            log.debug("score %s%.4f: %s %s", "at most " if left_early else "", score, a, b)
