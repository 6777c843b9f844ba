"""The container's script runs an update every day until it is stopped."""

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
from conftest import Home, at, count

from hydindex import __version__
from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn

NIGHTLY = Path(__file__).parents[2] / "container" / "nightly.sh"
DAY_S = 24 * 60 * 60
SOON_S = 120.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the image is Linux")


class Container:
    """The script in its own shell, with the real hydindex and a `sleep` that ends early."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._nights = folder / "nights"
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []

    def start(
        self, *words: str, quick_nights: int = 0, **environment: str
    ) -> subprocess.Popen[str]:
        """Let this many nights pass at once; `sleep` logs how long each would have taken."""
        nights, real_sleep = shlex.quote(str(self._nights)), shutil.which("sleep")
        sleep = self._folder / "sleep"
        sleep.write_text(
            f'#!/bin/sh\necho "$1" >> {nights}\n'
            f'[ "$(wc -l < {nights})" -le {quick_nights} ] || exec {real_sleep} "$1"\n'
        )
        sleep.chmod(0o755)
        environment |= {
            "PATH": f"{self._folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HYDINDEX_CONFIG": str(self._home.config),
            "HYDINDEX_WAIT_MINUTES": "0",
        }
        running = subprocess.Popen(
            ["sh", NIGHTLY, *words],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._running.append(running)
        return running

    def end(self) -> None:
        """End what a failed test left running."""
        for each in self._running:
            with each:
                each.terminate()

    @property
    def nights_s(self) -> list[int]:
        """The length of each night that has begun."""
        if not self._nights.exists():
            return []
        return [int(each) for each in self._nights.read_text().split()]


@pytest.fixture
def container(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    made = Container(home, tmp_path_factory.mktemp("tools"))
    yield made
    made.end()


def wait_for(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < ends_at, "timed out"
        time.sleep(0.02)


def stop(running: subprocess.Popen[str]) -> str:
    """Stop the script as `docker stop` does."""
    running.send_signal(signal.SIGTERM)
    printed, _ = running.communicate(timeout=SOON_S)
    assert running.returncode == 0, printed
    return printed


def test_the_script_updates_every_day_until_it_is_stopped(
    client: StandIn, container: Container
) -> None:
    running = container.start(quick_nights=2)
    wait_for(lambda: len(container.nights_s) == 3)
    printed = stop(running)
    assert [line for line in printed.splitlines() if line.startswith("Hydrus:")] == [
        f"Hydrus: {len(client.potentials)} posted, 0 already known, 0 refused, 0 queued",
        "Hydrus: 0 posted, 0 already known, 0 refused, 0 queued",
    ]
    assert all(0 < seconds <= DAY_S + 3600 for seconds in container.nights_s)


def test_a_failed_update_does_not_end_the_script(home: Home, container: Container) -> None:
    home.configure(api_key="c" * 64, api_port=9)
    running = container.start(quick_nights=2)
    wait_for(lambda: len(container.nights_s) == 3)
    assert stop(running).count("Hydrus did not answer") == 2


def test_stopping_the_script_stops_the_update_cleanly(
    home: Home, client: StandIn, container: Container
) -> None:
    silence = Fault(carried_out=True, instead=Reply(silence_s=30.0))
    client.faults = at("/thumbnail", silence, since=2)
    running = container.start(quick_nights=1)
    wait_for(lambda: count(client, "/thumbnail") > 1)
    assert "hydindex: Stopped" in stop(running)
    assert home.sql("SELECT exit_code FROM run") == [(130,)]


@pytest.mark.parametrize(("ahead_h", "expected_h"), [(2, 2), (-2, 22)])
def test_the_script_waits_until_the_local_time(
    ahead_h: int, expected_h: int, container: Container
) -> None:
    at = datetime.now(ZoneInfo("Asia/Tokyo")) + timedelta(hours=ahead_h)
    container.start(HYDINDEX_AT=f"{at:%H:%M}", TZ="Asia/Tokyo")
    wait_for(lambda: bool(container.nights_s))
    (seconds,) = container.nights_s
    assert expected_h * 3600 - 90 < seconds <= expected_h * 3600


@pytest.mark.parametrize("ahead_h", [2, -2])
def test_a_time_skipped_by_daylight_saving_is_an_hour_later(
    ahead_h: int, container: Container
) -> None:
    """The time zone is made so that clocks go forward today, before or after now."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    if (hour.hour + ahead_h) % 24 == 12:
        ahead_h += 1  # the script counts days at noon, which no real time zone skips
    skipped = hour + timedelta(hours=ahead_h)
    day = skipped.timetuple().tm_yday - 1
    summer_time = f"STD0DST,{day}/{skipped.hour},{(day + 180) % 365}"
    container.start(HYDINDEX_AT=f"{skipped.hour:02}:30", TZ=summer_time)
    wait_for(lambda: bool(container.nights_s))
    (seconds,) = container.nights_s
    until_h = ahead_h + 0.5 if ahead_h > 0 else ahead_h + 23.5
    expected_s = (hour - datetime.now(UTC)).total_seconds() + until_h * 3600
    assert expected_s - 2 <= seconds <= expected_s + 90


@pytest.mark.parametrize("at", [" ", "3", "24:00", "03:60", "03:00; reboot"])
def test_a_wrong_time_is_an_error(at: str, container: Container) -> None:
    running = container.start(HYDINDEX_AT=at)
    printed, _ = running.communicate(timeout=SOON_S)
    assert running.returncode == 2
    assert "HYDINDEX_AT" in printed
    assert container.nights_s == []


def test_with_arguments_the_script_runs_hydindex(container: Container) -> None:
    printed, _ = container.start("--version").communicate(timeout=SOON_S)
    assert printed == f"hydindex {__version__}\n"
