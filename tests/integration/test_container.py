"""What the container runs: an update every day, whatever became of the last one, until stopped."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import Home

from hydindex import __version__
from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn
from hydindex.standin.state import HydrusFile

Serve = Callable[..., StandIn]
NIGHTLY = Path(__file__).parents[2] / "container" / "nightly.sh"
DAY_S = 24 * 60 * 60
SOON_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the image is a Linux")


class Container:
    """The script in a shell of its own, with the true hydindex, and nights that pass quickly."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._nights = folder / "nights"
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []

    def environment(self, *, quick_nights: int = 0, **more: str) -> dict[str, str]:
        """Let so many nights pass at once; `sleep` notes how long each would have taken."""
        nights, true_sleep = shlex.quote(str(self._nights)), shutil.which("sleep")
        sleep = self._folder / "sleep"
        sleep.write_text(
            f'#!/bin/sh\necho "$1" >> {nights}\n'
            f'[ "$(wc -l < {nights})" -le {quick_nights} ] || exec {true_sleep} "$1"\n'
        )
        sleep.chmod(0o755)
        path = f"{self._folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "HYDINDEX_CONFIG": str(self._home.config),
            "HYDINDEX_WAIT_MINUTES": "0",
            **more,
        }

    def start(self, *, quick_nights: int = 0, **more: str) -> subprocess.Popen[str]:
        running = subprocess.Popen(
            ["sh", NIGHTLY],
            env=self.environment(quick_nights=quick_nights, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(running)
        return running

    def end(self) -> None:
        """End what a test that failed has left running."""
        for each in self._running:
            with each:
                each.terminate()

    @property
    def nights_s(self) -> list[int]:
        """How long each of the nights that have begun is to last, in seconds."""
        return [int(each) for each in self._nights.read_text().split()] if self.has_begun else []

    @property
    def has_begun(self) -> bool:
        return self._nights.exists()


@pytest.fixture
def container(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    made = Container(home, tmp_path_factory.mktemp("tools"))
    yield made
    made.end()


def wait_for(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < ends_at, "it took too long"
        time.sleep(0.02)


def stop(running: subprocess.Popen[str]) -> str:
    """Stop it as `docker stop` does, which kills what is left after ten seconds."""
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=SOON_S)
    assert running.returncode == 0, said
    return said


def test_updates_every_day_until_it_is_stopped(
    serve: Serve, library: list[HydrusFile], container: Container
) -> None:
    client = serve(library)
    running = container.start(quick_nights=2)
    wait_for(lambda: len(container.nights_s) == 3)
    said = stop(running)
    assert [line for line in said.splitlines() if line.startswith("Hydrus:")] == [
        f"Hydrus: {len(client.potentials)} posted, 0 already known, 0 refused, 0 queued",
        "Hydrus: 0 posted, 0 already known, 0 refused, 0 queued",
    ]
    assert all(0 < seconds <= DAY_S + 3600 for seconds in container.nights_s)


def test_a_night_that_failed_does_not_end_it(
    home: Home, serve: Serve, container: Container
) -> None:
    serve([])
    home.configure(api_port=9)
    running = container.start(quick_nights=2)
    wait_for(lambda: len(container.nights_s) == 3)
    assert stop(running).count("Hydrus did not answer") == 2


def test_an_update_that_runs_is_stopped_in_good_order(
    home: Home, serve: Serve, library: list[HydrusFile], container: Container
) -> None:
    client = serve(library)
    client.faults = lambda _method, path, nth: (
        Fault(carried_out=True, instead=Reply(silence_s=30.0))
        if path == "/get_files/thumbnail" and nth > 1
        else None
    )
    running = container.start(quick_nights=1)
    wait_for(lambda: sum("thumbnail" in each.path for each in client.requests) > 1)
    assert "hydindex: Stopped" in stop(running)
    assert home.sql("SELECT exit_code FROM run") == [(130,)]


@pytest.mark.parametrize(("ahead_h", "expected_h"), [(2, 2), (-2, 22)])
def test_waits_until_the_time_on_the_wall(
    ahead_h: int, expected_h: int, container: Container
) -> None:
    at = datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(hours=ahead_h)
    container.start(HYDINDEX_AT=f"{at:%H:%M}", TZ="Asia/Tokyo")
    wait_for(lambda: bool(container.nights_s))
    (seconds,) = container.nights_s
    assert expected_h * 3600 - 90 < seconds <= expected_h * 3600


@pytest.mark.parametrize(("ahead_h", "until_h"), [(2, 2.5), (-2, 21.5)])
def test_a_time_that_the_clocks_leave_out_is_an_hour_later(
    ahead_h: int, until_h: float, container: Container
) -> None:
    """In a place where clocks go forward by an hour today, soon or some time ago."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    left_out = hour + timedelta(hours=ahead_h)
    day = left_out.timetuple().tm_yday - 1
    summer_time = f"STD0DST,{day}/{left_out.hour},{(day + 180) % 365}"
    container.start(HYDINDEX_AT=f"{left_out.hour:02}:30", TZ=summer_time)
    wait_for(lambda: bool(container.nights_s))
    (seconds,) = container.nights_s
    expected_s = (hour - datetime.now(UTC)).total_seconds() + until_h * 3600
    assert expected_s - 2 <= seconds <= expected_s + 90


@pytest.mark.parametrize("at", [" ", "3", "24:00", "03:60", "tomorrow", "03:00; reboot"])
def test_a_time_that_is_none_is_said_at_once(at: str, container: Container) -> None:
    environment = container.environment(HYDINDEX_AT=at)
    ended = subprocess.run(
        ["sh", NIGHTLY],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert ended.returncode == 2
    assert "HYDINDEX_AT" in ended.stderr
    assert not container.has_begun


def test_with_arguments_it_is_hydindex(container: Container) -> None:
    environment = container.environment()
    ended = subprocess.run(
        ["sh", NIGHTLY, "--version"], env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"hydindex {__version__}\n"
