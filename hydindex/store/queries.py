"""Queries that the parts of the store share."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Select,
    TableValuedAlias,
    func,
    select,
)

from hydindex.records.files import NOT_COMPARED, ComparableFiles
from hydindex.store.database import translated
from hydindex.store.schema import ASPECT_RATIO, CONTENT_ASPECT_RATIO, doubtful_pair, file

_ROWS_AT_ONCE: Final = 20_000


def columns(result: CursorResult[Any], dtypes: Sequence[DTypeLike]) -> list[NDArray[Any]]:
    """Return each column of a result as an array; a null float becomes NaN.

    A million rows as Python objects would need too much memory.
    """
    parts: list[list[NDArray[Any]]] = [[np.empty(0, dtype)] for dtype in dtypes]
    for rows in driver_rows(result):
        for part, values, dtype in zip(parts, zip(*rows, strict=True), dtypes, strict=True):
            part.append(np.array(values, dtype))
    return [np.concatenate(part) for part in parts]


def driver_rows(result: CursorResult[Any]) -> Iterator[Sequence[Any]]:
    """Yield batches of rows straight from the driver.

    SQLAlchemy's rows take twice as long; but then errors must be translated here.
    """
    try:
        while rows := result.cursor.fetchmany(_ROWS_AT_ONCE):
            yield rows
    except sqlite3.Error as error:
        path = result.connection.engine.url.database
        raise translated(Path(str(path)), error) from None


def listed(ids: NDArray[np.int64]) -> TableValuedAlias:
    """Return a table of ids to join with; its column is `value`.

    It is passed as JSON because SQLite limits the number of parameters.
    """
    return func.json_each(json.dumps(ids.tolist())).table_valued("value")


def file_ids(connection: Connection, hashes: Iterable[bytes]) -> dict[bytes, int]:
    """Look up the ids of at most some thousand files by SHA-256; unknown ones are left out."""
    query = select(file.c.sha256, file.c.id).where(file.c.sha256.in_(list(hashes)))
    return {sha256: file_id for sha256, file_id in connection.execute(query)}  # noqa: C416


def count_doubtful(connection: Connection) -> int:
    """Count the pairs that wait for frame verification."""
    return connection.execute(select(func.count()).select_from(doubtful_pair)).scalar_one()


def count_files(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Count files by a condition; fast for the conditions that have a partial SQL index."""
    return connection.execute(select(func.count()).select_from(file).where(condition)).scalar_one()


SELECT_COMPARABLE: Final = select(
    file.c.id,
    file.c.duration_ms,
    ASPECT_RATIO,
    func.coalesce(file.c.average_hash, 0),
    CONTENT_ASPECT_RATIO,
    func.coalesce(file.c.content_hash, file.c.average_hash, 0),
    func.coalesce(file.c.compared_since, int(NOT_COMPARED)),
)
"""The columns that `read_comparable` needs; add a condition or a join."""


def read_comparable(connection: Connection, query: Select[Any]) -> ComparableFiles:
    """Read files that a query based on SELECT_COMPARABLE finds."""
    dtypes = (np.int64, np.float64, np.float64, np.int64, np.float64, np.int64, np.int64)
    ids, durations_ms, ratios, hashes, content_ratios, content_hashes, since = columns(
        connection.execute(query), dtypes
    )
    return ComparableFiles(
        ids=ids,
        duration_ms=durations_ms,
        aspect_ratio=ratios,
        average_hash=hashes.view(np.uint64),
        content_aspect_ratio=content_ratios,
        content_hash=content_hashes.view(np.uint64),
        compared_since=since,
    )
