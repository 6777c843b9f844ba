"""Crash anywhere: whatever SIGKILL leaves of a run, the next ones make good.

The command runs in a process of its own, which is killed at the first boundary; then, with a fresh
index and a fresh client, at the second; and so on, until it gets through. Each time the same
command is run again, then an update, and all must be as if nothing had ever been killed.

Boundaries are where others can see how far a run has come: a commit of the index, and a request to
Hydrus, before and after Hydrus has done its work. In a migration they are the single statements,
and the moment at which the copy that is made first is complete but has no name yet.
"""

import multiprocessing
import os
import runpy
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from conftest import SHIPPED, THRESHOLD, Home, rows
from made_videos import doubtful_library
from sqlalchemy import Engine, event

from hydindex.commands import app as cli
from hydindex.common import clock
from hydindex.demo.generated_library import generate_library
from hydindex.standin.faults import DROP_AFTER_WORK, DROP_BEFORE_WORK, Fault
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn
from hydindex.store.schema import REVISION

Pair = frozenset[str]

# Where the process kills itself: by the names of SQLAlchemy's events and of Python's audit event.
COMMIT = "commit"
STATEMENT = "before_cursor_execute"
RENAME = "os.rename"
# Where the client kills it. Only a post does work that could make a difference.
REQUEST = "request"
POST_DONE = "post done"

ROLE = "the process that is killed"
"""The name under which this file is run there."""
LONGEST_S = 120

CALIBRATED = {"decision": {"method": "calibrated"}}
"""The decision of the config that comes with hydindex; a config without it decides by threshold."""
SPARING = {**CALIBRATED, "post": {"pairs": "spanning", "max_per_run": 3}}
"""Besides, it posts no more than it must, and that over several nights."""

try:
    # A fork is cheap, but not to be had from a process with threads, as that of the tests.
    FORKSERVER: Any = multiprocessing.get_context("forkserver")
except ValueError:
    FORKSERVER = None
else:
    # All that a command imports, and this file.
    FORKSERVER.set_forkserver_preload(
        [
            "PIL.JpegImagePlugin",
            "alembic.command",
            "hydindex.commands.app",
            "hydindex.standin.server",
            "hydindex.store.store",
            "hydindex.matching.threshold.ssim",
            "hydindex.matching.threshold.ms_ssim",
            "hydindex.commands.output",
            "hydindex.frames.sampling",
            "hydindex.pipeline.rebuild",
            "hydindex.pipeline.run_record",
            "hydindex.pipeline.update",
            "pytest",
            "scipy.ndimage",
        ]
    )

pytestmark = pytest.mark.skipif(
    FORKSERVER is None or not hasattr(signal, "SIGKILL"),
    reason="this system has no SIGKILL, or no fork server",
)


# What there is before the command


@cache
def videos() -> list[HydrusFile]:
    """Ten files of nearly the same length, so that which pairs match depends on the config."""
    library = generate_library(seed=3, pictures=10)
    return [
        replace(file, duration_ms=10_000 + 400 * (number % 5))
        for number, file in enumerate(library)
    ]


def first_night(_home: Home, client: StandIn) -> None:
    client.add(videos())


def later_night(home: Home, client: StandIn) -> None:
    """Three files are new, one is gone, one is back, and the user has decided one pair."""
    client.add(videos()[:7])
    home.update("--dry-run")
    pairs = sorted(map(sorted, home.pairs("queued")))
    client.decide(*pairs[0], 3)
    home.update()
    returning, leaving = pairs[1]
    client.trash(returning)
    home.update()
    client.restore(returning)
    client.trash(leaving)
    client.add(videos()[7:])


def doubtful_night(home: Home, client: StandIn) -> None:
    """Some pairs match by their thumbnails, and of others the frames decide."""
    client.add(videos()[:3])
    client.add(doubtful_library(home.folder.parent / "videos").values())


def changed_config(home: Home, client: StandIn) -> None:
    """Every file is to be prepared again; some pairs match no longer, and others do now."""
    client.add(videos())
    home.update()
    home.configure(
        preprocessing={"preBlurSigma": 3.0},
        similarity_threshold=0.2,
        candidate_generation={"tolSeconds": 0.5},
    )


def changed_decision(home: Home, client: StandIn) -> None:
    """All pairs that match by the threshold are posted, and the user has decided one."""
    client.add(videos())
    home.update()
    client.decide(*min(map(sorted, client.potentials)), 1)
    home.configure(**CALIBRATED)


def changed_thumbnails(home: Home, client: StandIn) -> None:
    """Besides, one file has got the thumbnail of another."""
    changed_config(home, client)
    client.add([replace(videos()[0], thumbnail=videos()[-1].thumbnail)])


def older_index(home: Home, client: StandIn) -> None:
    """An index of revision 0001; test_migration.py tells what it holds."""
    client.add(generate_library(seed=11, pictures=15))
    shutil.copy(Path(__file__).parents[1] / "data" / "index_0001.db", home.index)
    home.sql(f"UPDATE file SET checked_at = '{clock.now()}'")
    ((away,),) = home.sql("SELECT lower(hex(sha256)) FROM file WHERE gone_at IS NOT NULL")
    client.trash(away)
    home.configure(preprocessing={"fixedResize": [45, 38]})


@dataclass(frozen=True)
class Scene:
    """A folder and a client, and the command that is to be killed there, under some config."""

    before: Callable[[Home, StandIn], None]
    words: list[str]
    config: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def set_up(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> Iterator[tuple[Home, StandIn]]:
        folder.mkdir()
        home = Home(folder, capsys)
        with StandIn() as client:
            home.configure(client, **SHIPPED, **THRESHOLD)
            # Several posts, and all requests one after the other, so that they can be counted.
            home.configure(
                post={"batch_size": 3}, network={"max_connections": 1}, ahash={"io_workers": 1}
            )
            home.configure(**self.config)
            self.before(home, client)
            yield home, client


FIRST_NIGHT = Scene(first_night, ["update"])
LATER_NIGHT = Scene(later_night, ["update"])
CALIBRATED_NIGHT = Scene(later_night, ["update"], CALIBRATED)
SPARING_NIGHT = Scene(later_night, ["update"], SPARING)
DOUBTFUL_NIGHT = Scene(doubtful_night, ["update"], {**CALIBRATED, "frames": {"enabled": True}})
MIGRATION = Scene(older_index, ["update"])
REBUILD = Scene(changed_config, ["rebuild"])
TO_CALIBRATED = Scene(changed_decision, ["rebuild"])
REFETCH = Scene(changed_thumbnails, ["rebuild", "--refetch"])


# What must have become of it


@dataclass(frozen=True)
class Result:
    """All that must not depend on what was killed."""

    potentials: frozenset[Pair]
    sent: list[list[str]]
    pairs: set[tuple[Any, ...]]
    files: set[tuple[Any, ...]]

    @classmethod
    def of(cls, home: Home, client: StandIn) -> "Result":
        return cls(
            potentials=client.potentials,
            sent=sorted(map(sorted, rows(client))),
            pairs=set(
                home.sql(
                    "SELECT hex(low.sha256), hex(high.sha256), pair.state, matches, evidence, "
                    "outcome FROM pair "
                    "JOIN file low ON low.id = low_id JOIN file high ON high.id = high_id"
                )
            ),
            files=set(
                home.sql(
                    "SELECT hex(sha256), state, average_hash, gone_at IS NULL, "
                    "compared_since IS NULL, pixels, sums, content_shape, content_hash, "
                    "signature.views, content_shapes FROM file "
                    "LEFT JOIN prepared_picture ON prepared_picture.file_id = file.id "
                    "LEFT JOIN coarse_picture ON coarse_picture.file_id = file.id "
                    "LEFT JOIN signature ON signature.file_id = file.id "
                    "LEFT JOIN sampled_frames ON sampled_frames.file_id = file.id"
                )
            ),
        )


def run_on(scene: Scene, home: Home, client: StandIn) -> Result:
    """Run the command, as if again, and updates until all is told; see that the index is sound."""
    outcome = home.run(*scene.words)
    assert outcome.exit_code == 0, outcome
    told = True
    while told:
        report = home.update()
        told = report["pairs"]["posted"] + report["pairs"]["known"] > 0
    assert home.sql("PRAGMA integrity_check") == [("ok",)]
    assert home.sql("PRAGMA foreign_key_check") == []
    check_copies(home.folder)
    assert not home.pairs("sending", "refused")
    assert report["pairs"]["queued"] == report["held_back"]["implied"]
    sent = rows(client)
    assert len(sent) == len(set(sent)), "a pair was posted twice"
    return Result.of(home, client)


def check_copies(folder: Path) -> None:
    """See that whatever has the name of a copy is a whole index."""
    for copy in folder.glob("*.bak"):
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("SELECT count(*) > 0 FROM file").fetchall() == [(1,)]


# How it is killed


def run_to_be_killed(scene: Scene, home: Home, client: StandIn, boundary: str, nth: int) -> int:
    """Run the command in a process that is killed at the nth boundary; give its exit code."""
    words = [*scene.words, "--config", str(home.config)]
    arguments = (words, boundary, nth, home.folder / "output.txt")
    process = FORKSERVER.Process(
        target=runpy.run_path, args=(__file__, {"arguments": arguments}, ROLE)
    )
    started = Event()
    reached = count(1)

    def hook(method: str, _path: str, _nth_of_its_kind: int) -> Fault | None:
        if boundary == POST_DONE and method != "POST":
            return None
        if next(reached) != nth:
            return None
        started.wait()
        process.kill()
        return DROP_AFTER_WORK if boundary == POST_DONE else DROP_BEFORE_WORK

    if boundary in (REQUEST, POST_DONE):
        client.faults = hook
    process.start()
    started.set()
    process.join(LONGEST_S)
    client.faults = lambda *_: None
    exit_code = process.exitcode
    if exit_code is None:
        process.kill()
        process.join()
    assert exit_code in (0, -signal.SIGKILL), (home.folder / "output.txt").read_text()
    return int(exit_code)


def kill_this_process_at(boundary: str, nth: int) -> None:
    """Have this process killed when it reaches the nth boundary of its own."""
    reached = count(1)

    def kill(*_: Any) -> None:
        if next(reached) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    if boundary == RENAME:
        sys.addaudithook(lambda name, _: kill() if name == RENAME else None)
    elif boundary in (COMMIT, STATEMENT):
        event.listen(Engine, boundary, kill)


def kill_everywhere(
    scene: Scene, boundary: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> int:
    """Kill the command at each boundary in turn, and run on each time; count the kills."""
    with scene.set_up(folder / "whole", capsys) as (home, client):
        sent_before = len(client.posted_rows)
        expected = run_on(scene, home, client)
    assert len(expected.sent) >= sent_before + 3

    for nth in count(1):
        with scene.set_up(folder / str(nth), capsys) as (home, client):
            exit_code = run_to_be_killed(scene, home, client, boundary, nth)
            if exit_code == 0 or (boundary == STATEMENT and is_migrated(home)):
                return nth - 1
            try:
                result = run_on(scene, home, client)
            except AssertionError as error:
                raise AssertionError(f"killed at {boundary} {nth}: {error}") from error
            assert result == expected, f"killed at {boundary} {nth}"
    raise AssertionError


def is_migrated(home: Home) -> bool:
    """Tell whether the migration is over: what a run does then, others tests kill."""
    return home.sql("SELECT version_num FROM alembic_version") == [(REVISION,)]


@pytest.mark.parametrize(
    ("scene", "boundary", "fewest"),
    [
        pytest.param(FIRST_NIGHT, COMMIT, 12, id="first update, commits"),
        pytest.param(FIRST_NIGHT, REQUEST, 20, id="first update, requests"),
        pytest.param(FIRST_NIGHT, POST_DONE, 3, id="first update, posts done"),
        pytest.param(LATER_NIGHT, COMMIT, 8, id="later update, commits"),
        pytest.param(CALIBRATED_NIGHT, COMMIT, 8, id="calibrated update, commits"),
        pytest.param(CALIBRATED_NIGHT, REQUEST, 12, id="calibrated update, requests"),
        pytest.param(CALIBRATED_NIGHT, POST_DONE, 2, id="calibrated update, posts done"),
        pytest.param(SPARING_NIGHT, COMMIT, 8, id="sparing update, commits"),
        pytest.param(SPARING_NIGHT, REQUEST, 12, id="sparing update, requests"),
        pytest.param(SPARING_NIGHT, POST_DONE, 1, id="sparing update, posts done"),
        pytest.param(DOUBTFUL_NIGHT, COMMIT, 15, id="doubtful update, commits"),
        pytest.param(DOUBTFUL_NIGHT, REQUEST, 30, id="doubtful update, requests"),
        pytest.param(MIGRATION, STATEMENT, 30, id="migration, statements"),
        pytest.param(MIGRATION, RENAME, 1, id="migration, its copy"),
        pytest.param(MIGRATION, COMMIT, 10, id="migrating update, commits"),
        pytest.param(MIGRATION, REQUEST, 12, id="migrating update, requests"),
        pytest.param(MIGRATION, POST_DONE, 3, id="migrating update, posts done"),
        pytest.param(REBUILD, COMMIT, 5, id="rebuild, commits"),
        pytest.param(REBUILD, RENAME, 1, id="rebuild, its copy"),
        pytest.param(TO_CALIBRATED, COMMIT, 5, id="rebuild to calibrated, commits"),
        pytest.param(REFETCH, COMMIT, 5, id="refetch, commits"),
        pytest.param(REFETCH, REQUEST, 14, id="refetch, requests"),
    ],
)
def test_what_was_killed_is_made_good(
    scene: Scene, boundary: str, fewest: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = kill_everywhere(scene, boundary, tmp_path, capsys)
    assert kills >= fewest


if __name__ == ROLE:
    words, boundary, nth, output = globals()["arguments"]
    with output.open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    kill_this_process_at(boundary, nth)
    cli.main(words)
