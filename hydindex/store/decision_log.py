"""What the user decided about posted pairs, as far as it is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, or_, select, update

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
from hydindex.store.queries import StorePart
from hydindex.store.schema import IS_OPEN, IS_UNDECIDED, pair

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


class DecisionLog(StorePart):
    """Reads and records decisions."""

    def least_recently_checked(self, count: int) -> list[OutboxPair]:
        """List undecided pairs, those not checked for the longest time first.

        Their files may be gone: a user who decides a pair often deletes one of the two.
        """
        query = OUTBOX_PAIRS.where(IS_OPEN).order_by(
            pair.c.decision_checked_at,  # null, never, comes first
            pair.c.low_id,
            pair.c.high_id,
        )
        return outbox_pairs(self._rows(query.limit(count)))

    def record(self, decisions: Mapping[FilePair, Decision | None]) -> None:
        """Record what was decided about pairs; None means still undecided, but checked now."""
        checked = update(pair).where(is_row(pair)).values(decision_checked_at=clock.now())
        with self._engine.begin() as connection:
            for each, decision in decisions.items():
                connection.execute(checked.values(decision=decision), keys([each]))

    def linked(self) -> list[FilePair]:
        """List the pairs whose files Hydrus links: duplicates, and pairs still to be decided.

        Not included are undecided pairs with a file that is gone, which nobody will decide, and
        those that no longer match, which are probably wrong.
        """
        is_pending = IS_UNDECIDED & pair.c.matches & BOTH_PRESENT
        query = with_files(select(pair.c.low_id, pair.c.high_id), pair).where(
            pair.c.state.in_(KEPT), or_(pair.c.decision == Decision.DUPLICATE, is_pending)
        )
        return [FilePair(low, high) for low, high in self._rows(query)]

    def decided(self) -> list[DecidedPair]:
        """List the decided pairs whose score is that of their thumbnails.

        Pairs that frame verification accepted are left out. It rejected others with the same
        features: including only the accepted ones would bias the fit.
        """
        columns = select(SHA256_A, SHA256_B, pair.c.features, pair.c.decision)
        query = with_files(columns, pair).where(
            pair.c.decision.is_not(None),
            pair.c.features.is_not(None),
            pair.c.features[BY_FRAMES].as_string().is_(None),
        )
        return [
            DecidedPair((a.hex(), b.hex()), features, Decision(decision))
            for a, b, features, decision in self._rows(query.order_by(SHA256_A, SHA256_B))
        ]

    def by_score(self, *, calibrated: bool) -> list[ScoreBand]:
        """Count posted pairs by score and decision, the highest scores first.

        Scores of different methods can't be compared: `calibrated` selects probabilities or
        similarities. Bands without pairs are left out.
        """
        # The last band whose lower edge the score reaches.
        edges = reversed(list(enumerate(_BAND_EDGES[1:-1], start=1)))
        band = case(*((pair.c.score >= edge, number) for number, edge in edges), else_=0)
        query = (
            select(band, func.coalesce(pair.c.decision, "open"), func.count())
            .where(pair.c.state.in_(KEPT), pair.c.features.is_not(None) == calibrated)
            .group_by(band, pair.c.decision)
        )
        counts: dict[int, dict[str, int]] = {}
        for number, decision, count in self._rows(query):
            counts.setdefault(number, {})[decision] = count
        return [
            ScoreBand(_BAND_EDGES[number], _BAND_EDGES[number + 1], **counts[number])
            for number in sorted(counts, reverse=True)
        ]
