"""Read what is still readable in a damaged index.

SQLite ends a query at the first damaged page. So a table is read in ranges of its key, which are
halved where that fails: only the rows on that page are lost. Values that a SQL index repeats are
read from there as well.
"""

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeGuard

from sqlalchemy import Column

from hydindex.common import clock
from hydindex.records.pair_states import KEPT, PairState
from hydindex.records.pairs import PostedPair
from hydindex.store.database import enable_ctrl_c, is_damage, translated
from hydindex.store.schema import file

_RANGE_KEYS: Final = 512
# Ranges of SHA-256 are formed by the first 12 bits.
_SHA256_RANGES: Final = 1 << 12
_FILE_IDS: Final = (
    *("file.id", "thumbnail.file_id", "prepared_picture.file_id", "coarse_picture.file_id"),
    *("signature.file_id", "pair.low_id", "pair.high_id"),
)
# No file row takes less: this bounds damaged ids.
_SMALLEST_ROW_BYTES: Final = 32

Row = tuple[Any, ...]
# What the next update computes again.
_COMPUTED: Final = (
    *("id", "state", "average_hash", "compared_since", "content_aspect_factor", "content_hash"),
)


def _valid_types(column: Column[Any]) -> tuple[type, ...]:
    kind = column.type.python_type
    kinds = (int, float) if kind in (int, float) else (kind,)
    return (*kinds, type(None)) if column.nullable else kinds


# The columns of a file to recover, and their valid types: SQLite may return others from damage.
_FILE_COLUMNS: Final = {
    column.name: _valid_types(column) for column in file.c if column.name not in _COMPUTED
}


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A row of `schema.file` and its thumbnail; None if the file is unusable."""

    row: dict[str, Any]
    thumbnail: bytes | None


class Salvage:
    """A damaged index or a backup; must be closed.

    Every method may raise IndexUnusable if the file can't be read now, for example if it is busy.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lost_ranges = 0
        self._connection = sqlite3.connect(path, isolation_level=None)
        enable_ctrl_c(self._connection)
        with suppress(sqlite3.DatabaseError):
            # Otherwise, one damaged entry of the schema would hide all tables.
            self._connection.execute("PRAGMA writable_schema = ON")
            self._connection.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def tables(self) -> list[str]:
        """List the readable table names."""
        return [name for (name,) in self._rows("SELECT name FROM sqlite_master") or []]

    def revision(self) -> str | None:
        """Return the schema's revision, if readable."""
        rows = self._rows("SELECT version_num FROM alembic_version")
        return str(rows[0][0]) if rows else None

    def posted(self) -> tuple[list[PostedPair], bool]:
        """Return the pairs that Hydrus has or may have, and whether these are all.

        Some may be repeated. If only the SQL index on states still has a pair, its score is 0.
        """
        by_id, all_pairs = self._pairs()
        pairs = [
            PostedPair(a.hex(), b.hex(), PairState(state), _number(score), _text(state_at))
            for low, high, state, score, state_at in by_id
            if state in KEPT
            for a in self._hashes.get(low, ())
            for b in self._hashes.get(high, ())
            if a != b
        ]
        return pairs, all_pairs and self._all_hashes

    def _pairs(self) -> tuple[list[Row], bool]:
        # With a condition on the state, SQLite would use the SQL index on states, too.
        rows, table_is_whole = self._read_all(
            "SELECT low_id, high_id, state, score, state_at FROM pair NOT INDEXED "
            "WHERE low_id >= ? AND low_id < ?"
        )
        index_is_whole = True
        for state in KEPT:
            more, is_whole = self._read_all(
                "SELECT low_id, high_id, state, 0.0, '' FROM pair INDEXED BY ix_pair_state "
                f"WHERE state = '{state}' AND low_id >= ? AND low_id < ?"
            )
            rows += more
            index_is_whole &= is_whole
        return rows, table_is_whole or index_is_whole

    def files(self) -> Iterator[SavedFile]:
        """Yield the files whose row and thumbnail are readable."""
        query = (
            f"SELECT picture, {', '.join(_FILE_COLUMNS)} FROM file NOT INDEXED "
            "LEFT JOIN thumbnail ON file_id = id WHERE id >= ? AND id < ?"
        )
        for picture, *values in self._read(query, self._end):
            row = dict(zip(_FILE_COLUMNS, values, strict=True))
            is_valid = all(isinstance(row[name], kind) for name, kind in _FILE_COLUMNS.items())
            is_usable = row["unusable_reason"] is None
            if is_valid and _is_sha256(row["sha256"]) and is_usable == isinstance(picture, bytes):
                yield SavedFile(row, picture)

    def recipe(self) -> str | None:
        """Return the recipe (JSON), if readable."""
        rows = self._rows("SELECT recipe FROM index_state")
        return str(rows[0][0]) if rows else None

    @cached_property
    def _hashes(self) -> dict[int, set[bytes]]:
        """The SHA-256 of files by id, from the table and from its SQL index.

        If both differ, one is damaged, and it is unknown which.
        """
        found: dict[int, set[bytes]] = {}
        for file_id, sha256 in self._hashes_in_index[0] + self._hashes_in_table[0]:
            if _is_sha256(sha256):
                found.setdefault(file_id, set()).add(sha256)
        return found

    @property
    def _all_hashes(self) -> bool:
        return self._hashes_in_index[1] or self._hashes_in_table[1]

    @cached_property
    def _hashes_in_index(self) -> tuple[list[Row], bool]:
        query = (
            "SELECT id, sha256 FROM file INDEXED BY sqlite_autoindex_file_1 "
            "WHERE sha256 >= ? AND sha256 < ?"
        )
        return self._with_loss(self._read(query, _SHA256_RANGES, _sha256_from))

    @cached_property
    def _hashes_in_table(self) -> tuple[list[Row], bool]:
        return self._read_all("SELECT id, sha256 FROM file NOT INDEXED WHERE id >= ? AND id < ?")

    @cached_property
    def _end(self) -> int:
        """One more than the largest file id.

        Each query reads other pages; those that fail are ignored.
        """
        largest = [file_id for file_id, _ in self._hashes_in_index[0]]
        for column in _FILE_IDS:
            table, _, name = column.partition(".")
            rows = self._rows(f"SELECT max({name}) FROM {table}") or [(None,)]
            largest += [value for (value,) in rows if isinstance(value, int)]
        return min(1 + max(largest, default=0), self._path.stat().st_size // _SMALLEST_ROW_BYTES)

    def _read_all(self, query: str) -> tuple[list[Row], bool]:
        """Run a query over all file ids; return the rows, and whether these are all."""
        return self._with_loss(self._read(query, self._end))

    def _with_loss(self, rows: Iterator[Row]) -> tuple[list[Row], bool]:
        lost_before = self._lost_ranges
        read = list(rows)
        return read, self._lost_ranges == lost_before

    def _read(self, query: str, end: int, key: Callable[[int], Any] = int) -> Iterator[Row]:
        """Run a query over all keys below `end`, in ranges.

        Its parameters are the first key of a range, and the one after the last.
        """
        for first in range(0, max(end, 1), _RANGE_KEYS):
            yield from self._read_range(query, first, min(first + _RANGE_KEYS, end), key)

    def _read_range(
        self, query: str, first: int, end: int, key: Callable[[int], Any]
    ) -> Iterator[Row]:
        rows = self._rows(query, (key(first), key(end)))
        if rows is not None:
            yield from rows
            return
        middle = (first + end) // 2
        if middle <= first:
            self._lost_ranges += 1
            return
        yield from self._read_range(query, first, middle, key)
        yield from self._read_range(query, middle, end, key)

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Row] | None:
        """Run a query; return None if it meets damage."""
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            if is_damage(error):
                return None
            raise translated(self._path, error) from None


def _sha256_from(number: int) -> bytes:
    """Return the start of a range of SHA-256; after the last one, a value above all."""
    if number == _SHA256_RANGES:
        return bytes([0xFF] * 33)
    return (number << 4).to_bytes(2)


def _is_sha256(value: object) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and len(value) == 32


def _number(value: object) -> float:
    return value if isinstance(value, float) and math.isfinite(value) else 0.0


def _text(value: object) -> str:
    return value if isinstance(value, str) else clock.NEVER
