"""Counts of files and pairs in the index."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, func, select

from hydindex.store.queries import count_doubtful, count_files
from hydindex.store.schema import (
    IS_COMPARED,
    IS_GONE,
    IS_UNCOMPARED,
    IS_UNPREPARED,
    IS_UNUSABLE,
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
    present = file.c.gone_at.is_(None)
    unusable = (
        select(file.c.unusable_reason, func.count())
        .where(present, IS_UNUSABLE)
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

    def counted(query: Select[Any]) -> dict[str, int]:
        return {str(name): int(count) for name, count in connection.execute(query)}

    with engine.connect() as connection:
        unprepared = count_files(connection, IS_UNPREPARED & present)
        return Summary(
            comparable_files=count_files(connection, IS_COMPARED),
            waiting_files=count_files(connection, IS_UNCOMPARED) + unprepared,
            gone_files=count_files(connection, IS_GONE),
            unusable_reasons=counted(unusable),
            pair_states=counted(states),
            refusal_reasons=counted(refusals),
            doubtful_pairs=count_doubtful(connection),
        )
