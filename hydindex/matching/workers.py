"""Where blocks are matched: threads of this process, or a Dask cluster."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from typing import Any, TypeVar

from hydindex.common.threads import thread_pool
from hydindex.matching.dask_cluster import connect_to

ResultT = TypeVar("ResultT")

_BLOCKS_PER_THREAD = 2


class Workers(ExitStack):
    """Runs functions on the cluster that `compare.scheduler` names, or in threads, one per core.

    Nothing starts before the first function is submitted.
    """

    def __init__(self, scheduler: str | None) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._executor: Executor | None = None
        self._count: Callable[[], int] = lambda: os.cpu_count() or 1
        self._running: deque[Future[Any]] = deque()

    def submit(self, function: Callable[[], ResultT]) -> Future[ResultT]:
        """Run a function, once enough earlier ones have finished to bound memory.

        Raises:
            ConfigError: the cluster can't be used, or Dask isn't installed.
        """
        executor = self._executor or self._start()
        while len(self._running) >= _BLOCKS_PER_THREAD * max(1, self._count()):
            wait([self._running.popleft()])
        future = executor.submit(function)
        self._running.append(future)
        return future

    def _start(self) -> Executor:
        if self._scheduler is None:
            self._executor = self.enter_context(thread_pool(self._count(), "match"))
        else:
            cluster = self.enter_context(connect_to(self._scheduler))
            self._executor, self._count = cluster, cluster.threads
        return self._executor
