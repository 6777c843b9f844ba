"""The outbox: matching pairs on their way to Hydrus. No state ever leads back from posted."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Engine, bindparam, delete, select, update

from hydindex import clock
from hydindex.index.schema import file, pair
from hydindex.model import FilePair, OutboxPair, PairState

_low, _high = file.alias("low"), file.alias("high")
_SENDABLE = (PairState.QUEUED, PairState.REFUSED)


class OutboxStore:
    """Reads and moves pairs. Every method that writes is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sendable(self) -> list[OutboxPair]:
        """List what a run should try to post, the most alike first: both files must be there."""
        both_present = _low.c.gone_at.is_(None) & _high.c.gone_at.is_(None)
        return self._pairs(pair.c.state.in_(_SENDABLE) & both_present)

    def sending(self) -> list[OutboxPair]:
        """List pairs whose sending was cut short: Hydrus may or may not have them."""
        return self._pairs(pair.c.state == PairState.SENDING)

    def move(
        self, pairs: Iterable[OutboxPair], state: PairState, *, reason: str | None = None
    ) -> None:
        """Give pairs a new state; a refused one needs a reason."""
        rows = [{"low": item.pair.low, "high": item.pair.high} for item in pairs]
        if not rows:
            return
        statement = (
            update(pair)
            .where(pair.c.low_id == bindparam("low"), pair.c.high_id == bindparam("high"))
            .values(state=state, reason=reason, state_at=clock.now())
        )
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def queue_again(self, pairs: Iterable[OutboxPair]) -> None:
        """Put pairs that never arrived back into the queue, or drop those that match no longer."""
        rows = [{"low": item.pair.low, "high": item.pair.high} for item in pairs]
        if not rows:
            return
        is_row = (pair.c.low_id == bindparam("low")) & (pair.c.high_id == bindparam("high"))
        queued = {"state": PairState.QUEUED, "state_at": clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(pair).where(is_row, ~pair.c.matches), rows)
            connection.execute(update(pair).where(is_row).values(queued), rows)

    def _pairs(self, condition: ColumnElement[bool]) -> list[OutboxPair]:
        query = (
            select(pair.c.low_id, pair.c.high_id, _low.c.sha256, _high.c.sha256, pair.c.score)
            .join(_low, _low.c.id == pair.c.low_id)
            .join(_high, _high.c.id == pair.c.high_id)
            .where(condition)
            .order_by(pair.c.score.desc(), pair.c.low_id, pair.c.high_id)
        )
        with self._engine.connect() as connection:
            return [
                OutboxPair(FilePair(low, high), sha_low.hex(), sha_high.hex(), score)
                for low, high, sha_low, sha_high, score in connection.execute(query)
            ]
