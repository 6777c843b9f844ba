"""When a failed read is retried: attempts, waits, and how much time one run may lose.

The wait before the first retry is `network.backoff_factor` in the config. Posts are not retried
here: their retries must first check what Hydrus stored.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    wait_exponential,
    wait_random,
)

from hydindex.common.errors import HydrusUnreachable

T = TypeVar("T")

ATTEMPTS: Final = 4
LONGEST_WAIT_S: Final = 30.0
RETRY_BUDGET_S: Final = 300.0
GIVE_UP_AFTER_S: Final = 900.0


class Retries:
    """Retries the failed reads of one run, in all of its threads.

    Each wait doubles the one before, plus a random part of up to `first_wait_s`, so that requests
    that failed together are not repeated together.

    `lost_s` sums waits and the duration of failed requests, over all threads. From `budget_s` on,
    nothing is retried; from `give_up_s` on, nothing is sent. Otherwise, a client that fails for
    every file would cost each file all its attempts and waits.
    """

    def __init__(
        self,
        first_wait_s: float,
        *,
        budget_s: float = RETRY_BUDGET_S,
        give_up_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self.lost_s = 0.0
        self._budget_s = budget_s
        self._give_up_s = give_up_s
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._retrying = Retrying(
            stop=self._must_stop,
            wait=wait_exponential(first_wait_s, LONGEST_WAIT_S) + wait_random(0, first_wait_s),
            sleep=sleep_using_event(self._stopped),
            before_sleep=self._count_wait,
            retry=retry_if_exception_type(HydrusUnreachable),
            reraise=True,
        )

    def call(self, send: Callable[[], T]) -> T:
        """Call `send`; call it again while it raises HydrusUnreachable."""
        result: T = self._retrying(self._attempt, send)
        return result

    def stop(self) -> None:
        """Wake all waiting threads, and send nothing from now on."""
        self._stopped.set()

    def add_lost_time(self, seconds: float) -> None:
        """Count lost time."""
        with self._lock:
            self.lost_s += seconds

    def _attempt(self, send: Callable[[], T]) -> T:
        if self._stopped.is_set():
            raise HydrusUnreachable("The connection to Hydrus is closed", "Start a new run.")
        if self.lost_s >= self._give_up_s:
            raise HydrusUnreachable(
                f"Failed requests took {self.lost_s / 60:.0f} minutes, added up over all "
                "connections; this run stops",
                "Check that Hydrus responds, then run the command again.",
            )
        started = time.monotonic()
        try:
            return send()
        except HydrusUnreachable:
            self.add_lost_time(time.monotonic() - started)
            raise

    def _must_stop(self, state: RetryCallState) -> bool:
        is_over = self._stopped.is_set() or self.lost_s >= self._budget_s
        return is_over or state.attempt_number >= ATTEMPTS

    def _count_wait(self, state: RetryCallState) -> None:
        if state.next_action is not None:
            self.add_lost_time(state.next_action.sleep)
