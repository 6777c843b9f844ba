"""Compare the files that wait with their candidates, and queue the pairs that match."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.blocks import BlockResult, CandidateBatch, MatcherCounts, match_batches
from hydindex.matching.membership import compared_before
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import PairCounts, RunReport, Steps
from hydindex.records.files import ComparableFiles
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# What joins the compared set in one transaction: a second or two of work, so that waiting for the
# disk takes little of it. A single file may have more candidates.
_BATCH_FILES: Final = 1024
_BATCH_PAIRS: Final = 32_768


def compare(run: RunContext) -> Steps:
    """Let every waiting file join the compared set, and queue the pairs that match.

    Files join in batches, each compared with the set and with each other: "these files are
    compared" and "these pairs match" commit together.
    """
    waiting = run.store.compared_set.uncompared()
    if len(waiting) == 0:
        return
    load_blocks = run.method.block_loader(run.store.files)
    batches = _candidate_batches(_new_candidates(waiting, run))
    with run.progress("Comparing", len(waiting), "file") as bar:
        for batch, results in match_batches(load_blocks, batches, run.workers):
            yield _record(batch, results, run.store)
            bar.update(len(batch.joining))


def _new_candidates(
    waiting: ComparableFiles, run: RunContext
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each waiting file's id with the ids of the files that it must be scored against."""
    compared_set = run.store.compared_set
    members = compared_set.members()
    earlier = compared_set.earlier_intervals(waiting.ids)
    if earlier:  # files returned that may have been compared with some of the members
        earlier |= compared_set.earlier_intervals(members.ids)
    for file_id, candidates in run.method.candidates(run.store.files, waiting, members):
        done = compared_before(file_id, candidates.ids, candidates.compared_since, earlier)
        yield file_id, candidates.ids[~done]


def _candidate_batches(
    candidates: Iterable[tuple[int, NDArray[np.int64]]],
) -> Iterator[CandidateBatch]:
    """Collect files with their candidates in batches of bounded size."""
    collected: dict[int, NDArray[np.int64]] = {}
    pairs = 0
    for file_id, candidate_ids in candidates:
        collected[file_id] = candidate_ids
        pairs += len(candidate_ids)
        if len(collected) == _BATCH_FILES or pairs >= _BATCH_PAIRS:
            yield _batch(collected)
            collected, pairs = {}, 0
    if collected:
        yield _batch(collected)


def _batch(collected: Mapping[int, NDArray[np.int64]]) -> CandidateBatch:
    joining = list(collected)
    counts = [len(candidate_ids) for candidate_ids in collected.values()]
    return CandidateBatch(
        joining,
        first=np.repeat(np.array(joining, np.int64), counts),
        second=np.concatenate(list(collected.values())),
    )


def _record(batch: CandidateBatch, results: Sequence[BlockResult], store: Store) -> RunReport:
    matches = [match for result in results for match in result.matches]
    store.compared_set.record(batch.joining, matches)
    for result in results:
        _log_scores(result, store)
    pairs = PairCounts(
        scored=len(batch),
        matched=sum(not match.is_doubtful for match in matches),
    )
    return RunReport(
        pairs=pairs, matcher=sum((result.counts for result in results), MatcherCounts())
    )


def _log_scores(result: BlockResult, store: Store) -> None:
    if not log.isEnabledFor(logging.DEBUG):
        return
    for first, second, score in zip(result.first, result.second, result.scores, strict=True):
        log.debug("score %.4f: %s %s", score, *store.files.hashes((int(first), int(second))))
