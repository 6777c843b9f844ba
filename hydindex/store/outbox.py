"""The outbox: matching pairs on their way to Hydrus. No state ever leads back from posted."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ColumnElement, Engine, delete, func, select, update

from hydindex.common import clock
from hydindex.records.pairs import OutboxPair, PairState
from hydindex.store.pair_rows import (
    BOTH_PRESENT,
    OUTBOX_PAIRS,
    is_row,
    keys,
    outbox_pairs,
    with_files,
)
from hydindex.store.schema import pair

_IS_SENDABLE: Final = pair.c.state.in_((PairState.QUEUED, PairState.REFUSED)) & BOTH_PRESENT


class OutboxStore:
    """Reads and moves pairs. Every method that writes is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sendable(self) -> list[OutboxPair]:
        """List what a run should try to post, the most alike first: both files must be there."""
        return self._pairs(_IS_SENDABLE)

    def count_sendable(self) -> int:
        """Count them."""
        query = with_files(select(func.count()), pair).where(_IS_SENDABLE)
        with self._engine.connect() as connection:
            count: int = connection.execute(query).scalar_one()
        return count

    def sending(self) -> list[OutboxPair]:
        """List pairs whose sending was cut short: Hydrus may or may not have them."""
        return self._pairs(pair.c.state == PairState.SENDING)

    def move(
        self, pairs: Iterable[OutboxPair], state: PairState, *, reason: str | None = None
    ) -> None:
        """Give pairs a new state; a refused one needs a reason."""
        rows = keys(item.pair for item in pairs)
        if not rows:
            return
        changed = {"state": state, "reason": reason, "state_at": clock.now()}
        statement = update(pair).where(is_row(pair)).values(changed)
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def queue_again(self, pairs: Iterable[OutboxPair]) -> None:
        """Put pairs that never arrived back into the queue, or drop those that match no longer."""
        rows = keys(item.pair for item in pairs)
        if not rows:
            return
        queued = {"state": PairState.QUEUED, "state_at": clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(pair).where(is_row(pair), ~pair.c.matches), rows)
            connection.execute(update(pair).where(is_row(pair)).values(queued), rows)

    def _pairs(self, condition: ColumnElement[bool]) -> list[OutboxPair]:
        query = OUTBOX_PAIRS.where(condition).order_by(
            pair.c.score.desc(), pair.c.low_id, pair.c.high_id
        )
        with self._engine.connect() as connection:
            return outbox_pairs(connection, query)
