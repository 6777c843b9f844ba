"""Ctrl-C, or a service manager that ends the run: at once, whatever the client is doing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from threading import Event

import pytest
from conftest import Home, fetched, rows
from made_videos import doubtful_library

from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile

Serve = Callable[..., StandIn]

# It is a few hundredths of a second where nothing else runs (docs/reliability.md); a wait for what
# is in flight would take a minute.
SOON_S = 5.0

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals as POSIX systems do")


# What runs in the background, as these tests may, is deaf to Ctrl-C, and so are its children.
HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from hydindex.__main__ import run
run()
"""

# Does something at the moment when the command is imported, before it has begun.
MEANWHILE = """
import os, signal, sys, time

class Meanwhile:
    def find_spec(self, name, path, target=None):
        if name == "hydindex.commands.app":
            {0}

sys.meta_path.insert(0, Meanwhile())
""".replace("\n\n", "\n")
PRESS_CTRL_C = "os.kill(os.getpid(), signal.SIGINT)"
SLEEP_THROUGH_IT = """
            import ctypes, threading
            # The system may hand a signal to any thread.
            meet = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            threading.Timer(0.2, meet).start()
            try:
                ctypes.CDLL(None).pause()
                time.sleep(60)
            except KeyboardInterrupt:
                print("woken", flush=True)
                raise
"""
BE_DEAF = """
            for _ in range(2):
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(60)
                except KeyboardInterrupt:
                    pass
"""


def saved_files(home: Home) -> int:
    count: int = home.sql("SELECT count(*) FROM file")[0][0]
    return count


def stopped_in_mid_request(
    home: Home,
    client: StandIn,
    path: str,
    nth: int,
    *numbers: signal.Signals,
    at_least_saved: int = 0,
) -> tuple[int, str]:
    """Run an update that signals meet while the client sits silent; give its code and stderr."""
    silent, go_on = Event(), Event()

    def hook(_method: str, asked: str, count: int) -> None:
        if asked.endswith(path) and count == nth:
            silent.set()
            go_on.wait()

    client.faults = hook
    words = [sys.executable, "-c", HEARS_CTRL_C, "update", "--config", str(home.config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        try:
            assert silent.wait(60)
            while saved_files(home) < at_least_saved:
                time.sleep(0.05)
            for number in numbers:
                run.send_signal(number)
            _, err = run.communicate(timeout=SOON_S)
        finally:
            run.kill()
            go_on.set()
    client.faults = lambda *_: None
    return run.returncode, err


def test_a_second_look_ends_at_once_and_the_next_run_goes_on(home: Home, serve: Serve) -> None:
    home.configure(decision={"method": "calibrated"}, frames={"enabled": True})
    client = serve(list(doubtful_library(home.folder / "videos").values()))
    stopped = stopped_in_mid_request(home, client, "/get_files/file", 3, signal.SIGINT)
    assert stopped[0] == 130
    assert client.potentials == frozenset()
    assert home.update()["frame_verification"]["waiting"] == 0
    assert len(client.potentials) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("path", "nth"),
    [
        ("/api_version", 1),
        ("/search_files", 1),
        ("/file_metadata", 1),
        ("/thumbnail", 37),
        ("/get_file_relationships", 1),
        ("/set_file_relationships", 1),
    ],
)
def test_a_run_ends_at_once_and_the_next_one_goes_on(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    path: str,
    nth: int,
    number: signal.Signals,
) -> None:
    client = serve(library)
    exit_code, err = stopped_in_mid_request(home, client, path, nth, number)
    assert exit_code == 130
    assert "Stopped: " in err
    assert "Traceback" not in err
    assert "exit 130" in home.run("stats").out
    kept = saved_files(home)
    assert f"{kept} files fetched" in err

    earlier = len(client.requests)
    home.update()
    assert len(fetched(client, since=earlier)) == len(library) - kept
    sent = rows(client)
    assert len(sent) == len(set(sent)) == len(client.potentials) > 0


def test_what_has_come_by_then_is_kept(home: Home, serve: Serve, library: list[HydrusFile]) -> None:
    client = serve(library)
    stopped_in_mid_request(home, client, "/thumbnail", 37, signal.SIGINT, at_least_saved=32)
    # The first request asked for the placeholder, and the 37th is the one without an answer.
    assert 32 <= saved_files(home) <= 35


def test_pressing_twice_says_as_much_as_pressing_once(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    impatient = (signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    exit_code, err = stopped_in_mid_request(home, client, "/thumbnail", 37, *impatient)
    assert exit_code == 130
    assert "Stopped: " in err
    assert "Traceback" not in err
    assert "exit 130" in home.run("stats").out


def test_a_signal_that_does_not_wake_the_command_is_followed_by_one_that_does() -> None:
    code = MEANWHILE.format(SLEEP_THROUGH_IT) + HEARS_CTRL_C
    run = subprocess.run(
        [sys.executable, "-c", code, "stats"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout == "woken\n"
    assert run.returncode == 130


@pytest.mark.parametrize(
    ("meanwhile", "says"),
    [(PRESS_CTRL_C, ""), (BE_DEAF, "Stopped")],
    ids=["before it has begun", "deaf"],
)
def test_a_command_ends_soon_whatever_it_is_at(meanwhile: str, says: str) -> None:
    words = [sys.executable, "-c", MEANWHILE.format(meanwhile) + HEARS_CTRL_C, "stats"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode == 130
    assert says in run.stderr
    assert "Traceback" not in run.stderr
