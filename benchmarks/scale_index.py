"""Fills an index as many nights would have filled it, but straight through SQLite."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from scale_library import Files, Pool, num_frames, pairs_of_one_picture, sha256_of, size_bytes

from hydindex.common import clock
from hydindex.config.settings import Config
from hydindex.matching.calibrated.features import Features
from hydindex.matching.candidates import CandidateRules
from hydindex.matching.recipe import recipe_of
from hydindex.pipeline.ingest import SAVED_AT_ONCE
from hydindex.store.store import open_for_writing

_FILES_A_TRANSACTION: Final = 100_000
_CACHE_KB: Final = 512 * 1024

_FILE: Final = """
    INSERT INTO file (id, sha256, size_bytes, mime, width_px, height_px, duration_ms, num_frames,
                      state, checked_at, average_hash, content_shape, content_hash,
                      compared_since)
    VALUES (?, ?, ?, 'video/mp4', ?, ?, ?, ?, 'prepared', ?, ?, ?, ?, 1)
"""
_PAIR: Final = """
    INSERT INTO pair (low_id, high_id, score, matches, state, state_at, evidence)
    VALUES (?, ?, 1.0, 1, 'posted', ?, ?)
"""
# The calibrated decision keeps it beside every pair; only how long it is counts here.
_EVIDENCE: Final = json.dumps({field.name: 0.1234 for field in fields(Features)})


def fill_index(path: Path, config: Config, pool: Pool, files: Files) -> None:
    """Make an index that holds these files, prepared and compared, and the pairs posted.

    Posted are the pairs of files that show the same picture at lengths that the config's rules
    accept: about one a file in a library of a million, as real libraries have.
    """
    calibrated = config.decision.method == "calibrated"
    within_ms = int(CandidateRules.of(config).duration_tolerance_ms)
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    with open_for_writing(unfinished) as index:
        index.adopt(recipe_of(config))
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        for start in range(0, len(files), _FILES_A_TRANSACTION):
            database.execute("BEGIN")
            rows = range(len(files))[start:][:_FILES_A_TRANSACTION]
            _insert_files(database, pool, files, rows, calibrated=calibrated)
            database.execute("COMMIT")
        database.execute("BEGIN")
        database.executemany(_PAIR, _pair_rows(files, within_ms, calibrated=calibrated))
        database.execute("UPDATE index_state SET next_step = 2")
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
    for old in path.parent.glob(f"{path.name}*"):  # its lock and its write-ahead log, too
        old.unlink()
    unfinished.rename(path)
    path.parent.joinpath(f"{unfinished.name}.lock").unlink(missing_ok=True)


def _insert_files(
    database: sqlite3.Connection, pool: Pool, files: Files, rows: range, *, calibrated: bool
) -> None:
    """Insert rows and pictures in turns, as the nights do, so that they lie in the file so too."""
    checked_at = clock.now()
    widths_px, heights_px = pool.width_px.tolist(), pool.height_px.tolist()
    hashes = pool.average_hash.tolist()
    content_shapes, content_hashes = pool.content_shape.tolist(), pool.content_hash.tolist()
    pictures, durations_ms = files.picture.tolist(), files.duration_ms.tolist()
    numbers = files.number.tolist()

    def file_row(row: int) -> tuple[Any, ...]:
        picture, duration_ms = pictures[row], durations_ms[row]
        return (
            row + 1,
            sha256_of(numbers[row]),
            size_bytes(duration_ms),
            widths_px[picture],
            heights_px[picture],
            duration_ms,
            num_frames(duration_ms),
            checked_at,
            hashes[picture],
            content_shapes[picture] if calibrated else None,
            content_hashes[picture] if calibrated else None,
        )

    blobs = [("thumbnail", "picture", pool.thumbnails)]
    if calibrated:
        blobs += [("signature", "views", pool.views)]
    else:
        blobs += [
            ("prepared_picture", "pixels", pool.pixels),
            ("coarse_picture", "sums", pool.sums),
        ]
    for start in range(0, len(rows), SAVED_AT_ONCE):
        some = rows[start : start + SAVED_AT_ONCE]
        database.executemany(_FILE, map(file_row, some))
        for table, column, of_picture in blobs:
            database.executemany(
                f"INSERT INTO {table} (file_id, {column}) VALUES (?, ?)",
                ((row + 1, of_picture[pictures[row]]) for row in some),
            )


def _pair_rows(
    files: Files, within_ms: int, *, calibrated: bool
) -> Iterator[tuple[int, int, str, str | None]]:
    one, other = pairs_of_one_picture(files, within_ms)
    low_ids, high_ids = np.minimum(one, other) + 1, np.maximum(one, other) + 1
    by_low_id = np.lexsort((high_ids, low_ids))
    state_at = clock.now()
    evidence = _EVIDENCE if calibrated else None
    ids = zip(low_ids[by_low_id].tolist(), high_ids[by_low_id].tolist(), strict=True)
    return ((low_id, high_id, state_at, evidence) for low_id, high_id in ids)
