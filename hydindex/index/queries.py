"""Ways of asking that the stores share."""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    TableValuedAlias,
    func,
    select,
)

from hydindex.index.schema import file

_ROWS_AT_ONCE: Final = 20_000


def columns(result: CursorResult[Any], dtypes: Sequence[DTypeLike]) -> list[NDArray[Any]]:
    """Give every column of a result as an array of its dtype; a null float becomes NaN.

    A million rows as Python objects would not fit into memory.
    """
    parts: list[list[NDArray[Any]]] = [[np.empty(0, dtype)] for dtype in dtypes]
    # Straight from the driver: rows of SQLAlchemy's own would take twice as long.
    while rows := result.cursor.fetchmany(_ROWS_AT_ONCE):
        for part, values, dtype in zip(parts, zip(*rows, strict=True), dtypes, strict=True):
            part.append(np.array(values, dtype))
    return [np.concatenate(part) for part in parts]


def listed(ids: NDArray[np.int64]) -> TableValuedAlias:
    """Make a table of ids to join with; its column is `value`.

    As JSON, because SQLite limits the number of parameters.
    """
    return func.json_each(json.dumps(ids.tolist())).table_valued("value")


def count_files(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Count the files of which a condition holds: quick for one that an index is made for."""
    return connection.execute(select(func.count()).select_from(file).where(condition)).scalar_one()
