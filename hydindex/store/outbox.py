"""The outbox: pairs on their way to Hydrus. Events move them as `pair_states` allows."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, delete, func, select, update

from hydindex.common import clock
from hydindex.records.pair_states import SENDABLE, TRANSITIONS, Event, PairState
from hydindex.records.pairs import OutboxPair
from hydindex.store.pair_rows import (
    BOTH_PRESENT,
    OUTBOX_PAIRS,
    is_in_state,
    is_row,
    keys,
    outbox_pairs,
    with_files,
)
from hydindex.store.queries import StorePart
from hydindex.store.schema import pair
from hydindex.store.shared_pictures import is_of_shared_picture

_IS_SENDABLE: Final = pair.c.state.in_(SENDABLE) & BOTH_PRESENT


class Outbox(StorePart):
    """Reads pairs and moves them."""

    def sendable(self, without_shared: NDArray[np.int64]) -> list[OutboxPair]:
        """List the pairs to be posted whose files are present, the highest score first.

        Pairs that are held back because the files `without_shared` have a shared picture are left
        out: there may be hundreds of thousands, every night.
        """
        return self._pairs(_IS_SENDABLE & ~is_of_shared_picture(without_shared))

    def count_sendable(self) -> int:
        """Count the pairs to be posted whose files are present."""
        return self._count(with_files(select(func.count()), pair).where(_IS_SENDABLE))

    def sending(self) -> list[OutboxPair]:
        """List pairs whose sending was interrupted: Hydrus may or may not have them."""
        return self._pairs(pair.c.state == PairState.SENDING)

    def apply(
        self, event: Event, pairs: Iterable[OutboxPair], *, reason: str | None = None
    ) -> None:
        """Move pairs as an event demands; a refused pair needs a reason.

        Pairs that are queued again, but no longer match, leave the index.

        Raises:
            ValueError: a pair is in a state that the event can't leave; nothing was changed.
        """
        rows = keys(item.pair for item in pairs)
        if not rows:
            return
        transition = TRANSITIONS[event]
        move = (
            update(pair)
            .where(is_row(pair), is_in_state(transition.sources))
            .values(state=transition.target, reason=reason, state_at=clock.now())
        )
        is_outdated = (pair.c.state == PairState.QUEUED) & ~pair.c.matches
        with self._engine.begin() as connection:
            if connection.execute(move, rows).rowcount != len(rows):
                raise ValueError(f"{event.name} does not apply to all of these pairs")
            connection.execute(delete(pair).where(is_row(pair), is_outdated), rows)

    def _pairs(self, condition: ColumnElement[bool]) -> list[OutboxPair]:
        order = (pair.c.score.desc(), pair.c.low_id, pair.c.high_id)
        return outbox_pairs(self._rows(OUTBOX_PAIRS.where(condition).order_by(*order)))
