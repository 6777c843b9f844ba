"""Compares what has not been compared yet: each new file with its neighbours in duration."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.matching.duration_windows import neighbourhoods
from hydindex.matching.matcher import BlockT, Matcher
from hydindex.matching.membership import met_before
from hydindex.pipeline.run_report import Progress, Report
from hydindex.records.files import ComparableFiles
from hydindex.store.store import Store

# What joins the compared set in one transaction. A single file may have more candidates than that.
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

    @classmethod
    def of(cls, candidates: list[tuple[int, NDArray[np.int64]]]) -> "_Step":
        """Put files together, each given with its rivals."""
        joining = [file_id for file_id, _ in candidates]
        first = np.repeat(np.array(joining, np.int64), [len(rivals) for _, rivals in candidates])
        return cls(joining, first, np.concatenate([rivals for _, rivals in candidates]))


def compare_waiting(
    index: Store, config: Config, judge: Matcher[Any], report: Report, progress: Progress
) -> None:
    """Let every file that waits join the compared set, and queue the pairs that match.

    A few files at a time are compared with their neighbours in the set and with each other, and
    then join it: "these are compared" and "these pairs match" commit together.
    """
    waiting = index.comparisons.uncompared()
    if len(waiting) == 0:
        return
    with report.timed("compare"):
        joined = _join(_steps(_new_candidates(waiting, index, config)), index, judge, report)
        for _ in progress(joined, stage="Comparing", total=len(waiting), unit="file"):
            pass


def _new_candidates(
    waiting: ComparableFiles, index: Store, config: Config
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Give each waiting file with those that it must be scored against, by their ids."""
    rules = CandidateRules.of(config)
    comparisons = index.comparisons
    for each in neighbourhoods(waiting, rules.duration_tolerance_ms):
        if each.has_duration:
            members = comparisons.compared_between(each.from_ms, each.to_ms)
        else:
            members = comparisons.compared_without_duration()
        stays = comparisons.earlier_stays(each.joining.ids)
        if stays:  # some return, and may have met any of their neighbours before
            stays |= comparisons.earlier_stays(members.ids)
        for file_id, rivals in find_candidates(each.joining, members, rules):
            met = met_before(file_id, rivals.ids, rivals.compared_since, stays)
            yield file_id, rivals.ids[~met]


def _steps(candidates: Iterator[tuple[int, NDArray[np.int64]]]) -> Iterator[_Step]:
    """Put files together into steps of a bounded size."""
    taken: list[tuple[int, NDArray[np.int64]]] = []
    pairs = 0
    for file_id, rival_ids in candidates:
        taken.append((file_id, rival_ids))
        pairs += len(rival_ids)
        if len(taken) == _FILES_A_STEP or pairs >= _PAIRS_A_STEP:
            yield _Step.of(taken)
            taken, pairs = [], 0
    if taken:
        yield _Step.of(taken)


def _join(
    steps: Iterator[_Step], index: Store, judge: Matcher[BlockT], report: Report
) -> Iterator[int]:
    """Matcher steps, some way ahead, and record each as soon as it and those before it are done."""

    def record(step: _Step, blocks: Sequence[BlockT]) -> list[int]:
        matches = [match for block in blocks for match in judge.matches(block)]
        index.comparisons.record(step.joining, matches)
        report.pairs.scored += len(step.first)
        report.pairs.matched += sum(not match.is_doubtful for match in matches)
        return step.joining

    on_their_way: deque[tuple[_Step, Sequence[BlockT]]] = deque()
    for step in steps:
        report.pairs.candidates += len(step.first)
        on_their_way.append((step, judge.submit(step.first, step.second)))
        while on_their_way and all(map(judge.is_done, on_their_way[0][1])):
            yield from record(*on_their_way.popleft())
    while on_their_way:
        yield from record(*on_their_way.popleft())
