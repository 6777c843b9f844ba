"""Blocks of pairs: matched by any method, in threads or on a cluster; matches and counts out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hydindex.common.counts import Counts
from hydindex.matching.workers import Workers
from hydindex.records.pairs import ScoredPair

FileIds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """Files that join the compared set together, and every pair to be scored before they do.

    `first` and `second` are the ids of each pair's files.
    """

    joining: Sequence[int]
    first: FileIds
    second: FileIds

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class MatcherCounts(Counts):
    """How candidates were scored.

    `threshold`: `levels` counts the pairs for which each MS-SSIM level was computed, and
    `confirmed_by_library` those so close to the threshold that the library scored them.
    `calibrated`: `similar_enough` counts the pairs that reached `min_structure`.
    """

    levels: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys("54321", 0))
    confirmed_by_library: int = 0
    similar_enough: int = 0


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What matching a block yields.

    `first`, `second` and `scores` are for the debug log. Below the threshold a score may be a
    bound.
    """

    matches: list[ScoredPair]
    counts: MatcherCounts
    first: FileIds
    second: FileIds
    scores: NDArray[np.float64]


class Block(Protocol):
    """Some pairs, with everything needed to match them: it can be pickled and sent elsewhere."""

    def match(self) -> BlockResult:
        """Return the pairs that match. A pure function of the block."""
        ...


BlockLoader = Callable[[FileIds, FileIds], Iterator[Block]]
"""Loads pairs, given by the ids of their files, in blocks of bounded size."""


def match_batches(
    load_blocks: BlockLoader,
    batches: Iterable[CandidateBatch],
    workers: Workers,
) -> Iterator[tuple[CandidateBatch, list[BlockResult]]]:
    """Match batches, several ahead, and return the results in the order of the batches."""
    pending: deque[tuple[CandidateBatch, list[Future[BlockResult]]]] = deque()
    for batch in batches:
        blocks = load_blocks(batch.first, batch.second) if len(batch) else ()
        pending.append((batch, [workers.submit(block.match) for block in blocks]))
        while pending and all(future.done() for future in pending[0][1]):
            yield _finish(*pending.popleft())
    while pending:
        yield _finish(*pending.popleft())


def _finish(
    batch: CandidateBatch, futures: Iterable[Future[BlockResult]]
) -> tuple[CandidateBatch, list[BlockResult]]:
    return batch, [future.result() for future in futures]
