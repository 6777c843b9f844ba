"""Judges pairs of indexed files by the calibrated decision."""

import logging
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.frames.verification import doubtful_band, is_doubtful
from hydindex.matching.calibrated.features import (
    Features,
    Positions,
    cheap_features,
    remaining_features,
)
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.calibrated.probability import may_reach, probabilities
from hydindex.matching.candidates import CandidateRules
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.matching.workers import own_threads
from hydindex.pipeline.run_report import MatcherCounts
from hydindex.records.pairs import FilePair, ScoredPair
from hydindex.records.pictures import SignatureBatch
from hydindex.store.file_store import FileStore

log = logging.getLogger(__name__)

# Signatures in memory at a time, each worked on at a few kilobytes.
_PAIRS_AT_ONCE: Final = 2048

FileIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weighed:
    """How many pairs of a block passed the gate; which of them may match, and their evidence."""

    passed: int
    rows: Positions
    evidence: Features


@dataclass(frozen=True, slots=True)
class PendingBlock:
    """A block on its way: its pairs by the ids of their files, and the evidence to come."""

    first: FileIds
    second: FileIds
    weighing: Future[Weighed]


class CalibratedMatcher(ExitStack):
    """Weighs pairs for one run; a context, because it holds threads."""

    def __init__(self, files: FileStore, config: Config, counts: MatcherCounts) -> None:
        super().__init__()
        self._threads = self.enter_context(own_threads())
        self._files = files
        self._tolerance = CandidateRules.of(config).aspect_ratio_tolerance
        self._model = load_model(config.decision.model)
        self._min_probability = config.decision.min_probability
        self._looks_again = config.frames.enabled
        lowest, _ = doubtful_band(self._min_probability)
        self._least = min(self._min_probability, lowest if self._looks_again else 1.0)
        self._counts = counts

    def get_ready(self) -> None:
        """Nothing takes long to load."""

    def submit(self, first: FileIds, second: FileIds) -> list[PendingBlock]:
        """Begin to compute_features pairs, a few at a time: a file may have a hundred thousand rivals."""
        parts = [
            slice(start, start + _PAIRS_AT_ONCE) for start in range(0, len(first), _PAIRS_AT_ONCE)
        ]
        return [self._submit_part(first[part], second[part]) for part in parts]

    def is_done(self, block: PendingBlock) -> bool:
        """Tell whether a block has been weighed."""
        return block.weighing.done()

    def matches(self, block: PendingBlock) -> list[ScoredPair]:
        """Wait for the evidence of a block; give its pairs that match, and the doubtful ones."""
        weighed = block.weighing.result()
        first, second = block.first[weighed.rows], block.second[weighed.rows]
        evidence = weighed.evidence
        likely = probabilities(evidence, self._model)
        self._counts.weighed += weighed.passed
        self._log(first, second, likely)
        doubtful = np.zeros(len(likely), np.bool_)
        if self._looks_again:  # at videos: still images are nothing but their pictures
            doubtful = is_doubtful(likely, self._min_probability) & ~np.isnan(
                evidence.duration_difference_ms
            )
        (rows,) = np.nonzero((likely >= self._min_probability) | doubtful)
        return [
            ScoredPair(
                FilePair.of(int(first[row]), int(second[row])),
                float(likely[row]),
                evidence.of_pair(row),
                is_doubtful=bool(doubtful[row]),
            )
            for row in rows.tolist()
        ]

    def _submit_part(self, first: FileIds, second: FileIds) -> PendingBlock:
        self._threads.wait_for_room()
        file_ids, first_at, second_at = files_of_pairs(first, second)
        signed = self._files.signed(file_ids)
        weighing = self._threads.submit(self._weigh, signed, first_at, second_at)
        return PendingBlock(first, second, weighing)

    def _weigh(self, files: SignatureBatch, first: Positions, second: Positions) -> Weighed:
        seen = cheap_features(
            files,
            first,
            second,
            aspect_ratio_tolerance=self._tolerance,
            gate=self._model.gate,
        )
        promising = seen[may_reach(seen, self._model, self._least)]
        return Weighed(len(seen), promising.rows, remaining_features(promising))

    def _log(self, first: FileIds, second: FileIds, likely: NDArray[np.float64]) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        for a, b, probability in zip(first.tolist(), second.tolist(), likely, strict=True):
            log.debug("probability %.4f: %s %s", probability, *self._files.hashes((a, b)))
