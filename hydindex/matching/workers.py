"""Where blocks of pairs are judged: in threads of this process, or on a Dask cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from hydindex.config.settings import Config
from hydindex.matching.dask_cluster import connect_to

ResultT = TypeVar("ResultT")
ArgumentsP = ParamSpec("ArgumentsP")

_BLOCKS_A_THREAD = 2


@dataclass(frozen=True, slots=True)
class Workers:
    """An executor, how many threads it has at present, and what is on its way there."""

    executor: Executor
    threads: Callable[[], int]
    _running: deque[Future[Any]] = field(default_factory=deque)

    def wait_for_room(self) -> None:
        """Wait while enough is on its way to keep all busy: more would only lie in memory."""
        while len(self._running) >= _BLOCKS_A_THREAD * max(1, self.threads()):
            wait([self._running.popleft()])

    def submit(
        self,
        work: Callable[ArgumentsP, ResultT],
        *args: ArgumentsP.args,
        **kwargs: ArgumentsP.kwargs,
    ) -> Future[ResultT]:
        """Let work be done."""
        result = self.executor.submit(work, *args, **kwargs)
        self._running.append(result)
        return result


@contextmanager
def scoring_workers(config: Config) -> Iterator[Workers]:
    """Give what `compare.scheduler` names, or this process's own threads.

    Raises:
        ConfigError: no cluster at that address can score, or Dask is not installed.
    """
    if config.compare.scheduler is not None:
        with connect_to(config.compare.scheduler) as cluster:
            yield Workers(cluster, cluster.threads)
        return
    with own_threads() as threads:
        yield threads


@contextmanager
def own_threads() -> Iterator[Workers]:
    """Give threads of this process, one a core."""
    cores = os.cpu_count() or 1
    threads = ThreadPoolExecutor(cores, thread_name_prefix="judge")
    try:
        yield Workers(threads, lambda: cores)
    finally:
        # A run that is stopped does not wait for blocks that nobody will record.
        threads.shutdown(wait=False, cancel_futures=True)
