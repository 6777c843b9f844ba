"""How long one run puts up with a client that fails."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hydindex.common.errors import HydrusUnreachable

RETRY_S: Final = 300.0
GIVE_UP_S: Final = 900.0


class RetryBudget:
    """Counts the seconds that a run loses to requests without an answer, in all of its threads.

    A file that Hydrus cannot serve costs its own tries and pauses, and no other file. But a client
    that fails at every one of them would cost each of them so: once `retry_s` are lost, nothing is
    tried a second time, and once `give_up_s` are lost, nothing is asked any more.
    """

    def __init__(self, retry_s: float = RETRY_S, give_up_s: float = GIVE_UP_S) -> None:
        self._retry_s = retry_s
        self._give_up_s = give_up_s
        self._lost_s = 0.0
        self._adding = threading.Lock()

    @property
    def allows_retries(self) -> bool:
        """Whether a request that failed may be tried again."""
        return self._lost_s < self._retry_s

    @property
    def is_at_an_end(self) -> bool:
        """Whether the run should stop asking."""
        return self._lost_s >= self._give_up_s

    def lose(self, seconds: float) -> None:
        """Count seconds that were lost."""
        with self._adding:
            self._lost_s += seconds

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Count the time that a request takes, if no answer comes."""
        started = time.monotonic()
        try:
            yield
        except HydrusUnreachable:
            self.lose(time.monotonic() - started)
            raise
