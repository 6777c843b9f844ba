"""Upper bounds of scores, as the levels of MS-SSIM narrow them down."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

MARGIN: Final = 1e-3
"""Far above the error of float arithmetic. Scores this close to a threshold are recomputed."""


@dataclass(frozen=True, slots=True)
class ScoreBounds:
    """Upper bounds of the scores of pairs.

    - `bounds`: float32 (pairs, channels). After all levels a bound is the score.
    - `floored`: bool (pairs,), whether a factor was too close to zero for float arithmetic.
    - `entered`: the number of pairs that each level was computed for.
    """

    bounds: NDArray[np.float32]
    floored: NDArray[np.bool_]
    entered: tuple[int, ...] = ()

    @classmethod
    def of_unseen(cls, pairs: int, *, channels: int) -> Self:
        """Start with 1, which no score exceeds."""
        return cls(np.ones((pairs, channels), np.float32), np.zeros(pairs, np.bool_))

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> "ScoreBounds":
        """Select pairs; `entered` starts again."""
        return ScoreBounds(self.bounds[rows], self.floored[rows])

    @property
    def scores(self) -> NDArray[np.float64]:
        """The score or its upper bound, (pairs,): in colour the mean over the channels."""
        scores: NDArray[np.float64] = self.bounds.mean(axis=1, dtype=np.float64)
        return scores

    def may_match(self, threshold: float) -> NDArray[np.bool_]:
        """Return which pairs may reach the threshold: bool (pairs,)."""
        return self.scores >= threshold - MARGIN

    def needs_reference(self, threshold: float) -> NDArray[np.bool_]:
        """Return which pairs the library must score, once all levels are computed: bool (pairs,)."""
        scores = self.scores
        # At a threshold of 0 all pairs match, except for a negative SSIM; near 0 that is floored.
        near = (np.abs(scores - threshold) <= MARGIN) & (threshold > 0)
        return near | (self.floored & self.may_match(threshold))
