"""Ends the process when the user presses Ctrl-C, or a service manager asks for it."""

import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import Final

# What a run needs to save and say what it has done; some tenths of a second as a rule.
_GRACE_S: Final = 3.0
_NUDGE_AFTER_S: Final = 0.3
_LAST_WORDS: Final = b"hydindex: Stopped\nWhat was done is kept; the next run goes on from there.\n"
_INTERRUPTED: Final = 130


def listen_for_stop() -> None:
    """Have the first SIGINT or SIGTERM raise KeyboardInterrupt in the main thread.

    Where that does not end the process soon, because the main thread is deaf (it looks up a name,
    waits for a lock, or is on Windows) or something has swallowed it, a thread ends it: nothing
    is lost, because all that counts is saved in transactions.
    """
    ours, system = socket.socketpair()
    system.setblocking(False)
    # The system writes a byte there as soon as a signal comes, whatever Python is doing.
    signal.set_wakeup_fd(system.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_soon_after, args=(ours, system), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        # What runs in the background is to ignore Ctrl-C, and says so by this.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stops_already)
    raise KeyboardInterrupt


def _stops_already(_number: int, _frame: FrameType | None) -> None:
    """Let what is being saved and said be finished."""


def _end_soon_after(ours: socket.socket, _kept_open: socket.socket) -> None:
    ours.recv(1)
    time.sleep(_NUDGE_AFTER_S)
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        # A signal that came just before the main thread began to wait for a key did not wake it;
        # another does. Where the first one was heard, this one changes nothing.
        signal.pthread_kill(main, signal.SIGINT)
    time.sleep(_GRACE_S)
    os.write(2, _LAST_WORDS)
    os._exit(_INTERRUPTED)
