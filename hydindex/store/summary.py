"""Counts of files and pairs in the index."""

from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Engine, Table, func, select

from hydindex.store.queries import count_rows
from hydindex.store.schema import (
    IS_COMPARED,
    IS_GONE,
    IS_PRESENT,
    IS_UNCOMPARED,
    IS_UNPREPARED,
    IS_UNUSABLE,
    doubtful_pair,
    file,
    pair,
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of files and pairs. Gone files are counted only in `gone_files`.

    `waiting_files` are present, but not yet prepared or compared. `unusable_reasons`,
    `refusal_reasons`: counts by reason. `doubtful_pairs` wait for frame verification.
    """

    compared_files: int
    waiting_files: int
    gone_files: int
    unusable_reasons: dict[str, int]
    pair_states: dict[str, int]
    refusal_reasons: dict[str, int]
    doubtful_pairs: int


def summarize(engine: Engine) -> Summary:
    """Count files and pairs."""
    with engine.connect() as connection:

        def count(table: Table, *conditions: ColumnElement[bool]) -> int:
            return int(connection.execute(count_rows(table, *conditions)).scalar_one())

        def count_by(column: Column[str], *conditions: ColumnElement[bool]) -> dict[str, int]:
            query = select(column, func.count()).where(*conditions).group_by(column)
            rows = connection.execute(query.order_by(func.count().desc()))
            return {str(value): int(number) for value, number in rows}

        return Summary(
            compared_files=count(file, IS_COMPARED),
            waiting_files=count(file, IS_UNCOMPARED) + count(file, IS_UNPREPARED, IS_PRESENT),
            gone_files=count(file, IS_GONE),
            unusable_reasons=count_by(file.c.unusable_reason, IS_PRESENT, IS_UNUSABLE),
            pair_states=dict(sorted(count_by(pair.c.state).items())),
            refusal_reasons=count_by(pair.c.reason, pair.c.state == "refused"),
            doubtful_pairs=count(doubtful_pair),
        )
