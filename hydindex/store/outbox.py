"""The outbox: pairs on their way to Hydrus. Events move them as `pair_states` allows."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ColumnElement, Engine, bindparam, delete, func, or_, select, update

from hydindex.common import clock
from hydindex.records.pair_states import SENDABLE, TRANSITIONS, Event, PairState
from hydindex.records.pairs import OutboxPair
from hydindex.store.pair_rows import (
    BOTH_PRESENT,
    OUTBOX_PAIRS,
    is_row,
    keys,
    outbox_pairs,
    with_files,
)
from hydindex.store.schema import pair

_IS_SENDABLE: Final = pair.c.state.in_(SENDABLE) & BOTH_PRESENT


class Outbox:
    """Reads pairs and moves them. Each writing method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sendable(self) -> list[OutboxPair]:
        """List the pairs to be posted whose files are present, the highest score first."""
        return self._pairs(_IS_SENDABLE)

    def count_sendable(self) -> int:
        """Count the pairs that `sendable` lists."""
        query = with_files(select(func.count()), pair).where(_IS_SENDABLE)
        with self._engine.connect() as connection:
            count: int = connection.execute(query).scalar_one()
        return count

    def sending(self) -> list[OutboxPair]:
        """List pairs whose sending was interrupted: Hydrus may or may not have them."""
        return self._pairs(pair.c.state == PairState.SENDING)

    def apply(
        self, event: Event, pairs: Iterable[OutboxPair], *, reason: str | None = None
    ) -> None:
        """Move pairs as an event demands; a refused pair needs a reason.

        A lost pair that no longer matches is dropped.

        Raises:
            ValueError: a pair is in a state that the event can't leave; nothing was changed.
        """
        rows = keys(item.pair for item in pairs)
        if not rows:
            return
        transition = TRANSITIONS[event]
        # Not IN: SQLAlchemy can't expand that for many rows.
        can_move = is_row(pair) & or_(*(pair.c.state == each for each in transition.sources))
        moved = (
            update(pair)
            .where(can_move)
            .values(state=transition.target, reason=bindparam("why"), state_at=clock.now())
        )
        with self._engine.begin() as connection:
            dropped = 0
            if event is Event.LOSE:
                dropped = connection.execute(
                    delete(pair).where(can_move, ~pair.c.matches), rows
                ).rowcount
            changed = connection.execute(moved, [{**row, "why": reason} for row in rows]).rowcount
            if dropped + changed != len(rows):
                raise ValueError(f"{event.name} does not apply to all of these pairs")

    def _pairs(self, condition: ColumnElement[bool]) -> list[OutboxPair]:
        query = OUTBOX_PAIRS.where(condition).order_by(
            pair.c.score.desc(), pair.c.low_id, pair.c.high_id
        )
        with self._engine.connect() as connection:
            return outbox_pairs(connection, query)
