"""SQL shared by the modules that handle pairs: a pair's files, and single rows by its ids."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, bindparam, func, or_, select

from hydindex.records.pair_states import PairState
from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.store.schema import file, pair

LOW: Final = file.alias("low")
HIGH: Final = file.alias("high")
# Both SHA-256 in order: unlike ids, they don't depend on the index.
SHA256_A: Final = func.min(LOW.c.sha256, HIGH.c.sha256).label("sha256_a")
SHA256_B: Final = func.max(LOW.c.sha256, HIGH.c.sha256).label("sha256_b")
BOTH_PRESENT: Final = LOW.c.gone_at.is_(None) & HIGH.c.gone_at.is_(None)


def with_files(query: Select[Any], table: Table) -> Select[Any]:
    """Join the two files of each pair in a table, as LOW and HIGH."""
    return query.join_from(table, LOW, LOW.c.id == table.c.low_id).join(
        HIGH, HIGH.c.id == table.c.high_id
    )


def is_row(table: Table) -> ColumnElement[bool]:
    """Return the condition that selects the row of one pair; `keys` makes its parameters."""
    return (table.c.low_id == bindparam("low")) & (table.c.high_id == bindparam("high"))


def is_in_state(states: Iterable[PairState]) -> ColumnElement[bool]:
    """Return the condition that a pair is in one of some states.

    SQLAlchemy can't expand IN in a statement for many rows.
    """
    return or_(*(pair.c.state == state for state in states))


def is_wanted(states: Sequence[PairState], min_score: float | None) -> ColumnElement[bool]:
    """Return the condition that a pair has one of the states (empty: any), and at least a score."""
    return pair.c.state.in_(states or tuple(PairState)) & (pair.c.score >= (min_score or 0.0))


def keys(pairs: Iterable[FilePair]) -> list[dict[str, int]]:
    """Return the parameters of `is_row` for each pair."""
    return [{"low": each.low, "high": each.high} for each in pairs]


OUTBOX_PAIRS: Final = with_files(
    select(pair.c.low_id, pair.c.high_id, LOW.c.sha256, HIGH.c.sha256, pair.c.score), pair
)
"""Add conditions, and pass its rows to `outbox_pairs`."""


def outbox_pairs(rows: Iterable[Any]) -> list[OutboxPair]:
    """Return the pairs in rows of OUTBOX_PAIRS."""
    return [
        OutboxPair(FilePair(low, high), sha_low.hex(), sha_high.hex(), score)
        for low, high, sha_low, sha_high, score in rows
    ]
