"""How far pairs have come on their way to a score."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

MARGIN: Final = 1e-3
"""Far more than float arithmetic can move a score by. Nothing is decided by less than this."""


@dataclass(frozen=True, slots=True)
class ScoreBounds:
    """What is known of pairs so far.

    `bounds` float32 (pairs, channels): upper bounds of the score. Those of a pair that has been
    through all levels are its score. `floored` bool (pairs,): it was too near to zero somewhere to
    trust float arithmetic. `entered`: how many pairs each level was computed for.
    """

    bounds: NDArray[np.float32]
    floored: NDArray[np.bool_]
    entered: tuple[int, ...] = ()

    @classmethod
    def of_unseen(cls, pairs: int, *, channels: int) -> Self:
        """Begin: no score exceeds 1."""
        return cls(np.ones((pairs, channels), np.float32), np.zeros(pairs, np.bool_))

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> "ScoreBounds":
        """Go on with some of the pairs; their levels are counted from here."""
        return ScoreBounds(self.bounds[rows], self.floored[rows])

    @property
    def scores(self) -> NDArray[np.float64]:
        """The score, or an upper bound of it, (pairs,): in colour the mean over the channels."""
        scores: NDArray[np.float64] = self.bounds.mean(axis=1, dtype=np.float64)
        return scores

    def may_match(self, threshold: float) -> NDArray[np.bool_]:
        """Tell which pairs may still reach the threshold."""
        return self.scores >= threshold - MARGIN

    def in_doubt(self, threshold: float) -> NDArray[np.bool_]:
        """Tell which pairs, having been through all levels, the library has to settle."""
        scores = self.scores
        # At a threshold of 0 all pairs match, but for SSIM below zero: near there it is floored.
        near = (np.abs(scores - threshold) <= MARGIN) & (threshold > 0)
        return near | (self.floored & self.may_match(threshold))
