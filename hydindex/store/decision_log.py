"""What became of the pairs that Hydrus was told of: what the user has decided, as far as asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final

from sqlalchemy import ColumnElement, Engine, Integer, bindparam, func, or_, select, update

from hydindex.common import clock
from hydindex.records.pairs import (
    BY_FRAMES,
    KEPT_STATES,
    DecidedPair,
    Decision,
    FilePair,
    OutboxPair,
)
from hydindex.store.pair_rows import (
    BOTH_PRESENT,
    HIGH,
    LOW,
    OUTBOX_PAIRS,
    is_row,
    keys,
    outbox_pairs,
    with_files,
)
from hydindex.store.queries import driver_rows
from hydindex.store.schema import IS_OPEN, pair

_BAND_EDGES: Final = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class ScoreBand:
    """Posted pairs whose scores lie in one band, from `lowest` to below `highest`, and their fate.

    The last band takes in its end.
    """

    lowest: float
    highest: float
    duplicate: int = 0
    alternate: int = 0
    false_positive: int = 0
    open: int = 0

    @property
    def decided(self) -> int:
        """How many the user has decided about."""
        return self.duplicate + self.alternate + self.false_positive

    @property
    def precision(self) -> float | None:
        """The share of the decided pairs that were right; None where none is decided."""
        return (self.duplicate + self.alternate) / self.decided if self.decided else None


class DecisionStore:
    """Reads and notes decisions. Every method that writes is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_longest(self, count: int) -> list[OutboxPair]:
        """List some pairs about which nothing is decided: those not asked about for longest.

        Their files may be gone: whoever decides a pair often deletes one of the two.
        """
        query = OUTBOX_PAIRS.where(IS_OPEN).order_by(
            pair.c.asked_at,  # null, never, comes first
            pair.c.low_id,
            pair.c.high_id,
        )
        with self._engine.connect() as connection:
            return outbox_pairs(connection, query.limit(count))

    def note(self, outcomes: Mapping[FilePair, Decision | None]) -> None:
        """Note what has been decided about pairs; None: they were asked about, and are open."""
        rows = [
            {**key, "decided": outcome}
            for key, outcome in zip(keys(outcomes), outcomes.values(), strict=True)
        ]
        if not rows:
            return
        statement = (
            update(pair)
            .where(is_row(pair))
            .values(outcome=bindparam("decided"), asked_at=clock.now())
        )
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def joined(self) -> list[FilePair]:
        """List the pairs that Hydrus need not be told of others for: it joins their files itself.

        These are duplicates by the user's word, and pairs that wait for it. A pair with a file that
        is gone waits in vain; one that does not match any longer is probably wrong.
        """
        waits = pair.c.outcome.is_(None) & pair.c.matches & BOTH_PRESENT
        query = with_files(select(pair.c.low_id, pair.c.high_id), pair).where(
            pair.c.state.in_(KEPT_STATES), or_(pair.c.outcome == Decision.DUPLICATE, waits)
        )
        with self._engine.connect() as connection:
            result = connection.execute(query)
            return [FilePair(low, high) for rows in driver_rows(result) for low, high in rows]

    def decided(self) -> list[DecidedPair]:
        """List the pairs that the user has decided about, of those that rest on their thumbnails.

        Pairs that a second look has let through are left out: it has kept others like them back, so
        that these would speak too well of doubtful thumbnails.
        """
        columns = select(LOW.c.sha256, HIGH.c.sha256, pair.c.evidence, pair.c.outcome)
        query = with_files(columns, pair).where(
            pair.c.outcome.is_not(None),
            pair.c.evidence.is_not(None),
            pair.c.evidence[BY_FRAMES].as_string().is_(None),
        )
        with self._engine.connect() as connection:
            decided = [
                DecidedPair((min(files), max(files)), evidence, Decision(outcome))
                for *sha256s, evidence, outcome in connection.execute(query)
                for files in [[sha256.hex() for sha256 in sha256s]]
            ]
        return sorted(decided, key=lambda each: each.sha256s)

    def by_score(self, *, calibrated: bool) -> list[ScoreBand]:
        """Count the pairs that Hydrus was told of by score and fate, the highest scores first.

        Scores of both methods cannot be compared: either calibrated ones are counted, or the
        others. Bands without a pair are left out.
        """
        above: list[ColumnElement[int]] = [
            (pair.c.score >= edge).cast(Integer) for edge in _BAND_EDGES[1:-1]
        ]
        band = reduce(add, above)
        is_calibrated = pair.c.evidence.is_not(None)
        query = (
            select(band, func.coalesce(pair.c.outcome, "open"), func.count())
            .where(pair.c.state.in_(KEPT_STATES), is_calibrated if calibrated else ~is_calibrated)
            .group_by(band, pair.c.outcome)
        )
        counts: dict[int, dict[str, int]] = {}
        with self._engine.connect() as connection:
            for number, fate, count in connection.execute(query):
                counts.setdefault(number, {})[fate] = count
        return [
            ScoreBand(_BAND_EDGES[number], _BAND_EDGES[number + 1], **counts[number])
            for number in sorted(counts, reverse=True)
        ]
