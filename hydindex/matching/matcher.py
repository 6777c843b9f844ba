"""Decides which candidate pairs match, in the way that the config says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.calibrated.calibrated_matcher import CalibratedMatcher
from hydindex.matching.threshold.threshold_matcher import ThresholdMatcher
from hydindex.pipeline.run_report import MatcherCounts
from hydindex.records.pairs import ScoredPair
from hydindex.store.file_store import FileStore

BlockT = TypeVar("BlockT")


class Matcher(Protocol[BlockT]):
    """Takes pairs in, by the ids of their files, and gives those that match; blocks by blocks."""

    def get_ready(self) -> None:
        """Load what takes time to load, because there will soon be something to judge."""

    def submit(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Sequence[BlockT]:
        """Begin to judge some pairs."""
        ...

    def is_done(self, block: BlockT) -> bool:
        """Tell whether `matches` would not have to wait."""
        ...

    def matches(self, block: BlockT) -> list[ScoredPair]:
        """Give the pairs of a block that match, and those that a second look is to decide."""
        ...


@contextmanager
def matcher_for(config: Config, files: FileStore, counts: MatcherCounts) -> Iterator[Matcher[Any]]:
    """Give the judge that the config asks for."""
    if config.decision.method == "calibrated":
        with CalibratedMatcher(files, config, counts) as weigher:
            yield weigher
        return
    with ThresholdMatcher(files, config, counts) as scorer:
        yield scorer
