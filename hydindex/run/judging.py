"""Decides which candidate pairs match, in the way that the config says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hydindex.config import Config
from hydindex.index.files import FileStore
from hydindex.model import ScoredPair
from hydindex.run.report import SieveCounts
from hydindex.run.score import Scorer
from hydindex.run.weigh import Weigher

BlockT = TypeVar("BlockT")


class Judge(Protocol[BlockT]):
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
def judge_of(config: Config, files: FileStore, counts: SieveCounts) -> Iterator[Judge[Any]]:
    """Give the judge that the config asks for."""
    if config.decision.method == "calibrated":
        with Weigher(files, config, counts) as weigher:
            yield weigher
        return
    with Scorer(files, config, counts) as scorer:
        yield scorer
