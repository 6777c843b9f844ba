"""Thread pools for one stage of a run."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def cores() -> int:
    """Return the number of processor cores; 1 if the system does not say."""
    return os.cpu_count() or 1


@contextmanager
def thread_pool(threads: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Open a thread pool. A run that is stopped doesn't wait for its threads."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def map_unordered(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: Executor, *, ahead: int
) -> Iterator[ResultT]:
    """Apply a function in threads and yield results as they finish, at most `ahead` in advance."""
    waiting = iter(items)
    finished: SimpleQueue[Future[ResultT]] = SimpleQueue()

    def start(count: int) -> int:
        futures = [threads.submit(function, item) for item in islice(waiting, count)]
        for future in futures:
            future.add_done_callback(finished.put)
        return len(futures)

    running = start(ahead)
    while running:
        yield finished.get().result()
        running += start(1) - 1
