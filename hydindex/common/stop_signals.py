"""Stop the process on Ctrl-C (SIGINT) or SIGTERM."""

import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import Final

from hydindex.common.errors import ExitCode, Interrupted

_NUDGE_AFTER_S: Final = 0.3
# A run needs some tenths of a second to save and report what it has done.
_GRACE_S: Final = 3.0


def listen_for_stop() -> None:
    """Make the first SIGINT or SIGTERM raise KeyboardInterrupt in the main thread.

    The main thread may not react: it may be resolving a host name or waiting for a lock, run on
    Windows, or swallow the exception. A watchdog thread then ends the process. Nothing is lost,
    because the index is written in transactions.
    """
    ours, system = socket.socketpair()
    system.setblocking(False)
    # Whatever Python is doing, a signal writes a byte to this socket at once.
    signal.set_wakeup_fd(system.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watchdog, args=(ours, system), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Shells start background jobs with SIGINT ignored; leave it ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_once)


def _raise_once(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not SIG_IGN: child processes would inherit it.
        signal.signal(number, lambda _number, _frame: None)
    raise KeyboardInterrupt


def _watchdog(ours: socket.socket, _kept_open: socket.socket) -> None:
    ours.recv(1)
    time.sleep(_NUDGE_AFTER_S)
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        # A signal that arrives just before the main thread waits for input doesn't wake it. A
        # second one does, and is ignored if the first was handled.
        signal.pthread_kill(main, signal.SIGINT)
    time.sleep(_GRACE_S)
    stopped = Interrupted()
    os.write(2, f"hydindex: {stopped.message}\n{stopped.remedy}\n".encode())
    os._exit(ExitCode.INTERRUPTED)
