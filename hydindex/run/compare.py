"""Compares what has not been compared yet: each new file with its neighbours in duration.

Files join the compared set in steps. A step goes through two sieves: here, on the coarse pictures
of MS-SSIM, which drops most pairs; then in blocks, on other threads or machines, on the full
pictures of what is left. While blocks are being scored, the next steps are made ready.
"""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.config import Config
from hydindex.errors import ConfigError
from hydindex.index.files import no_sound_picture
from hydindex.index.index import Index
from hydindex.match.blocks import (
    BlockScores,
    DamagedPictureError,
    NoSuchDeviceError,
    PairBlock,
    block_rows,
    score_block,
)
from hydindex.match.candidates import CandidateRules, find_candidates
from hydindex.match.neighbours import neighbourhoods
from hydindex.match.standing import Standing
from hydindex.match.stays import met_before
from hydindex.model import Comparables, FilePair, ScoredPair
from hydindex.prepare.thumbnail import Preparation
from hydindex.pyramid import coarse_shape
from hydindex.run.executors import Scoring, scoring_executor
from hydindex.run.report import Progress, Report

log = logging.getLogger(__name__)

# What joins the compared set in one transaction, and so what an interruption costs at most. A
# single file may have more candidates than that; they are sifted in parts.
_FILES_A_STEP: Final = 256
_PAIRS_A_STEP: Final = 8192


@dataclass(frozen=True, slots=True)
class _Step:
    """Files that join the compared set together, and all that they must be scored against.

    `first` and `second` are the ids of the candidate pairs' files.
    """

    joining: list[int]
    first: NDArray[np.int64]
    second: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Block:
    """A block on its way: its pairs by ids, and its scores to come."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    file_ids: NDArray[np.int64]
    scores: Future[BlockScores]


class Comparer:
    """Compares files for one run; a context, because it may hold threads or a cluster."""

    def __init__(self, index: Index, config: Config, report: Report) -> None:
        self._index = index
        self._config = config
        self._pairs = report.pairs
        self._sieve = report.sieve
        self._report = report
        self._rules = CandidateRules.of(config)
        self._threshold = config.similarity_threshold
        self._shape = Preparation.of(config).shape
        self._held = ExitStack()
        self._scoring: Scoring | None = None
        self._running: deque[Future[BlockScores]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()

    def get_ready(self) -> None:
        """Load torch, because there will be something to compare soon.

        Beside the threads that fetch and prepare it would take twice as long, and slow them down.
        """
        import_module("hydindex.match.ms_ssim")

    def compare_waiting(self, progress: Progress) -> None:
        """Let every file that waits join the compared set, and queue the pairs that match.

        Files are compared with their neighbours in the set and with each other, and then join it:
        "these are compared" and "these pairs match" commit together.
        """
        waiting = self._index.comparisons.uncompared()
        if len(waiting) == 0:
            return
        with self._report.timed("compare"):
            joined = self._join(self._steps(waiting))
            for _ in progress(joined, stage="Comparing", total=len(waiting), unit="file"):
                pass

    def _steps(self, waiting: Comparables) -> Iterator[_Step]:
        joining: list[int] = []
        rivals: list[NDArray[np.int64]] = []
        pairs = 0
        for file_id, rival_ids in self._new_candidates(waiting):
            joining.append(file_id)
            rivals.append(rival_ids)
            pairs += len(rival_ids)
            if len(joining) == _FILES_A_STEP or pairs >= _PAIRS_A_STEP:
                yield _step(joining, rivals)
                joining, rivals, pairs = [], [], 0
        if joining:
            yield _step(joining, rivals)

    def _new_candidates(self, waiting: Comparables) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Give each waiting file with those that it must be scored against, by their ids."""
        comparisons = self._index.comparisons
        for each in neighbourhoods(waiting, self._rules.duration_tolerance_ms):
            if each.has_duration:
                members = comparisons.compared_between(each.from_ms, each.to_ms)
            else:
                members = comparisons.compared_without_duration()
            own_stays = comparisons.earlier_stays(each.joining.ids.tolist())
            for file_id, rivals in find_candidates(each.joining, members, self._rules):
                rival_ids = rivals.ids
                if file_id in own_stays:
                    stays = comparisons.earlier_stays([file_id, *rival_ids.tolist()])
                    rival_ids = rival_ids[
                        ~met_before(file_id, rival_ids, rivals.compared_since, stays)
                    ]
                yield file_id, rival_ids

    def _join(self, steps: Iterator[_Step]) -> Iterator[int]:
        """Score steps, some way ahead, and record them one by one, in order."""
        on_their_way: deque[tuple[_Step, list[_Block]]] = deque()
        for step in steps:
            on_their_way.append((step, list(self._submit(step))))
            while sum(len(blocks) for _, blocks in on_their_way) > self._scorer().blocks_ahead:
                yield from self._record(*on_their_way.popleft())
        while on_their_way:
            yield from self._record(*on_their_way.popleft())

    def _submit(self, step: _Step) -> Iterator[_Block]:
        """Drop the pairs that the coarse levels rule out, and hand on the rest in blocks."""
        self._pairs.candidates += len(step.first)
        for start in range(0, len(step.first), _PAIRS_A_STEP):
            part = slice(start, start + _PAIRS_A_STEP)
            first, second = step.first[part], step.second[part]
            standing = None
            if self._config.preprocessing.use_ms_ssim:
                standing = self._coarse_standing(first, second)
                (rows,) = np.nonzero(standing.may_match(self._threshold))
                first, second, standing = first[rows], second[rows], standing[rows]
            for rows_of_block in block_rows(first, second, int(np.prod(self._shape))):
                yield self._submit_block(
                    first[rows_of_block],
                    second[rows_of_block],
                    standing and standing[rows_of_block],
                )

    def _coarse_standing(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Standing:
        from hydindex.match.ms_ssim import COARSE_LEVELS, coarse_levels

        file_ids, first_at, second_at = _positions(first, second)
        pictures = self._index.files.coarse_pictures(file_ids, coarse_shape(self._shape))
        standing = coarse_levels(pictures, first_at, second_at, self._threshold)
        self._sieve.count_levels(COARSE_LEVELS, standing.entered)
        return standing

    def _submit_block(
        self, first: NDArray[np.int64], second: NDArray[np.int64], standing: Standing | None
    ) -> _Block:
        file_ids, first_at, second_at = _positions(first, second)
        block = PairBlock(
            packed=self._index.files.packed_pictures(file_ids),
            shape=self._shape,
            first=first_at,
            second=second_at,
            standing=standing,
            threshold=self._threshold,
            device=self._config.compare.device,
        )
        scoring = self._scorer()
        # A file may have a hundred thousand rivals: their pictures must not all wait in memory.
        while len(self._running) >= scoring.blocks_ahead:
            wait([self._running.popleft()])
        scores = scoring.executor.submit(score_block, block)
        self._running.append(scores)
        return _Block(first, second, file_ids, scores)

    def _record(self, step: _Step, blocks: list[_Block]) -> Iterator[int]:
        matches = [match for block in blocks for match in self._matches(block)]
        self._index.comparisons.record(step.joining, matches)
        self._pairs.scored += len(step.first)
        self._pairs.matched += len(matches)
        yield from step.joining

    def _matches(self, block: _Block) -> list[ScoredPair]:
        from hydindex.match.ms_ssim import FINE_LEVELS

        try:
            result = block.scores.result()
        except DamagedPictureError as error:
            raise no_sound_picture(int(block.file_ids[error.args[0]])) from None
        except NoSuchDeviceError as error:
            raise ConfigError(
                f"compare.device is {error}, and torch finds no such device here",
                "Put auto into compare.device, or install a torch that supports it.",
            ) from None
        if self._config.preprocessing.use_ms_ssim:
            self._sieve.count_levels(FINE_LEVELS, result.entered)
        self._sieve.settled += result.settled
        scored = zip(
            block.first.tolist(), block.second.tolist(), result.scores.tolist(), strict=True
        )
        pairs = [ScoredPair(FilePair.of(a, b), score) for a, b, score in scored]
        if log.isEnabledFor(logging.DEBUG):
            self._log_scores(pairs)
        return [pair for pair in pairs if pair.score >= self._threshold]

    def _log_scores(self, pairs: list[ScoredPair]) -> None:
        for item in pairs:
            low, high = self._index.files.hashes((item.pair.low, item.pair.high))
            matches = item.score >= self._threshold
            log.debug("score %s%.4f: %s %s", "" if matches else "at most ", item.score, low, high)

    def _scorer(self) -> Scoring:
        if self._scoring is None:
            self._scoring = self._held.enter_context(scoring_executor(self._config))
        return self._scoring


def _step(joining: list[int], rivals: list[NDArray[np.int64]]) -> _Step:
    first = np.repeat(np.array(joining, np.int64), [len(each) for each in rivals])
    return _Step(joining, first, np.concatenate(rivals))


def _positions(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.intp]]:
    """Give the files of some pairs, each once, and each pair by the positions of its files."""
    file_ids, positions = np.unique(np.concatenate((first, second)), return_inverse=True)
    return file_ids, positions[: len(first)], positions[len(first) :]
