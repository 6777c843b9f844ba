"""Turns long results into arrays: a million rows as Python objects would not fit into memory."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sqlalchemy import CursorResult

_ROWS_AT_ONCE: Final = 20_000


def columns(result: CursorResult[Any], dtypes: Sequence[DTypeLike]) -> list[NDArray[Any]]:
    """Give every column of a result as an array of its dtype; a null float becomes NaN."""
    parts: list[list[NDArray[Any]]] = [[np.empty(0, dtype)] for dtype in dtypes]
    # Straight from the driver: rows of SQLAlchemy's own would take twice as long.
    while rows := result.cursor.fetchmany(_ROWS_AT_ONCE):
        for part, values, dtype in zip(parts, zip(*rows, strict=True), dtypes, strict=True):
            part.append(np.array(values, dtype))
    return [np.concatenate(part) for part in parts]
