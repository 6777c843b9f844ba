"""Where blocks are scored: in threads of this process, or on a Dask cluster."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from hydindex.config import Config
from hydindex.run.cluster import connect_to


@dataclass(frozen=True, slots=True)
class Scoring:
    """An executor, and how many threads it has at present."""

    executor: Executor
    threads: Callable[[], int]

    @property
    def blocks_ahead(self) -> int:
        """How many blocks to keep on their way to keep it busy."""
        return 2 * max(1, self.threads())


@contextmanager
def scoring_executor(config: Config) -> Iterator[Scoring]:
    """Give what `compare.scheduler` names, or this process's own threads.

    Raises:
        ConfigError: no cluster at that address can score, or Dask is not installed.
    """
    if config.compare.scheduler is not None:
        with connect_to(config.compare.scheduler) as cluster:
            yield Scoring(cluster, cluster.threads)
        return
    cores = os.cpu_count() or 1
    threads = ThreadPoolExecutor(cores, thread_name_prefix="score")
    try:
        yield Scoring(threads, lambda: cores)
    finally:
        # A run that is stopped does not wait for blocks that nobody will record.
        threads.shutdown(wait=False, cancel_futures=True)
