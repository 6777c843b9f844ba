"""Where blocks are matched: threads of this process, or a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from typing import Any, Final, TypeVar

from hydindex.common.threads import cores, thread_pool
from hydindex.matching.dask_cluster import Cluster, connect_to

ResultT = TypeVar("ResultT")

_BLOCKS_PER_THREAD: Final = 2


class Workers:
    """Runs functions on the cluster that `compare.scheduler` names, or in threads, one per core.

    Nothing starts before the first function is submitted.
    """

    def __init__(self, scheduler: str | None, resources: ExitStack) -> None:
        self._scheduler = scheduler
        self._resources = resources
        self._executor: ThreadPoolExecutor | Cluster | None = None
        self._running: list[Future[Any]] = []
        self._max_running = 0

    def submit(self, function: Callable[[], ResultT]) -> Future[ResultT]:
        """Run a function, once enough earlier ones have finished to bound memory.

        Raises:
            ConfigError: the cluster can't be used, or Dask isn't installed.
        """
        executor = self._executor = self._executor or self._start()
        self._running = [future for future in self._running if not future.done()]
        if not self._running:  # a comparison begins: the cluster may have grown
            threads = executor.threads() if isinstance(executor, Cluster) else cores()
            self._max_running = _BLOCKS_PER_THREAD * max(1, threads)
        elif len(self._running) >= self._max_running:
            wait(self._running, return_when=FIRST_COMPLETED)
        future = executor.submit(function)
        self._running.append(future)
        return future

    def _start(self) -> ThreadPoolExecutor | Cluster:
        if self._scheduler is None:
            return self._resources.enter_context(thread_pool(cores(), "match"))
        return self._resources.enter_context(connect_to(self._scheduler))


@contextmanager
def open_workers(scheduler: str | None) -> Iterator[Workers]:
    """Provide workers, and end them."""
    with ExitStack() as resources:
        yield Workers(scheduler, resources)
