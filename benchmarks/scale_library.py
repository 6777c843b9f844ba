"""Generated libraries of any size, and indexes that hold them. One seed gives one library.

A file is a picture of a pool and a duration. The pool holds pictures of the demo's generated
library, prepared by hydindex itself. A tenth of all files are exactly 10 s long, 15 % have one of
six round durations, the others are log-normal with a median of 45 s. Some files are copies of
others: a picture of the same scene, at most 0.3 s longer or shorter.

The pool shows few kinds of scenes. Of its pairs of different pictures with similar aspect ratios,
8 % have similar descriptors; of those of two labelled libraries of real thumbnails, 0.7 and 1.5 %.
So the descriptors of a library come in seven varieties. Pictures of different varieties are
unrelated, and so 1.2 % of all such pairs have similar descriptors.
"""

import gc
import hashlib
import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
import requests
from measure import run_hydindex, write_config
from numpy.typing import NDArray

from hydindex.common import clock
from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated.descriptor import DESCRIPTOR
from hydindex.matching.calibrated.features import FEATURES, FEATURES_VERSION, VERSION_KEY
from hydindex.standin.api import Reply, Request
from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile

POOL_PATH: Final = Path("build/pool.pickle")
POOL_PICTURES: Final = 20_000
INDEX: Final = "hydindex.db"
NEW_FILES: Final = 200
"""How many files a night adds."""
TAG: Final = "meta:pd"  # which the shipped config searches for
WITHIN_MS: Final = 1000  # the shipped candidate_generation.tolSeconds

_SEED: Final = 20_001
_PICTURES_PER_TASK: Final = 500
_TEN_SECONDS_MS, _TEN_SECONDS_SHARE = 10_000, 0.1
_ROUND_DURATIONS_MS, _ROUND_SHARE = (5_000, 6_000, 10_000, 15_000, 30_000, 60_000), 0.15
_MEDIAN_DURATION_MS, _DURATION_SIGMA = 45_000, 1.1
_MIN_DURATION_MS: Final = 500
_VARIETIES: Final = 7
# The numbers of a descriptor are hardly correlated, so rotated descriptors resemble no others.
_ROTATION_BYTES: Final = 16
_COPY_SHARE, _NEW_COPY_SHARE = 0.05, 0.1
_EXACT_SHARE: Final = 0.6  # of the copies: those of exactly the same duration
_MAX_DRIFT_MS: Final = 300
_FRAMES_PER_S, _BYTES_PER_S = 25, 250_000

_FILES_PER_RUN: Final = 32  # that a run saves at once: rows and pictures lie in turns on the disk
_POOL_HOME: Final = Path("build/pool")
_SEARCH: Final = "/get_files/search_files"

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a library: their numbers, pictures by position in the pool, varieties, durations."""

    number: Ints
    picture: Ints
    variety: Ints
    duration_ms: Ints

    def __len__(self) -> int:
        return len(self.number)

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """Return number, picture, variety and duration of each file."""
        columns = (self.number, self.picture, self.variety, self.duration_ms)
        return zip(*(each.tolist() for each in columns), strict=True)


class Pool:
    """The pictures of all libraries; generated on first use and kept in a file."""

    def __init__(self) -> None:
        if not POOL_PATH.exists():
            POOL_PATH.parent.mkdir(exist_ok=True)
            POOL_PATH.write_bytes(pickle.dumps(_generate_pictures()))
        self.files: list[HydrusFile] = pickle.loads(POOL_PATH.read_bytes())
        scenes = [next(iter(each.base)) for each in self.files]
        _, first, scene, counts = np.unique(
            scenes, return_index=True, return_inverse=True, return_counts=True
        )
        self.first_of_scene: Ints = first[scene]
        self.pictures_of_scene: Ints = counts[scene]

    def library(self, count: int) -> Files:
        """Draw a library as it is before the first night."""
        rng = np.random.default_rng((_SEED, count))
        files = self._independent(rng, np.arange(count))
        files.variety[:] = rng.integers(_VARIETIES, size=count)
        is_copy = rng.random(count) < _COPY_SHARE
        self._make_copies(rng, files, np.flatnonzero(is_copy), files, np.flatnonzero(~is_copy))
        return files

    def new_files(self, library: Files, night: int) -> Files:
        """Draw the files that a night adds; nights count from 1.

        hydindex computes their descriptors, so all have variety 0.
        """
        rng = np.random.default_rng((_SEED, len(library), night))
        first = len(library) + (night - 1) * NEW_FILES
        files = self._independent(rng, np.arange(first, first + NEW_FILES))
        copies = np.flatnonzero(rng.random(NEW_FILES) < _NEW_COPY_SHARE)
        self._make_copies(rng, files, copies, library, np.flatnonzero(library.variety == 0))
        return files

    def hydrus_files(self, files: Files) -> Iterator[HydrusFile]:
        """Return files as the stand-in serves them."""
        for number, picture, _, duration_ms in files.rows():
            yield replace(
                self.files[picture],
                hash=_sha256(number).hex(),
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
        return Files(numbers, pictures, np.zeros_like(pictures), durations_ms)

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
        files.variety[copies] = library.variety[original]
        files.picture[copies] = self.first_of_scene[picture] + variant.astype(np.int64)
        drift_ms = rng.integers(-_MAX_DRIFT_MS, _MAX_DRIFT_MS + 1, len(copies))
        drift_ms[rng.random(len(copies)) < _EXACT_SHARE] = 0
        duration_ms = library.duration_ms[original] + drift_ms
        files.duration_ms[copies] = duration_ms.clip(_MIN_DURATION_MS)


class PreparedStandIn(StandIn):
    """Answers searches with prepared replies: Hydrus's time isn't measured."""

    def __init__(self, files: Iterable[HydrusFile]) -> None:
        super().__init__(files)
        self._replies: dict[str, Reply] = {}

    def prepare_search(self) -> None:
        """Search once with hashes, and once without."""
        self._replies = {}
        self._replies = {each: self._search(each) for each in ("true", "false")}

    def respond(self, request: Request) -> Reply | None:
        """Answer a request."""
        prepared = self._replies.get(request.query.get("return_hashes", ""))
        return prepared or super().respond(request)

    def _search(self, return_hashes: str) -> Reply:
        response = requests.get(
            f"{self.url}:{self.port}{_SEARCH}",
            params={
                "tags": json.dumps([TAG]),
                "return_hashes": return_hashes,
                "return_file_ids": "true",
            },
            headers={"Hydrus-Client-API-Access-Key": self.FULL_KEY},
            timeout=600,
        )
        response.raise_for_status()
        return Reply(200, response.content, "application/json")


@contextmanager
def serve(files: Iterable[HydrusFile]) -> Iterator[PreparedStandIn]:
    """Serve a large library."""
    with PreparedStandIn(files) as client:
        gc.freeze()  # or garbage collection walks through a million files again and again
        client.prepare_search()
        yield client
    gc.unfreeze()


def fill_home(home: Path, pool: Pool, files: Files, *, within_ms: int = WITHIN_MS) -> None:
    """Empty a folder and make the index there as many nights would leave it.

    Let hydindex index the pool, and copy the rows of its pictures. Pairs of files that show the
    same picture, with durations at most `within_ms` apart, are posted.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    pool_index = _index_of(pool)
    with closing(sqlite3.connect(pool_index)) as database:
        database.execute("VACUUM INTO ?", (str(home / INDEX),))
    with closing(sqlite3.connect(home / INDEX, isolation_level=None)) as database:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            database.execute(f"PRAGMA {pragma}")
        tables = _tables_of_files(database)
        for table in (*reversed(tables), "run"):
            database.execute(f"DELETE FROM {table}")
        database.execute("VACUUM")
        database.execute("ATTACH ? AS pool", (str(pool_index),))
        database.execute("BEGIN")
        _insert_files(database, tables, pool, files)
        _insert_pairs(database, within_ms)
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")


def forget_comparisons(home: Path) -> None:
    """Leave the index as an update that was stopped before it compared any file."""
    with closing(sqlite3.connect(home / INDEX)) as database, database:
        database.execute("DELETE FROM pair")
        database.execute("DELETE FROM membership")
        database.execute("UPDATE file SET compared_since = NULL")


def remove_durations(home: Path) -> None:
    """Turn the files in the index into still images, which have no duration; delete all pairs."""
    with closing(sqlite3.connect(home / INDEX)) as database, database:
        database.execute("DELETE FROM pair")
        database.execute("UPDATE file SET duration_ms = NULL, mime = 'image/jpeg'")


@cache
def _index_of(pool: Pool) -> Path:
    """Let hydindex index the pool, once, and return the index."""
    # Durations far apart: there is nothing to compare.
    files = [
        replace(each, duration_ms=10_000 * number, tags=frozenset({TAG}))
        for number, each in enumerate(pool.files, start=1)
    ]
    shutil.rmtree(_POOL_HOME, ignore_errors=True)
    with StandIn(files) as client:
        write_config(_POOL_HOME, client.port, client.FULL_KEY, {})
        run_hydindex(_POOL_HOME, "update", "--dry-run")
    return _POOL_HOME / INDEX


def _tables_of_files(database: sqlite3.Connection) -> list[str]:
    """Return the tables that hold a row for each file, the table `file` first."""
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return ["file"] + [
        name
        for (name,) in names
        if "file_id" in _columns(database, name)
        and database.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()
    ]


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]


def _insert_files(
    database: sqlite3.Connection, tables: list[str], pool: Pool, files: Files
) -> None:
    """Insert files; what depends on their pictures is copied from the pool's index."""
    database.execute(
        "CREATE TEMP TABLE new (id INTEGER PRIMARY KEY, picture_id, rotation, sha256, size_bytes,"
        " duration_ms, hydrus_id)"
    )
    id_of = dict(database.execute("SELECT lower(hex(sha256)), id FROM pool.file").fetchall())
    picture_ids = [id_of[each.hash] for each in pool.files]
    database.executemany(
        "INSERT INTO new VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                number + 1,
                picture_ids[picture],
                variety * _ROTATION_BYTES,
                _sha256(number),
                duration_ms * _BYTES_PER_S // 1000,
                duration_ms,
                number + 1,  # the stand-in counts from 1
            )
            for number, picture, variety, duration_ms in files.rows()
        ),
    )
    statements = [_copying(table, _columns(database, table)) for table in tables]
    for start in range(1, len(files) + 1, _FILES_PER_RUN):
        for statement in statements:
            database.execute(statement, (start, start + _FILES_PER_RUN - 1))


def _copying(table: str, columns: list[str]) -> str:
    """Return the SQL that copies a range of new files to a table."""
    key = "id" if table == "file" else "file_id"
    own = ("sha256", "size_bytes", "duration_ms", "hydrus_id")
    values = [f"new.{each}" if each in own else f"old.{each}" for each in columns]
    if table == DESCRIPTOR:
        values[columns.index("picture")] = (
            "CAST(substr(picture, 1 + rotation) || substr(picture, 1, rotation) AS BLOB)"
        )
    values[columns.index(key)] = "new.id"
    return (
        f"INSERT INTO main.{table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM new"
        f" JOIN pool.{table} AS old ON old.{key} = new.picture_id WHERE new.id BETWEEN ? AND ?"
    )


def _insert_pairs(database: sqlite3.Connection, within_ms: int) -> None:
    features = {VERSION_KEY: FEATURES_VERSION} | {each.name: 0.1234 for each in FEATURES}
    database.execute("CREATE INDEX temp.new_by_picture ON new (picture_id, rotation, duration_ms)")
    database.execute(
        "INSERT INTO pair (low_id, high_id, score, matches, state, state_at, features)"
        " SELECT low.id, high.id, 1.0, 1, 'posted', ?, ? FROM new AS low JOIN new AS high"
        " ON high.picture_id = low.picture_id AND high.rotation = low.rotation AND high.id > low.id"
        " AND high.duration_ms BETWEEN low.duration_ms - ? AND low.duration_ms + ?"
        " ORDER BY low.id, high.id",
        (clock.now(), json.dumps(features), within_ms, within_ms),
    )


def _sha256(number: int) -> bytes:
    return hashlib.sha256(f"{_SEED} {number}".encode()).digest()


def _num_frames(duration_ms: int) -> int:
    return max(1, duration_ms * _FRAMES_PER_S // 1000)


def _generate_pictures() -> list[HydrusFile]:
    """Generate the pool on all cores."""
    seeds = range(_SEED, _SEED + -(-POOL_PICTURES // _PICTURES_PER_TASK))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        libraries = processes.map(generate_library, seeds, [_PICTURES_PER_TASK] * len(seeds))
        return [file for files in libraries for file in files][:POOL_PICTURES]
