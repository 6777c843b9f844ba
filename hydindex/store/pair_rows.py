"""What the stores that deal in pairs share: both files of a pair, and single rows by its ids."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, select

from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.store.schema import file, pair

LOW: Final = file.alias("low")
HIGH: Final = file.alias("high")
BOTH_PRESENT: Final = LOW.c.gone_at.is_(None) & HIGH.c.gone_at.is_(None)


def with_files(query: Select[Any], table: Table) -> Select[Any]:
    """Join both files of the pairs of a table, as LOW and HIGH."""
    return query.join_from(table, LOW, LOW.c.id == table.c.low_id).join(
        HIGH, HIGH.c.id == table.c.high_id
    )


def is_row(table: Table) -> ColumnElement[bool]:
    """Choose the row of one pair: what a statement is carried out for with each of `keys`."""
    return (table.c.low_id == bindparam("low")) & (table.c.high_id == bindparam("high"))


def keys(pairs: Iterable[FilePair]) -> list[dict[str, int]]:
    """Give pairs as `is_row` asks for them."""
    return [{"low": each.low, "high": each.high} for each in pairs]


OUTBOX_PAIRS: Final = with_files(
    select(pair.c.low_id, pair.c.high_id, LOW.c.sha256, HIGH.c.sha256, pair.c.score), pair
)
"""To be refined, and given to `outbox_pairs`."""


def outbox_pairs(connection: Connection, query: Select[Any]) -> list[OutboxPair]:
    """List the pairs that a refined OUTBOX_PAIRS finds."""
    return [
        OutboxPair(FilePair(low, high), sha_low.hex(), sha_high.hex(), score)
        for low, high, sha_low, sha_high, score in connection.execute(query)
    ]
