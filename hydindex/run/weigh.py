"""Judges pairs of indexed files by the calibrated decision."""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.calibration import load_model
from hydindex.config import Config
from hydindex.index.files import FileStore
from hydindex.match.candidates import CandidateRules
from hydindex.match.decision import probabilities
from hydindex.match.evidence import weigh
from hydindex.match.positions import files_of_pairs
from hydindex.match.second_look import is_doubtful
from hydindex.model import FilePair, ScoredPair
from hydindex.run.report import SieveCounts

log = logging.getLogger(__name__)

# Signatures in memory at a time, each worked on at a few kilobytes.
_PAIRS_AT_ONCE: Final = 2048

FileIds = NDArray[np.int64]


class Weigher:
    """A judge that has its verdicts at once: there is little to compute."""

    def __init__(self, files: FileStore, config: Config, counts: SieveCounts) -> None:
        self._files = files
        self._tolerance = CandidateRules.of(config).aspect_ratio_tolerance
        self._model = load_model(config.decision.model)
        self._min_probability = config.decision.min_probability
        self._looks_again = config.frames.enabled
        self._counts = counts

    def get_ready(self) -> None:
        """Nothing takes long to load."""

    def submit(self, first: FileIds, second: FileIds) -> Sequence[list[ScoredPair]]:
        """Judge pairs, a few at a time: a file may have a hundred thousand rivals."""
        parts = [
            slice(start, start + _PAIRS_AT_ONCE) for start in range(0, len(first), _PAIRS_AT_ONCE)
        ]
        return [self._judged(first[part], second[part]) for part in parts]

    def is_done(self, _block: list[ScoredPair]) -> bool:
        """All are."""
        return True

    def matches(self, block: list[ScoredPair]) -> list[ScoredPair]:
        """Give the pairs of a block that match, and the doubtful ones."""
        return block

    def _judged(self, first: FileIds, second: FileIds) -> list[ScoredPair]:
        file_ids, first_at, second_at = files_of_pairs(first, second)
        weighed, evidence = weigh(
            self._files.signed(file_ids),
            first_at,
            second_at,
            aspect_ratio_tolerance=self._tolerance,
            gate=self._model.gate,
        )
        likely = probabilities(evidence, self._model)
        self._counts.weighed += len(weighed)
        self._log(first[weighed], second[weighed], likely)
        doubtful = np.zeros(len(likely), np.bool_)
        if self._looks_again:  # at videos: still images are nothing but their pictures
            doubtful = is_doubtful(likely) & ~np.isnan(evidence.duration_difference_ms)
        (rows,) = np.nonzero((likely >= self._min_probability) | doubtful)
        return [
            ScoredPair(
                FilePair.of(int(first[weighed[row]]), int(second[weighed[row]])),
                float(likely[row]),
                evidence.of_pair(row),
                is_doubtful=bool(doubtful[row]),
            )
            for row in rows.tolist()
        ]

    def _log(self, first: FileIds, second: FileIds, likely: NDArray[np.float64]) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        for a, b, probability in zip(first.tolist(), second.tolist(), likely, strict=True):
            log.debug("probability %.4f: %s %s", probability, *self._files.hashes((a, b)))
