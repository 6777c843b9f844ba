"""Ways of asking that the stores share."""

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
from hydindex.store.database import trouble
from hydindex.store.schema import ASPECT_RATIO, CONTENT_ASPECT_RATIO, doubtful_pair, file

_ROWS_AT_ONCE: Final = 20_000


def columns(result: CursorResult[Any], dtypes: Sequence[DTypeLike]) -> list[NDArray[Any]]:
    """Give every column of a result as an array of its dtype; a null float becomes NaN.

    A million rows as Python objects would not fit into memory.
    """
    parts: list[list[NDArray[Any]]] = [[np.empty(0, dtype)] for dtype in dtypes]
    for rows in driver_rows(result):
        for part, values, dtype in zip(parts, zip(*rows, strict=True), dtypes, strict=True):
            part.append(np.array(values, dtype))
    return [np.concatenate(part) for part in parts]


def driver_rows(result: CursorResult[Any]) -> Iterator[Sequence[Any]]:
    """Give rows as they come from the driver, many at a time.

    Rows of SQLAlchemy's own would take twice as long; but SQLAlchemy would see to the errors.
    """
    try:
        while rows := result.cursor.fetchmany(_ROWS_AT_ONCE):
            yield rows
    except sqlite3.Error as error:
        path = result.connection.engine.url.database
        raise trouble(Path(str(path)), error) from None


def listed(ids: NDArray[np.int64]) -> TableValuedAlias:
    """Make a table of ids to join with; its column is `value`.

    As JSON, because SQLite limits the number of parameters.
    """
    return func.json_each(json.dumps(ids.tolist())).table_valued("value")


def file_ids(connection: Connection, hashes: Iterable[bytes]) -> dict[bytes, int]:
    """Look up the ids of those files that have a row, by their SHA-256; some thousands at most."""
    query = select(file.c.sha256, file.c.id).where(file.c.sha256.in_(list(hashes)))
    return {sha256: file_id for sha256, file_id in connection.execute(query)}  # noqa: C416


def count_doubtful(connection: Connection) -> int:
    """Count the pairs that wait for a second look."""
    return connection.execute(select(func.count()).select_from(doubtful_pair)).scalar_one()


def count_files(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Count the files of which a condition holds: quick for one that an index is made for."""
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
