"""What the user decided about posted pairs, as far as Hydrus was asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Final

from sqlalchemy import ColumnElement, Engine, Integer, bindparam, func, or_, select, update

from hydindex.common import clock
from hydindex.records.pair_states import KEPT, Decision
from hydindex.records.pairs import BY_FRAMES, DecidedPair, FilePair, OutboxPair
from hydindex.store.pair_rows import (
    BOTH_PRESENT,
    OUTBOX_PAIRS,
    SHA256_A,
    SHA256_B,
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
    """Decisions about posted pairs with scores from `lowest` to below `highest`.

    The last band includes its end.
    """

    lowest: float
    highest: float
    duplicate: int = 0
    alternate: int = 0
    false_positive: int = 0
    open: int = 0

    @property
    def decided(self) -> int:
        """How many pairs the user decided."""
        return self.duplicate + self.alternate + self.false_positive

    @property
    def precision(self) -> float | None:
        """The share of decided pairs that were right; None if none is decided."""
        return (self.duplicate + self.alternate) / self.decided if self.decided else None


class DecisionLog:
    """Reads and records decisions. Each writing method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def least_recently_checked(self, count: int) -> list[OutboxPair]:
        """List undecided pairs, those not checked for the longest time first.

        Their files may be gone: a user who decides a pair often deletes one of the two.
        """
        query = OUTBOX_PAIRS.where(IS_OPEN).order_by(
            pair.c.decision_checked_at,  # null, never, comes first
            pair.c.low_id,
            pair.c.high_id,
        )
        with self._engine.connect() as connection:
            return outbox_pairs(connection, query.limit(count))

    def record(self, decisions: Mapping[FilePair, Decision | None]) -> None:
        """Record what was decided about pairs; None means still undecided, but checked now."""
        rows = [
            {**key, "decided": decision}
            for key, decision in zip(keys(decisions), decisions.values(), strict=True)
        ]
        if not rows:
            return
        statement = (
            update(pair)
            .where(is_row(pair))
            .values(decision=bindparam("decided"), decision_checked_at=clock.now())
        )
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def linked(self) -> list[FilePair]:
        """List the pairs whose files Hydrus links: duplicates, and pairs still to be decided.

        Not included are undecided pairs with a file that is gone, which nobody will decide, and
        those that no longer match, which are probably wrong.
        """
        waits = pair.c.decision.is_(None) & pair.c.matches & BOTH_PRESENT
        query = with_files(select(pair.c.low_id, pair.c.high_id), pair).where(
            pair.c.state.in_(KEPT), or_(pair.c.decision == Decision.DUPLICATE, waits)
        )
        with self._engine.connect() as connection:
            result = connection.execute(query)
            return [FilePair(low, high) for rows in driver_rows(result) for low, high in rows]

    def decided(self) -> list[DecidedPair]:
        """List the decided pairs whose score is that of their thumbnails.

        Pairs that frame verification let through are left out: it rejected others with the same
        features, so these would make doubtful thumbnails look better than they are.
        """
        columns = select(SHA256_A, SHA256_B, pair.c.features, pair.c.decision)
        query = with_files(columns, pair).where(
            pair.c.decision.is_not(None),
            pair.c.features.is_not(None),
            pair.c.features[BY_FRAMES].as_string().is_(None),
        )
        with self._engine.connect() as connection:
            return [
                DecidedPair((a.hex(), b.hex()), features, Decision(decision))
                for a, b, features, decision in connection.execute(
                    query.order_by(SHA256_A, SHA256_B)
                )
            ]

    def by_score(self, *, calibrated: bool) -> list[ScoreBand]:
        """Count posted pairs by score and decision, the highest scores first.

        Scores of different methods can't be compared: `calibrated` selects probabilities or
        similarities. Bands without pairs are left out.
        """
        above: list[ColumnElement[int]] = [
            (pair.c.score >= edge).cast(Integer) for edge in _BAND_EDGES[1:-1]
        ]
        band = reduce(add, above)
        is_calibrated = pair.c.features.is_not(None)
        query = (
            select(band, func.coalesce(pair.c.decision, "open"), func.count())
            .where(pair.c.state.in_(KEPT), is_calibrated if calibrated else ~is_calibrated)
            .group_by(band, pair.c.decision)
        )
        counts: dict[int, dict[str, int]] = {}
        with self._engine.connect() as connection:
            for number, decision, count in connection.execute(query):
                counts.setdefault(number, {})[decision] = count
        return [
            ScoreBand(_BAND_EDGES[number], _BAND_EDGES[number + 1], **counts[number])
            for number in sorted(counts, reverse=True)
        ]
