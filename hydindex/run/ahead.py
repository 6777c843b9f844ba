"""Maps a function over many items in threads, some way ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_ahead(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: Executor, *, ahead: int
) -> Iterator[ResultT]:
    """Give the results in order. At most `ahead` of them are computed before they are taken."""
    waiting = iter(items)
    running: deque[Future[ResultT]] = deque()
    running.extend(threads.submit(function, item) for item in islice(waiting, ahead))
    while running:
        yield running.popleft().result()
        running.extend(threads.submit(function, item) for item in islice(waiting, 1))
