"""Compares what has not been compared yet: each new file with its neighbours in duration."""

import logging
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.config import Config
from hydindex.index.index import Index
from hydindex.match.buckets import Bucket, duration_buckets
from hydindex.match.candidates import CandidateRules, find_candidates
from hydindex.match.similarity import central_part, similarity_of
from hydindex.match.stays import Stays, met_before
from hydindex.model import Comparables, FilePair, Picture, ScoredPair
from hydindex.prepare.thumbnail import Preparation
from hydindex.run.report import Progress, Report

log = logging.getLogger(__name__)

# Files that join the compared set in one transaction: what an interruption costs at most.
JOINED_AT_ONCE: Final = 16
# Pictures held in memory at the same time; with the shipped config some 1,200.
CACHE_BYTES: Final = 64 << 20
# Pictures that a thread scores one against at a time; with more, they fall out of its cache.
SCORED_AT_ONCE: Final = 4


def compare_waiting(index: Index, config: Config, report: Report, progress: Progress) -> None:
    """Let every file that waits join the compared set, and queue the pairs that match.

    A few files at a time are compared with their neighbours in the set and with each other, and
    then join it: "these are compared" and "these pairs match" commit together.
    """
    waiting = index.comparisons.uncompared()
    if len(waiting) == 0:
        return
    rules = CandidateRules.of(config)
    stays = index.comparisons.earlier_stays()

    def joined_files(scorer: _Scorer) -> Iterator[int]:
        for bucket in duration_buckets(waiting, rules.duration_tolerance_ms):
            members = _members_near(bucket, index)
            for start in range(0, len(bucket.files), JOINED_AT_ONCE):
                joining = bucket.files[start : start + JOINED_AT_ONCE]
                scored = scorer.score(_new_candidates(joining, members, rules, stays))
                matches = [pair for pair in scored if pair.score >= config.similarity_threshold]
                index.comparisons.record(joining.ids.tolist(), matches)
                report.pairs.candidates += len(scored)
                report.pairs.scored += len(scored)
                report.pairs.matched += len(matches)
                members += joining
                yield from joining.ids.tolist()

    with report.timed("compare"), ThreadPoolExecutor(os.cpu_count()) as threads:
        scorer = _Scorer(index, config, threads)
        for _ in progress(joined_files(scorer), stage="Comparing", total=len(waiting), unit="file"):
            pass


def _members_near(bucket: Bucket, index: Index) -> Comparables:
    """Load the files of the compared set that a bucket's files could match."""
    if math.isnan(bucket.reach_from_ms):
        return index.comparisons.compared_without_duration()
    return index.comparisons.compared_between(bucket.reach_from_ms, bucket.reach_to_ms)


def _new_candidates(
    joining: Comparables, members: Comparables, rules: CandidateRules, stays: Stays
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Give each joining file with those that it must be scored against, by their ids."""
    others = members + joining
    first, second = find_candidates(joining, members, rules)
    starts = np.searchsorted(first, np.arange(len(joining) + 1))
    for position, file_id in enumerate(joining.ids.tolist()):
        rivals = second[starts[position] : starts[position + 1]]
        rival_ids = others.ids[rivals]
        met = met_before(file_id, rival_ids, others.compared_since[rivals], stays)
        yield file_id, rival_ids[~met]


class _Scorer:
    """Scores files by their ids in the index, keeping a bounded number of pictures in memory."""

    def __init__(self, index: Index, config: Config, threads: Executor) -> None:
        self._index = index
        self._threads = threads
        self._similarity = similarity_of(config)
        self._shape = Preparation.of(config).shape
        self._scored_size_px = config.preprocessing.scored_size_px
        cached_pictures = max(2 * SCORED_AT_ONCE, CACHE_BYTES // math.prod(self._shape))
        self._picture = lru_cache(cached_pictures)(self._load_picture)

    def score(self, candidates: Iterable[tuple[int, NDArray[np.int64]]]) -> list[ScoredPair]:
        """Score files, each against its own rivals, on all cores."""
        tasks = [
            (file_id, rival_ids[start : start + SCORED_AT_ONCE].tolist())
            for file_id, rival_ids in candidates
            for start in range(0, len(rival_ids), SCORED_AT_ONCE)
        ]
        scored = [pair for part in self._threads.map(self._score_part, tasks) for pair in part]
        if log.isEnabledFor(logging.DEBUG):
            self._log_scores(scored)
        return scored

    def _score_part(self, task: tuple[int, list[int]]) -> list[ScoredPair]:
        file_id, rival_ids = task
        rivals = np.stack([self._picture(rival_id) for rival_id in rival_ids])
        scores = self._similarity(self._picture(file_id), rivals)
        return [
            ScoredPair(FilePair.of(file_id, rival_id), score)
            for rival_id, score in zip(rival_ids, scores.tolist(), strict=True)
        ]

    def _load_picture(self, file_id: int) -> Picture:
        picture = self._index.files.array(file_id, self._shape)
        return central_part(picture, self._scored_size_px).copy()

    def _log_scores(self, scored: Iterable[ScoredPair]) -> None:
        for item in scored:
            low, high = self._index.files.hashes((item.pair.low, item.pair.high))
            log.debug("score %.4f: %s %s", item.score, low, high)
