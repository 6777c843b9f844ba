"""Whatever SIGKILL leaves of a run, the next runs finish it.

The command runs in its own process, which is killed at the first boundary; then, with a new index
and a new client, at the second; and so on, until it finishes. Each time the same command runs
again, then an update, and everything must be as if nothing had been killed.

Boundaries are where others can see how far a run is: a commit of the index, and a request to
Hydrus, before and after Hydrus has done its work. In an upgrade they are the single statements,
and the moment at which the backup is complete but has no name yet.
"""

import multiprocessing
import os
import runpy
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from conftest import SHIPPED, THRESHOLD, Home, assert_sent_once, rows
from made_videos import doubtful_library
from newer_schema import NEW, install, uninstall, write_migrations
from sqlalchemy import Engine, event

from hydindex.commands import app
from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import DROP_AFTER_WORK, DROP_BEFORE_WORK, Fault, StandIn

# Where the process kills itself: names of SQLAlchemy's events and of Python's audit event.
COMMIT = "commit"
STATEMENT = "before_cursor_execute"
RENAME = "os.rename"
# Where the client kills it. Of all requests only a post changes something.
REQUEST = "request"
POST_DONE = "post done"

# The name under which this file runs in the process to be killed.
ROLE = "the process that is killed"
LONGEST_S = 120

try:
    # Forking is cheap, but unsafe in a process with threads, such as that of the tests.
    FORKSERVER: Any = multiprocessing.get_context("forkserver")
except ValueError:
    FORKSERVER = None
else:
    # What takes longest to import.
    FORKSERVER.set_forkserver_preload(
        [
            "alembic.command",
            "hydindex.frames.sampling",
            "hydindex.matching.threshold.ms_ssim",
            "hydindex.pipeline.rebuild",
            "hydindex.pipeline.update",
            "hydindex.standin.server",
            "pytest",
            "scipy.ndimage",
        ]
    )

pytestmark = pytest.mark.skipif(
    FORKSERVER is None or not hasattr(signal, "SIGKILL"),
    reason="no SIGKILL or no fork server here",
)


# The state before the command


# Ten files of nearly the same length, so that the config decides which pairs match.
VIDEOS = [
    replace(file, duration_ms=10_000 + 400 * (number % 5))
    for number, file in enumerate(generate_library(seed=3, pictures=10))
]


def first_night(_home: Home, client: StandIn) -> None:
    client.add(VIDEOS)


def later_night(home: Home, client: StandIn) -> None:
    """Three files are new, one is gone, one is back, and the user has decided one pair."""
    client.add(VIDEOS[:7])
    home.update("--dry-run")
    pairs = sorted(map(sorted, home.pairs("queued")))
    client.decide(*pairs[0], 3)
    home.update()
    returning, leaving = pairs[1]
    client.trash(returning)
    home.update()
    client.restore(returning)
    client.trash(leaving)
    client.add(VIDEOS[7:])


def doubtful_night(home: Home, client: StandIn) -> None:
    """Some pairs match by their thumbnails, and others need frame verification."""
    client.add(VIDEOS[:3])
    client.add(doubtful_library(home.folder.parent / "videos").values())


def changed_config(home: Home, client: StandIn) -> None:
    """Every file must be prepared again; some pairs match no longer, and others do now."""
    home.configure(**THRESHOLD, candidate_generation={"tolSeconds": 0.5})
    client.add(VIDEOS)
    home.update()
    home.configure(
        preprocessing={"histEq": True},
        similarity_threshold=0.8,
        candidate_generation={"tolSeconds": 1.0},
    )


def changed_method(home: Home, client: StandIn) -> None:
    """The pairs of the method threshold are posted, and the user has decided one."""
    home.configure(**THRESHOLD)
    client.add(VIDEOS)
    home.update()
    client.decide(*min(map(sorted, client.potentials)), 1)
    home.configure(decision={"method": "calibrated"})


def changed_thumbnails(home: Home, client: StandIn) -> None:
    """Besides a changed config, one file has got the thumbnail of another."""
    changed_config(home, client)
    client.add([replace(VIDEOS[0], thumbnail=VIDEOS[-1].thumbnail)])


def older_index(home: Home, client: StandIn) -> None:
    """The index has the schema of an older hydindex, and files are new."""
    client.add(VIDEOS[:7])
    home.update()
    client.add(VIDEOS[7:])


@dataclass(frozen=True)
class Scene:
    """A folder and a client, and the command to be killed there, under some config.

    `upgrade`: statements of a newer schema, which this command and all later ones have.
    """

    before: Callable[[Home, StandIn], None]
    words: list[str]
    config: Mapping[str, Any] = field(default_factory=dict)
    upgrade: tuple[str, ...] = ()

    @contextmanager
    def set_up(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> Iterator[tuple[Home, StandIn]]:
        folder.mkdir()
        home = Home(folder, capsys)
        with StandIn() as client:
            home.configure(client, **SHIPPED)
            # Several posts, and all requests one after the other, so that they can be counted.
            home.configure(
                post={"batch_size": 3}, network={"max_connections": 1}, ahash={"io_workers": 1}
            )
            home.configure(**self.config)
            self.before(home, client)
            if self.upgrade:
                install(write_migrations(folder, *self.upgrade))
            try:
                yield home, client
            finally:
                uninstall()


LATER_NIGHT = Scene(later_night, ["update"])
FIRST_NIGHT = replace(LATER_NIGHT, before=first_night)
THRESHOLD_NIGHT = replace(LATER_NIGHT, config=THRESHOLD)
SPANNING_NIGHT = replace(LATER_NIGHT, config={"post": {"pairs": "spanning", "max_per_run": 3}})
DOUBTFUL_NIGHT = Scene(doubtful_night, ["update"], {"frames": {"enabled": True}})
UPGRADE = Scene(
    older_index,
    ["update"],
    upgrade=(
        'op.execute("ALTER TABLE file ADD COLUMN note TEXT")',
        'op.execute("DROP INDEX ix_pair_state")',
        'op.execute("CREATE INDEX ix_pair_state ON pair (state, score)")',
    ),
)
REBUILD = Scene(changed_config, ["rebuild"])
METHOD_CHANGE = Scene(changed_method, ["rebuild"])
REFETCH = Scene(changed_thumbnails, ["rebuild", "--refetch"])


# The result


def result(home: Home, client: StandIn) -> list[Any]:
    """Return everything that must not depend on where the command was killed."""
    return [
        client.potentials,
        sorted(map(sorted, rows(client))),
        sorted(home.pair_rows("pair.state, matches, features, decision"), key=str),
        set(
            home.sql(
                "SELECT hex(sha256), state, average_hash, gone_at IS NULL, "
                "compared_since IS NULL, content_aspect_factor, "
                "prepared_picture.picture, coarse_picture.picture, signature.picture, "
                "descriptor.picture, "
                "content_aspect_factors FROM file "
                "LEFT JOIN prepared_picture ON prepared_picture.file_id = file.id "
                "LEFT JOIN coarse_picture ON coarse_picture.file_id = file.id "
                "LEFT JOIN signature ON signature.file_id = file.id "
                "LEFT JOIN descriptor ON descriptor.file_id = file.id "
                "LEFT JOIN sampled_frames ON sampled_frames.file_id = file.id"
            )
        ),
    ]


def run_on(scene: Scene, home: Home, client: StandIn) -> list[Any]:
    """Run the command again, then updates until all pairs are in Hydrus; check the index."""
    outcome = home.run(*scene.words)
    assert outcome.exit_code == 0, outcome
    posts = True
    while posts:
        report = home.update()
        posts = report["pairs"]["posted"] + report["pairs"]["known"] > 0
    home.assert_sound()
    for backup in home.folder.glob("*.bak"):
        with closing(sqlite3.connect(backup)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("SELECT count(*) > 0 FROM file").fetchall() == [(1,)]
    assert not home.pairs("sending", "refused")
    assert report["pairs"]["queued"] == report["held_back"]["implied"]
    assert_sent_once(client)
    return result(home, client)


# How it is killed


def run_to_be_killed(scene: Scene, home: Home, client: StandIn, boundary: str, nth: int) -> int:
    """Run the command in a process that is killed at the nth boundary; return its exit code."""
    words = [*scene.words, "--config", str(home.config)]
    migrations = home.folder / "migrations" if scene.upgrade else None
    arguments = (words, boundary, nth, migrations, home.folder / "output.txt")
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
    """Let this process be killed when it reaches the nth boundary."""
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
    """Kill the command at each boundary in turn and run on; return the number of kills."""
    with scene.set_up(folder / "whole", capsys) as (home, client):
        sent_before = len(client.posted_rows)
        expected = run_on(scene, home, client)
        assert len(client.posted_rows) >= sent_before + 3

    for nth in count(1):
        with scene.set_up(folder / f"{boundary} {nth}", capsys) as (home, client):
            exit_code = run_to_be_killed(scene, home, client, boundary, nth)
            # Other tests kill what follows an upgrade.
            if exit_code == 0 or (boundary == STATEMENT and is_upgraded(home)):
                return nth - 1
            assert run_on(scene, home, client) == expected
    raise AssertionError


def is_upgraded(home: Home) -> bool:
    return home.sql("SELECT version_num FROM alembic_version") == [(NEW,)]


def case(scene: Scene, boundary: str, min_kills: int, name: str, *, slow: bool = True) -> Any:
    """Return the parameters of one campaign; only those that aren't slow run by default."""
    return pytest.param(
        scene, boundary, min_kills, id=name, marks=[pytest.mark.slow] if slow else []
    )


@pytest.mark.parametrize(
    ("scene", "boundary", "min_kills"),
    [
        case(LATER_NIGHT, COMMIT, 8, "later update, commits", slow=False),
        case(LATER_NIGHT, POST_DONE, 2, "later update, posts done", slow=False),
        case(UPGRADE, STATEMENT, 7, "upgrade, statements", slow=False),
        case(UPGRADE, RENAME, 1, "upgrade, its backup", slow=False),
        case(METHOD_CHANGE, COMMIT, 5, "rebuild after a change of method, commits", slow=False),
        case(FIRST_NIGHT, COMMIT, 12, "first update, commits"),
        case(FIRST_NIGHT, REQUEST, 20, "first update, requests"),
        case(FIRST_NIGHT, POST_DONE, 3, "first update, posts done"),
        case(LATER_NIGHT, REQUEST, 12, "later update, requests"),
        case(THRESHOLD_NIGHT, COMMIT, 8, "threshold update, commits"),
        case(SPANNING_NIGHT, COMMIT, 8, "spanning update, commits"),
        case(SPANNING_NIGHT, REQUEST, 12, "spanning update, requests"),
        case(SPANNING_NIGHT, POST_DONE, 1, "spanning update, posts done"),
        case(DOUBTFUL_NIGHT, COMMIT, 15, "doubtful update, commits"),
        case(DOUBTFUL_NIGHT, REQUEST, 30, "doubtful update, requests"),
        case(REBUILD, COMMIT, 5, "rebuild, commits"),
        case(REBUILD, RENAME, 1, "rebuild, its backup"),
        case(REFETCH, COMMIT, 5, "refetch, commits"),
        case(REFETCH, REQUEST, 14, "refetch, requests"),
    ],
)
def test_the_next_runs_finish_what_was_killed(
    scene: Scene,
    boundary: str,
    min_kills: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert kill_everywhere(scene, boundary, tmp_path, capsys) >= min_kills


if __name__ == ROLE:
    words, boundary, nth, migrations, output = globals()["arguments"]
    with output.open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if migrations is not None:
        install(migrations)
    kill_this_process_at(boundary, nth)
    app.main(words)
