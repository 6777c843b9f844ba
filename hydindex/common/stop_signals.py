"""End the process on Ctrl-C or SIGTERM."""

import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import Final

# Enough for a run to save and report what it has done: usually some tenths of a second.
_GRACE_S: Final = 3.0
_SECOND_SIGNAL_AFTER_S: Final = 0.3
_MESSAGE: Final = (
    b"hydindex: Stopped\nEverything done so far is saved; the next run continues from there.\n"
)
_INTERRUPTED: Final = 130


def listen_for_stop() -> None:
    """Make the first SIGINT or SIGTERM raise KeyboardInterrupt in the main thread.

    If that doesn't end the process soon, because the main thread is blocked (in a name lookup, on
    a lock, or on Windows) or something swallowed the exception, a thread ends it. Nothing is lost:
    everything that counts is saved in transactions.
    """
    ours, system = socket.socketpair()
    system.setblocking(False)
    # The system writes a byte here when a signal arrives, whatever Python is doing.
    signal.set_wakeup_fd(system.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_soon_after, args=(ours, system), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell starts background jobs with SIGINT ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stops_already)
    raise KeyboardInterrupt


def _stops_already(_number: int, _frame: FrameType | None) -> None:
    """Ignore further signals, so that saving and reporting can finish."""


def _end_soon_after(ours: socket.socket, _kept_open: socket.socket) -> None:
    ours.recv(1)
    time.sleep(_SECOND_SIGNAL_AFTER_S)
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        # A signal just before the main thread started to wait for input didn't wake it; a second
        # one does. If the first was handled, this one is ignored.
        signal.pthread_kill(main, signal.SIGINT)
    time.sleep(_GRACE_S)
    os.write(2, _MESSAGE)
    os._exit(_INTERRUPTED)
