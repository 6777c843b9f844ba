"""Generated libraries of any size, and indexes that hold them. One seed gives one library.

A file is a picture of a pool and a duration. The pool holds pictures of the demo's generated
library, prepared by hydindex itself. A tenth of all files are exactly 10 s long, 15 % have one of
six round durations, the others are log-normal with a median of 45 s. Some files are copies of
others: a picture of the same scene, at most 0.3 s longer or shorter.
"""

import gc
import hashlib
import json
import os
import pickle
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy as np
from measure import run_hydindex, write_config
from numpy.typing import NDArray

from hydindex.common import clock
from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.features import FEATURES, Features
from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn
from hydindex.standin.state import HydrusFile

SEED: Final = 20_001
NEW_FILES: Final = 200
"""How many files a night adds."""
TAG: Final = "meta:pd"  # which the shipped config searches for

_PICTURES_PER_TASK: Final = 500
_TEN_SECONDS_MS, _TEN_SECONDS_SHARE = 10_000, 0.1
_ROUND_DURATIONS_MS, _ROUND_SHARE = (5_000, 6_000, 10_000, 15_000, 30_000, 60_000), 0.15
_MEDIAN_DURATION_MS, _DURATION_SIGMA = 45_000, 1.1
_MIN_DURATION_MS: Final = 500
_COPY_SHARE, _NEW_COPY_SHARE = 0.05, 0.1
_EXACT_SHARE: Final = 0.6  # of the copies: those of exactly the same duration
_MAX_DRIFT_MS: Final = 300
_FRAMES_PER_S, _BYTES_PER_S = 25, 250_000

_FILES_PER_RUN: Final = 32  # that a run saves at once: rows and pictures lie in turns on the disk
_FILES_PER_TRANSACTION: Final = 100_000
_SEARCH: Final = "/get_files/search_files"

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a library: their numbers, their pictures by position in the pool, durations."""

    number: Ints
    picture: Ints
    duration_ms: Ints

    def __len__(self) -> int:
        return len(self.number)

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Return number, picture and duration of each file."""
        columns = (self.number.tolist(), self.picture.tolist(), self.duration_ms.tolist())
        return zip(*columns, strict=True)


class Pool:
    """The pictures of all libraries; generated on first use and kept in a file."""

    def __init__(self, path: Path, pictures: int) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(_generate(pictures)))
        self.files: list[HydrusFile] = pickle.loads(path.read_bytes())
        scenes = [next(iter(each.base)) for each in self.files]
        _, first, scene, counts = np.unique(
            scenes, return_index=True, return_inverse=True, return_counts=True
        )
        self.first_of_scene: Ints = first[scene]
        self.pictures_of_scene: Ints = counts[scene]

    def library(self, count: int) -> Files:
        """Draw a library as it is before the first night."""
        rng = np.random.default_rng((SEED, count))
        files = self._independent(rng, np.arange(count))
        is_copy = rng.random(count) < _COPY_SHARE
        self._make_copies(rng, files, np.flatnonzero(is_copy), files, np.flatnonzero(~is_copy))
        return files

    def new_files(self, library: Files, night: int) -> Iterator[HydrusFile]:
        """Return the files that a night adds; nights count from 1."""
        return self._served(self._night(library, night))

    def _night(self, library: Files, night: int) -> Files:
        rng = np.random.default_rng((SEED, len(library), night))
        first = len(library) + (night - 1) * NEW_FILES
        files = self._independent(rng, np.arange(first, first + NEW_FILES))
        copies = np.flatnonzero(rng.random(NEW_FILES) < _NEW_COPY_SHARE)
        self._make_copies(rng, files, copies, library, np.arange(len(library)))
        return files

    def hydrus_files(self, library: Files, nights: range = range(0)) -> Iterator[HydrusFile]:
        """Return a library and the files of some nights as the stand-in serves them."""
        yield from self._served(library)
        for night in nights:
            yield from self.new_files(library, night)

    def _served(self, files: Files) -> Iterator[HydrusFile]:
        for number, picture, duration_ms in files.rows():
            yield replace(
                self.files[picture],
                hash=sha256_of(number).hex(),
                size=duration_ms * _BYTES_PER_S // 1000,
                duration_ms=duration_ms,
                num_frames=_num_frames(duration_ms),
                tags=frozenset({TAG}),
            )

    def _independent(self, rng: np.random.Generator, numbers: Ints) -> Files:
        count = len(numbers)
        pictures = rng.integers(len(self.files), size=count)
        natural_ms = rng.lognormal(np.log(_MEDIAN_DURATION_MS), _DURATION_SIGMA, count)
        durations_ms = np.rint(natural_ms).astype(np.int64).clip(_MIN_DURATION_MS)
        kind = rng.random(count)
        durations_ms[kind < _TEN_SECONDS_SHARE] = _TEN_SECONDS_MS
        is_round = kind >= 1 - _ROUND_SHARE
        durations_ms[is_round] = rng.choice(_ROUND_DURATIONS_MS, np.count_nonzero(is_round))
        return Files(numbers, pictures, durations_ms)

    def _make_copies(
        self,
        rng: np.random.Generator,
        files: Files,
        copies: NDArray[np.intp],
        library: Files,
        originals: NDArray[np.intp],
    ) -> None:
        """Turn some files into copies of random originals."""
        original = originals[rng.integers(len(originals), size=len(copies))]
        picture = library.picture[original]
        variant = rng.random(len(copies)) * self.pictures_of_scene[picture]
        files.picture[copies] = self.first_of_scene[picture] + variant.astype(np.int64)
        drift_ms = rng.integers(-_MAX_DRIFT_MS, _MAX_DRIFT_MS + 1, len(copies))
        drift_ms[rng.random(len(copies)) < _EXACT_SHARE] = 0
        duration_ms = library.duration_ms[original] + drift_ms
        files.duration_ms[copies] = duration_ms.clip(_MIN_DURATION_MS)


def sha256_of(number: int) -> bytes:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(f"{SEED} {number}".encode()).digest()


@contextmanager
def serve(files: Iterator[HydrusFile]) -> Iterator[StandIn]:
    """Serve a large library."""
    with StandIn(files) as client:
        gc.freeze()  # or garbage collection walks through a million files again and again
        prepare_search(client)
        yield client
    gc.unfreeze()


def prepare_search(client: StandIn) -> None:
    """Search once and answer later searches with the same reply: Hydrus's time isn't measured."""
    client.faults = lambda _method, _path, _nth: None
    tags = f'["system:filetype is video", "{TAG}"]'
    query = urlencode({"tags": tags, "return_hashes": "true", "return_file_ids": "true"})
    request = Request(
        f"{client.url}:{client.port}{_SEARCH}?{query}",
        headers={"Hydrus-Client-API-Access-Key": client.FULL_KEY},
    )
    with urlopen(request) as response:
        reply = Reply(200, response.read(), "application/json")
    client.faults = lambda _method, path, _nth: (
        Fault(carried_out=False, instead=reply) if path == _SEARCH else None
    )


def index_of_pool(folder: Path, pool: Pool, changes: Mapping[str, Any]) -> Path:
    """Let hydindex index the pool; return the index."""
    path = folder / "hydindex.db"
    if not path.exists():
        # Durations far apart: there is nothing to compare.
        files = [
            replace(each, duration_ms=10_000 * number, tags=frozenset({TAG}))
            for number, each in enumerate(pool.files, start=1)
        ]
        with StandIn(files) as client:
            write_config(folder, client.port, client.FULL_KEY, changes)
            run_hydindex(folder, "update", "--dry-run")
    return path


def fill_index(path: Path, pool_index: Path, pool: Pool, files: Files, within_ms: int) -> None:
    """Make an index as many nights would leave it, by copying rows of the pool's index.

    Pairs of files that show the same picture, with durations at most `within_ms` apart, are posted.
    """
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(pool_index)) as database:
        database.execute("VACUUM INTO ?", (str(unfinished),))
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            database.execute(f"PRAGMA {pragma}")
        tables = _tables_of_files(database)
        for table in (*tables, "file", "run"):
            database.execute(f"DELETE FROM {table}")
        database.execute("VACUUM")
        database.execute("ATTACH ? AS pool", (str(pool_index),))
        database.execute(
            "CREATE TEMP TABLE new (id INTEGER PRIMARY KEY, picture, sha256, size_bytes,"
            " duration_ms, num_frames)"
        )
        database.executemany(
            "INSERT INTO new VALUES (?, ?, ?, ?, ?, ?)", _new_rows(database, pool, files)
        )
        _copy_pictures(database, len(files), tables)
        database.executemany(
            "INSERT INTO pair (low_id, high_id, score, matches, state, state_at, features)"
            f" VALUES (?, ?, 1.0, 1, 'posted', '{clock.now()}', ?)",
            _pair_rows(files, within_ms, with_features="signature" in tables),
        )
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
    unfinished.rename(path)


def _tables_of_files(database: sqlite3.Connection) -> list[str]:
    """Return the tables that hold a row for each file of the index."""
    names = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    by_file = [name for name in names if "file_id" in _columns(database, name)]
    return [n for n in by_file if database.execute(f"SELECT 1 FROM {n} LIMIT 1").fetchone()]


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]


def _new_rows(
    database: sqlite3.Connection, pool: Pool, files: Files
) -> Iterator[tuple[int, int, bytes, int, int, int]]:
    id_of = dict(database.execute("SELECT hex(sha256), id FROM pool.file").fetchall())
    ids = [id_of[each.hash.upper()] for each in pool.files]
    for file_id, (number, picture, duration_ms) in enumerate(files.rows(), start=1):
        size_bytes = duration_ms * _BYTES_PER_S // 1000
        yield (
            *(file_id, ids[picture], sha256_of(number), size_bytes),
            *(duration_ms, _num_frames(duration_ms)),
        )


def _copy_pictures(database: sqlite3.Connection, count: int, tables: list[str]) -> None:
    """Insert the files of the table `new`; leave the last transaction open."""
    drawn = _columns(database, "new")
    sources = {"file": _columns(database, "file")}
    sources |= {table: _columns(database, table) for table in tables}
    statements = []
    for table, columns in sources.items():
        key = "id" if table == "file" else "file_id"
        own = drawn if table == "file" else []
        values = [f"new.{each}" if each in own else f"old.{each}" for each in columns]
        values[columns.index(key)] = "new.id"
        statements.append(
            f"INSERT INTO main.{table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM new"
            f" JOIN pool.{table} AS old ON old.{key} = new.picture WHERE new.id BETWEEN ? AND ?"
        )
    starts = [*range(1, count + 1, _FILES_PER_RUN), count + 1]
    database.execute("BEGIN")
    for start, end in pairwise(starts):
        for statement in statements:
            database.execute(statement, (start, end - 1))
        if start % _FILES_PER_TRANSACTION < _FILES_PER_RUN:
            database.execute("COMMIT")
            database.execute("BEGIN")


def _pair_rows(
    files: Files, within_ms: int, *, with_features: bool
) -> Iterator[tuple[int, int, str | None]]:
    order = np.lexsort((files.duration_ms, files.picture))
    # One axis on which only files of the same picture are near each other.
    apart = int(files.duration_ms.max()) + within_ms + 1
    place = files.picture[order] * apart + files.duration_ms[order]
    end = np.searchsorted(place, place + within_ms, side="right")
    later = end - np.arange(len(place)) - 1
    one = np.repeat(np.arange(len(place)), later)
    nth = np.arange(len(one)) - np.repeat(np.cumsum(later) - later, later)
    first, second = order[one] + 1, order[one + 1 + nth] + 1
    low, high = np.minimum(first, second), np.maximum(first, second)
    pairs = np.stack([low, high], axis=1)[np.lexsort((high, low))]
    values = {feature.name: np.array([0.1234]) for feature in FEATURES}  # only the size counts
    features = json.dumps(Features(values).of_pair(0)) if with_features else None
    return ((low, high, features) for low, high in pairs.tolist())


def _num_frames(duration_ms: int) -> int:
    return max(1, duration_ms * _FRAMES_PER_S // 1000)


def _generate(pictures: int) -> list[HydrusFile]:
    """Generate the pool on all cores."""
    seeds = range(SEED, SEED + -(-pictures // _PICTURES_PER_TASK))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        made = processes.map(generate_library, seeds, [_PICTURES_PER_TASK] * len(seeds))
        return [file for some in made for file in some][:pictures]
