"""Counts of files and pairs in the index."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, Table, func, select

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

    comparable_files: int
    waiting_files: int
    gone_files: int
    unusable_reasons: dict[str, int]
    pair_states: dict[str, int]
    refusal_reasons: dict[str, int]
    doubtful_pairs: int


def summarize(engine: Engine) -> Summary:
    """Count files and pairs."""
    unusable = (
        select(file.c.unusable_reason, func.count())
        .where(IS_PRESENT, IS_UNUSABLE)
        .group_by(file.c.unusable_reason)
        .order_by(func.count().desc())
    )
    states = select(pair.c.state, func.count()).group_by(pair.c.state)
    refusals = (
        select(pair.c.reason, func.count())
        .where(pair.c.state == "refused")
        .group_by(pair.c.reason)
        .order_by(func.count().desc())
    )
    with engine.connect() as connection:

        def count(table: Table, *conditions: ColumnElement[bool]) -> int:
            return int(connection.execute(count_rows(table, *conditions)).scalar_one())

        def count_by_name(query: Select[Any]) -> dict[str, int]:
            return {str(name): int(count) for name, count in connection.execute(query)}

        return Summary(
            comparable_files=count(file, IS_COMPARED),
            waiting_files=count(file, IS_UNCOMPARED) + count(file, IS_UNPREPARED, IS_PRESENT),
            gone_files=count(file, IS_GONE),
            unusable_reasons=count_by_name(unusable),
            pair_states=count_by_name(states),
            refusal_reasons=count_by_name(refusals),
            doubtful_pairs=count(doubtful_pair),
        )
