"""Compares what has not been compared yet: each new file with its neighbours in duration."""

import logging
import math
from collections.abc import Iterator
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
# Pictures held at the same time, and pictures that one is scored against at a time; 64 KB each
# with the shipped config.
CACHED_PICTURES: Final = 1024
SCORED_AT_ONCE: Final = 256


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
    scorer = _Scorer(index, config)

    def joined_files() -> Iterator[int]:
        for bucket in duration_buckets(waiting, rules.duration_tolerance_ms):
            members = _members_near(bucket, index)
            for start in range(0, len(bucket.files), JOINED_AT_ONCE):
                joining = bucket.files[start : start + JOINED_AT_ONCE]
                matches: list[ScoredPair] = []
                for file_id, rival_ids in _new_candidates(joining, members, rules, stays):
                    report.pairs.candidates += len(rival_ids)
                    matches += scorer.matches(file_id, rival_ids)
                    report.pairs.scored += len(rival_ids)
                index.comparisons.record(joining.ids.tolist(), matches)
                report.pairs.matched += len(matches)
                members += joining
                yield from joining.ids.tolist()

    with report.timed("compare"):
        for _ in progress(joined_files(), stage="Comparing", total=len(waiting), unit="file"):
            pass


def _members_near(bucket: Bucket, index: Index) -> Comparables:
    """Load the files of the compared set that a bucket's files could match."""
    if math.isnan(bucket.shortest_ms):
        return index.comparisons.compared_without_duration()
    return index.comparisons.compared_between(bucket.shortest_ms, bucket.longest_ms)


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

    def __init__(self, index: Index, config: Config) -> None:
        self._index = index
        self._similarity = similarity_of(config)
        self._threshold = config.similarity_threshold
        self._shape = Preparation.of(config).shape
        self._scored_size_px = config.preprocessing.scored_size_px
        self._picture = lru_cache(CACHED_PICTURES)(self._load_picture)

    def matches(self, file_id: int, rival_ids: NDArray[np.int64]) -> list[ScoredPair]:
        """Score one file against others and give the pairs that reach the threshold."""
        found: list[ScoredPair] = []
        for start in range(0, len(rival_ids), SCORED_AT_ONCE):
            some_ids = rival_ids[start : start + SCORED_AT_ONCE].tolist()
            rivals = np.stack([self._picture(rival_id) for rival_id in some_ids])
            scores = self._similarity(self._picture(file_id), rivals).tolist()
            if log.isEnabledFor(logging.DEBUG):
                self._log_scores(file_id, some_ids, scores)
            found += [
                ScoredPair(FilePair.of(file_id, rival_id), score)
                for rival_id, score in zip(some_ids, scores, strict=True)
                if score >= self._threshold
            ]
        return found

    def _load_picture(self, file_id: int) -> Picture:
        return central_part(self._index.files.array(file_id, self._shape), self._scored_size_px)

    def _log_scores(self, file_id: int, rival_ids: list[int], scores: list[float]) -> None:
        name, *rival_names = self._index.files.hashes([file_id, *rival_ids])
        for rival_name, score in zip(rival_names, scores, strict=True):
            log.debug("score %.4f: %s %s", score, name, rival_name)
