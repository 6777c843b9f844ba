"""Queries that the parts of the store share."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Select,
    Table,
    func,
    select,
)

from hydindex.records.files import NOT_COMPARED, ComparableFiles
from hydindex.store.database import translated
from hydindex.store.schema import ASPECT_RATIO, CONTENT_ASPECT_RATIO, file

# More rows at once take twice as long: they don't fit into the processor's cache.
_ROWS_AT_ONCE: Final = 1_000


class StorePart:
    """Base of the parts of the store. Each method of a part that writes is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _rows(self, query: Executable) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def _values(self, query: Executable) -> Sequence[Any]:
        """Return the first column of a query."""
        with self._engine.connect() as connection:
            return connection.execute(query).scalars().all()

    def _count(self, query: Executable) -> int:
        with self._engine.connect() as connection:
            count: int = connection.execute(query).scalar_one()
        return count

    def _columns(self, query: Executable, dtypes: Sequence[DTypeLike]) -> list[NDArray[Any]]:
        """Return each column of a query as an array; a null float becomes NaN.

        A million rows as Python objects would need too much memory.
        """
        columns: list[list[NDArray[Any]]] = [[np.empty(0, dtype)] for dtype in dtypes]
        with self._engine.connect() as connection:
            # Read from the driver: SQLAlchemy's rows take twice as long.
            cursor = connection.execute(query).cursor
            try:
                while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                    for parts, values, dtype in zip(
                        columns, zip(*rows, strict=True), dtypes, strict=True
                    ):
                        parts.append(np.array(values, dtype))
            except sqlite3.Error as error:
                raise translated(Path(str(self._engine.url.database)), error) from None
        return [np.concatenate(parts) for parts in columns]


def count_rows(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the query that counts rows; fast for conditions that have a partial SQL index."""
    return select(func.count()).select_from(table).where(*conditions)


def is_in(
    column: ColumnElement[Any], ids: Sequence[int] | NDArray[np.int64]
) -> ColumnElement[bool]:
    """Return the condition that a column holds one of the ids.

    They are passed as JSON because SQLite limits the number of parameters.
    """
    ids_as_json = json.dumps(np.asarray(ids).tolist())
    return column.in_(select(func.json_each(ids_as_json).table_valued("value").c.value))


def file_ids(connection: Connection, hashes: Iterable[bytes]) -> dict[bytes, int]:
    """Look up the ids of at most some thousand files by SHA-256; unknown ones are left out."""
    query = select(file.c.sha256, file.c.id).where(file.c.sha256.in_(list(hashes)))
    return {sha256: file_id for sha256, file_id in connection.execute(query)}  # noqa: C416


SELECT_COMPARABLE: Final = select(
    file.c.id,
    file.c.duration_ms,
    ASPECT_RATIO,
    func.coalesce(file.c.average_hash, 0),
    CONTENT_ASPECT_RATIO,
    func.coalesce(file.c.compared_since, int(NOT_COMPARED)),
)
COMPARABLE_DTYPES: Final = (*(np.int64, np.float64, np.float64, np.int64, np.float64, np.int64),)


def comparable_files(columns: Sequence[NDArray[Any]]) -> ComparableFiles:
    """Return the files that the columns of SELECT_COMPARABLE describe."""
    ids, duration_ms, ratio, average_hash, content_ratio, compared_since = columns
    return ComparableFiles(
        ids=ids,
        duration_ms=duration_ms,
        aspect_ratio=ratio,
        average_hash=average_hash.view(np.uint64),
        content_aspect_ratio=content_ratio,
        compared_since=compared_since,
    )
