"""Ctrl-C and SIGTERM end a run at once, whatever the client is doing."""

import os
import signal
import subprocess
import sys
import time
from threading import Event

import pytest
from conftest import Home, Serve, assert_sent_once, fetched
from made_videos import doubtful_library

from hydindex.standin.server import StandIn

# On an idle machine it is a few hundredths of a second (docs/reliability.md). A run that waits for
# the client needs SILENCE_S.
SOON_S = 60.0
SILENCE_S = 600.0

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals"),
    pytest.mark.usefixtures("ctrl_c_works"),
]

# Runs code when the command is imported, before it has begun.
MEANWHILE = """
import os, signal, sys, time

class Meanwhile:
    def find_spec(self, name, path, target=None):
        if name == "hydindex.commands.app":
            {0}

sys.meta_path.insert(0, Meanwhile())
from hydindex.__main__ import run
run()
""".replace("\n\n", "\n")
PRESS_CTRL_C = "os.kill(os.getpid(), signal.SIGINT)"
SLEEP_THROUGH_IT = """
            import ctypes, threading
            # The system may deliver a signal to any thread.
            meet = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            threading.Timer(0.2, meet).start()
            try:
                ctypes.CDLL(None).pause()
                time.sleep(600)
            except KeyboardInterrupt:
                print("woken", flush=True)
                raise
"""
SWALLOW_IT = """
            for _ in range(2):
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(600)
                except KeyboardInterrupt:
                    pass
"""


def saved_files(home: Home) -> int:
    count: int = home.sql("SELECT count(*) FROM file")[0][0]
    return count


def interrupt_update(
    home: Home,
    client: StandIn,
    path: str,
    nth: int,
    *signals: signal.Signals,
    at_least_saved: int = 0,
) -> str:
    """Interrupt an update while it waits for its nth request to a path; return stderr."""
    silent, go_on = Event(), Event()

    def hook(_method: str, asked: str, count: int) -> None:
        if asked.endswith(path) and count == nth:
            silent.set()
            go_on.wait()

    client.faults = hook
    home.configure(timeouts=dict.fromkeys(("api", "thumb", "post"), SILENCE_S))
    words = [sys.executable, "-m", "hydindex", "update", "--config", str(home.config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert silent.wait(SOON_S)
            while saved_files(home) < at_least_saved:
                time.sleep(0.05)
            for number in signals:
                run.send_signal(number)
            _, err = run.communicate(timeout=SOON_S)
        finally:
            run.kill()
            go_on.set()
    client.faults = lambda *_: None
    assert run.returncode == 130
    assert "Stopped: " in err
    assert "Traceback" not in err
    assert "exit 130" in home.run("stats").out
    return err


@pytest.mark.parametrize(
    ("path", "nth", "number"),
    [
        ("/api_version", 1, signal.SIGTERM),
        ("/search_files", 1, signal.SIGINT),
        ("/file_metadata", 1, signal.SIGTERM),
        ("/thumbnail", 37, signal.SIGINT),
        ("/thumbnail", 37, signal.SIGTERM),
        ("/get_file_relationships", 1, signal.SIGINT),
        ("/set_file_relationships", 1, signal.SIGINT),
        ("/set_file_relationships", 1, signal.SIGTERM),
    ],
)
def test_a_run_ends_at_once_and_the_next_one_continues(
    home: Home, client: StandIn, path: str, nth: int, number: signal.Signals
) -> None:
    err = interrupt_update(home, client, path, nth, number)
    kept = saved_files(home)
    assert f"{kept} files fetched" in err

    earlier = len(client.requests)
    home.update()
    assert len(fetched(client, since=earlier)) == 40 - kept
    assert len(client.potentials) > 0
    assert_sent_once(client)


def test_frame_verification_ends_at_once_and_the_next_run_continues(
    home: Home, serve: Serve
) -> None:
    home.configure(frames={"enabled": True})
    client = serve(list(doubtful_library(home.folder / "videos").values()))
    interrupt_update(home, client, "/get_files/file", 3, signal.SIGINT)
    assert client.potentials == frozenset()
    assert home.update()["frame_verification"]["waiting"] == 0
    assert len(client.potentials) == 2


def test_fetched_files_are_kept_and_several_signals_act_like_one(
    home: Home, client: StandIn
) -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    interrupt_update(home, client, "/thumbnail", 37, *signals, at_least_saved=32)
    # The first request is for the placeholder; the 37th gets no answer.
    assert 32 <= saved_files(home) <= 35


@pytest.mark.parametrize(
    ("meanwhile", "out", "err"),
    [(PRESS_CTRL_C, "", ""), (SLEEP_THROUGH_IT, "woken\n", ""), (SWALLOW_IT, "", "Stopped")],
    ids=["early", "main thread not woken", "swallowed"],
)
def test_a_command_ends_whatever_it_is_doing(meanwhile: str, out: str, err: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEANWHILE.format(meanwhile), "stats"],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert run.returncode == 130
    assert run.stdout == out
    assert err in run.stderr
    assert "Traceback" not in run.stderr
