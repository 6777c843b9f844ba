"""What the tests share: a home with a config and an index, and small libraries."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings
from made_pictures import COVERS, spread, with_picture_of

from hydindex.commands import app as cli
from hydindex.demo.generated_library import generate_library
from hydindex.standin.server import Fault, FaultHook, StandIn
from hydindex.standin.state import HydrusFile

# Other programs may keep the machine busy: no test fails for its time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

USUAL_PORTS = (45869, 42001)
CORPUS = Path(__file__).parents[2] / "shared" / "corpus"

# What whoever runs the tests has set for a library of their own.
for variable in ("HYDINDEX_API_KEY", "HYDINDEX_CONFIG"):
    os.environ.pop(variable, None)

# The config that ships, without pauses before something is tried again.
SHIPPED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "hydrus_config.json").read_text(encoding="utf-8")
)
SHIPPED |= {
    "tags": ["system:filetype is video"],
    "network": {"backoff_factor": 0.0},
    "post": {**SHIPPED["post"], "retry_pause_s": 0.0},
}
# The other method, on small pictures: the same code paths, a hundred times as fast.
THRESHOLD = {
    "decision": {"method": "threshold"},
    "preprocessing": {"fixedResize": [32, 32], "useMSSSIM": False},
}
MS_SSIM = {
    "decision": {"method": "threshold"},
    "preprocessing": {"fixedResize": [184, 184], "useMSSSIM": True},
}


Library = list[HydrusFile]
Serve = Callable[..., StandIn]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and its output."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


class Home:
    """A folder with a config and an index, in which commands are run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "hydrus_config.json"
        self.index = folder / "hydindex.db"
        self._capsys = capsys
        self._values: dict[str, Any] = {}

    def configure(self, client: StandIn | None = None, **changes: Any) -> None:
        """Write the config anew; sections are merged key by key with what was written before."""
        if client is not None:
            changes |= {"api_port": client.port, "api_key": client.SEARCH_AND_RELATIONSHIPS_KEY}
        for key, value in changes.items():
            if isinstance(value, dict):
                value = {**self._values.get(key, {}), **value}
            self._values[key] = value
        self.config.touch(mode=0o600)
        self.config.write_text(json.dumps(self._values), encoding="utf-8")

    def replace_config(self, values: dict[str, Any], client: StandIn) -> None:
        """Write another config, of which only the address and the key are the client's."""
        self._values = dict(values)
        self.configure(client)

    def run(self, *words: str) -> Outcome:
        """Run a command in this process."""
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--config", str(self.config)])
        captured = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, captured.out, captured.err)

    def run_process(self, *words: str, launcher: Sequence[str] = (), **environment: str) -> Outcome:
        """Run a command in its own process."""
        command = [sys.executable, "-m", "hydindex", *words, "--config", str(self.config)]
        ended = subprocess.run(
            [*launcher, *command],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    def run_unprivileged(self, *words: str) -> Outcome:
        """Run a command in a process to which a folder is read-only that says so, even as root."""
        if os.geteuid() != 0:
            return self.run_process(*words)
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write everywhere, and there is no setpriv to prevent it")
        return self.run_process(
            *words, launcher=[setpriv, "--bounding-set=-all", "--inh-caps=-all"]
        )

    def update(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Run an update and give its JSON."""
        return self._run_json("update", *words, expect=expect)

    def rebuild(self, *words: str) -> dict[str, Any]:
        """Run a rebuild and give its JSON."""
        return self._run_json("rebuild", *words, expect=0)

    def fail(self, *words: str, expect: int, kind: str | None = None) -> str:
        """Run a command that ends with an error of a kind; give its message and remedy."""
        error = self._run_json(*words, expect=expect)["error"]
        assert kind in (None, error["kind"])
        return f"{error['message']}\n{error['remedy']}"

    def _run_json(self, *words: str, expect: int) -> dict[str, Any]:
        outcome = self.run(*words, "--json")
        assert outcome.exit_code == expect, outcome
        assert outcome.json["exit_code"] == expect
        return outcome.json

    def forget(self) -> None:
        """Remove the index and its copies."""
        for path in self.folder.glob("hydindex.db*"):
            path.unlink()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Look into the index, or change it behind hydindex's back."""
        with closing(sqlite3.connect(self.index)) as connection, connection:
            return connection.execute(statement).fetchall()

    def pair_rows(self, columns: str) -> list[tuple[Any, ...]]:
        """Give the hashes of every pair of the index, in order, and some of its columns."""
        return self.sql(
            "SELECT lower(hex(min(low.sha256, high.sha256))), "
            f"lower(hex(max(low.sha256, high.sha256))), {columns} FROM pair "
            "JOIN file low ON low.id = low_id JOIN file high ON high.id = high_id"
        )

    def scores(self) -> dict[frozenset[str], float]:
        """Give the scores of the pairs of the index, by the files' hashes."""
        return {frozenset((a, b)): score for a, b, score in self.pair_rows("score")}

    def pairs(self, *states: str) -> set[frozenset[str]]:
        """Give the pairs of the index that are in these states, by the files' hashes."""
        return {
            frozenset((a, b)) for a, b, state in self.pair_rows("pair.state") if state in states
        }

    def assert_sound(self) -> None:
        assert self.sql("PRAGMA integrity_check") == [("ok",)]
        assert self.sql("PRAGMA foreign_key_check") == []


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    made = Home(tmp_path, capsys)
    made.configure(**SHIPPED)
    return made


@pytest.fixture
def library() -> Library:
    """Forty videos; among them pairs of copies that the fast config finds."""
    return generate_library(seed=3, pictures=40)


@pytest.fixture
def covers(library: Library) -> Library:
    """Sixty videos that show one cover, with durations within a second."""
    return with_picture_of(library[0], "cover", spread(COVERS))


@pytest.fixture
def serve(home: Home) -> Iterator[Serve]:
    """Start stand-ins that the home's config names, and stop them at the end."""
    with ExitStack() as running:

        def start(files: Library, *, hydrus_version: int = 681) -> StandIn:
            client = running.enter_context(StandIn(files, hydrus_version=hydrus_version))
            home.configure(client)
            return client

        yield start


@pytest.fixture
def client(serve: Serve, library: Library) -> StandIn:
    """A client with the library."""
    return serve(library)


@pytest.fixture
def ctrl_c_works() -> Iterator[None]:
    """Deliver SIGINT to child processes: background jobs inherit that it is ignored."""
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, earlier)


@pytest.fixture
def usual_ports() -> Iterator[tuple[int, ...]]:
    """The ports on which hydindex looks for a client by itself, for one test at a time."""
    with FileLock(Path(tempfile.gettempdir()) / "hydindex-tests-of-the-usual-ports.lock"):
        for port in USUAL_PORTS:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    pytest.skip(f"something else uses the port {port}")
        yield USUAL_PORTS


@pytest.fixture
def posted(home: Home, client: StandIn) -> StandIn:
    """A client to which the pairs of its library were posted."""
    home.update()
    return client


def rows(client: StandIn) -> list[frozenset[str]]:
    """Every pair that a client was ever sent, repetitions included."""
    return [frozenset(row) for row in client.posted_rows]


def count(client: StandIn, path: str) -> int:
    """How often a path was asked for since the log was last cleared."""
    return sum(request.path.endswith(path) for request in client.requests)


def fetched(client: StandIn, *, since: int = 0) -> set[str]:
    """The file ids whose thumbnails were asked for, since a request or the last clearing."""
    return {
        request.query["file_id"]
        for request in client.requests[since:]
        if request.path.endswith("/thumbnail") and "file_id" in request.query
    }


def assert_sent_once(client: StandIn) -> None:
    """No pair was ever sent twice."""
    assert len(rows(client)) == len(set(rows(client)))


def assert_all_posted_once(client: StandIn) -> None:
    assert_sent_once(client)
    assert len(rows(client)) == len(client.potentials) > 0


def at(path: str, fault: Fault, *, since: int = 1, times: int = sys.maxsize) -> FaultHook:
    """Disturb some of the requests whose path ends so, counted from 1."""
    return lambda _, asked, nth: (
        fault if asked.endswith(path) and since <= nth < since + times else None
    )


def from_then_on(
    path: str, fault: Fault, *, since: int = 1, then: Fault | None = None
) -> FaultHook:
    """Disturb everything from the nth request on whose path ends so; `then`: what follows it."""
    begun = False

    def hook(_method: str, asked: str, nth: int) -> Fault | None:
        nonlocal begun
        if begun:
            return then or fault
        begun = asked.endswith(path) and nth >= since
        return fault if begun else None

    return hook
