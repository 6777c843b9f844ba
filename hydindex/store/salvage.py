"""Read what is still readable in a damaged index.

SQLite ends a query at the first damaged page. So a table is read in ranges of its key, which are
halved where that fails: only the rows on that page are lost. Values that a SQL index repeats are
read from there as well.
"""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from sqlalchemy import Column

from hydindex.common import clock
from hydindex.records.pair_states import KEPT, PairState
from hydindex.records.pairs import PostedPair
from hydindex.store.database import enable_ctrl_c, is_damage, translated
from hydindex.store.schema import CLEARED_PREPARATION, file

_RANGE_KEYS: Final = 1024
# The first two bytes of a SHA-256; the last key is above all.
_SHA256_KEYS: Final = (*(number.to_bytes(2) for number in range(1 << 16)), b"\xff" * 33)
# No file row takes less: this bounds the ids of files.
_SMALLEST_ROW_BYTES: Final = 32
# What the repair or the next update sets again.
_NOT_RECOVERED: Final = {"id", "state", "compared_since", "hydrus_id", *CLEARED_PREPARATION}

Row = tuple[Any, ...]


def _valid_types(column: Column[Any]) -> tuple[type, ...]:
    kind = column.type.python_type
    kinds = (int, float) if kind in (int, float) else (kind,)
    return (*kinds, type(None)) if column.nullable else kinds


# The columns of a file to recover, and their valid types: SQLite may return others from damage.
_FILE_COLUMNS: Final = {
    column.name: _valid_types(column) for column in file.c if column.name not in _NOT_RECOVERED
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
        self._file_ids = range(path.stat().st_size // _SMALLEST_ROW_BYTES + 2)
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
        return self._text("SELECT version_num FROM alembic_version")

    def recipe(self) -> str | None:
        """Return the recipe (JSON), if readable."""
        return self._text("SELECT recipe FROM index_state")

    def posted(self) -> tuple[list[PostedPair], bool]:
        """Return the pairs that Hydrus has or may have, and whether these are all.

        Some may be repeated. If only the SQL index on states still has a pair, its score is 0.
        """
        hashes, all_hashes = self._hashes()
        rows, all_pairs = self._pairs()
        pairs = [
            PostedPair(
                a.hex(),
                b.hex(),
                PairState(state),
                score=score if isinstance(score, float) and math.isfinite(score) else 0.0,
                state_at=state_at if isinstance(state_at, str) else clock.NEVER,
            )
            for low, high, state, score, state_at in rows
            if state in KEPT
            for a in hashes.get(low, ())
            for b in hashes.get(high, ())
            if a != b
        ]
        return pairs, all_hashes and all_pairs

    def files(self) -> Iterator[SavedFile]:
        """Yield the files whose row and thumbnail are readable."""
        query = (
            f"SELECT picture, {', '.join(_FILE_COLUMNS)} FROM file NOT INDEXED "
            "LEFT JOIN thumbnail ON file_id = id WHERE id >= ? AND id < ?"
        )
        for rows in self._read(query, self._file_ids):
            for picture, *values in rows or ():
                row = dict(zip(_FILE_COLUMNS, values, strict=True))
                is_valid = all(isinstance(row[name], kind) for name, kind in _FILE_COLUMNS.items())
                is_usable = row["unusable_reason"] is None
                has_picture = isinstance(picture, bytes)
                if is_valid and _is_sha256(row["sha256"]) and is_usable == has_picture:
                    state = "fetched" if is_usable else "unusable"
                    yield SavedFile({**row, "state": state}, picture)

    def _pairs(self) -> tuple[list[Row], bool]:
        # With a condition on the state, SQLite would use the SQL index on states, too.
        in_table, table_is_whole = self._read_all(
            "SELECT low_id, high_id, state, score, state_at FROM pair NOT INDEXED "
            "WHERE low_id >= ? AND low_id < ?",
            self._file_ids,
        )
        states = ", ".join(f"'{state}'" for state in KEPT)
        in_index, index_is_whole = self._read_all(
            "SELECT low_id, high_id, state, 0.0, '' FROM pair INDEXED BY ix_pair_state "
            f"WHERE state IN ({states}) AND low_id >= ? AND low_id < ?",
            self._file_ids,
        )
        return in_table + in_index, table_is_whole or index_is_whole

    def _hashes(self) -> tuple[dict[int, set[bytes]], bool]:
        """Return the SHA-256 of files by id, and whether these are all.

        If the table and its SQL index differ, one is damaged, and it is unknown which.
        """
        in_table, table_is_whole = self._read_all(
            "SELECT id, sha256 FROM file NOT INDEXED WHERE id >= ? AND id < ?", self._file_ids
        )
        in_index, index_is_whole = self._read_all(
            "SELECT id, sha256 FROM file INDEXED BY sqlite_autoindex_file_1 "
            "WHERE sha256 >= ? AND sha256 < ?",
            _SHA256_KEYS,
        )
        hashes: dict[int, set[bytes]] = defaultdict(set)
        for file_id, sha256 in in_table + in_index:
            if _is_sha256(sha256):
                hashes[file_id].add(sha256)
        return hashes, table_is_whole or index_is_whole

    def _read_all(self, query: str, keys: Sequence[Any]) -> tuple[list[Row], bool]:
        """Run a query over all keys; return the rows, and whether these are all."""
        ranges = list(self._read(query, keys))
        return [row for rows in ranges for row in rows or ()], None not in ranges

    def _read(self, query: str, keys: Sequence[Any]) -> Iterator[list[Row] | None]:
        """Run a query over ranges of keys; yield the rows of each, or None for a lost range.

        Its parameters are the first key of a range, and the one after the last.
        """
        for start in range(0, len(keys) - 1, _RANGE_KEYS):
            yield from self._read_range(query, keys[start : start + _RANGE_KEYS + 1])

    def _read_range(self, query: str, keys: Sequence[Any]) -> Iterator[list[Row] | None]:
        rows = self._rows(query, (keys[0], keys[-1]))
        if rows is not None or len(keys) == 2:
            yield rows
            return
        middle = len(keys) // 2
        yield from self._read_range(query, keys[: middle + 1])
        yield from self._read_range(query, keys[middle:])

    def _text(self, query: str) -> str | None:
        rows = self._rows(query)
        return str(rows[0][0]) if rows else None

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Row] | None:
        """Run a query; return None if it meets damage."""
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            if is_damage(error):
                return None
            raise translated(self._path, error) from None


def _is_sha256(value: object) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and len(value) == 32
