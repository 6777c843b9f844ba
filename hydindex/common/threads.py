"""Maps a function over many items in threads, some way ahead of whoever takes the results."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_ahead(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: Executor, *, ahead: int
) -> Iterator[ResultT]:
    """Give the results as they come, so that a slow one holds no other up.

    At most `ahead` of them are computed before they are taken.
    """
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
