"""Upper bounds of scores, as the levels of MS-SSIM narrow them down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

MARGIN: Final = 1e-3
"""Far above the error of float arithmetic. Scores this close to a threshold are recomputed."""


@dataclass(frozen=True, slots=True)
class ScoreBounds:
    """Upper bounds of the scores of pairs.

    - `bounds`: float32 (pairs, channels). After all levels a bound is the score.
    - `needs_exact_score`: bool (pairs,), true if a factor was too near zero for float arithmetic.
    - `pairs_per_level`: the number of pairs that each level was computed for.
    """

    bounds: NDArray[np.float32]
    needs_exact_score: NDArray[np.bool_]
    pairs_per_level: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def initial(cls, pairs: int, *, channels: int) -> Self:
        """Start with 1, which no score exceeds."""
        return cls(np.ones((pairs, channels), np.float32), np.zeros(pairs, np.bool_))

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> "ScoreBounds":
        """Select pairs; no level has been computed for them alone."""
        return ScoreBounds(self.bounds[rows], self.needs_exact_score[rows])

    @property
    def scores(self) -> NDArray[np.float64]:
        """The score or its upper bound, (pairs,): in colour the mean over the channels."""
        return self.bounds.mean(axis=1, dtype=np.float64)

    def may_match(self, threshold: float) -> NDArray[np.bool_]:
        """Return which pairs may reach the threshold: bool (pairs,)."""
        return self.scores >= threshold - MARGIN

    def needs_reference(self, threshold: float) -> NDArray[np.bool_]:
        """Return which pairs the library must score after the last level: bool (pairs,)."""
        # At a threshold of 0 all pairs match, except for a negative SSIM: near 0 it is imprecise.
        near = (np.abs(self.scores - threshold) <= MARGIN) & (threshold > 0)
        return near | (self.needs_exact_score & self.may_match(threshold))
