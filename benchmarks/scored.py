"""Scores of a labelled library, and what they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from labelled import NO_SCORE, Bools, Floats
from numpy.typing import NDArray

from hydindex.pipeline.calibration import Quality


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of all pairs by one method, and the score from which a pair matches.

    `scores`: (divisions, pairs). Only a cross-validation has more than one division; its values are
    means over them.
    """

    name: str
    scores: Floats
    threshold: float

    @property
    def matches(self) -> Bools:
        """Which pairs match, (divisions, pairs)."""
        return self.scores >= self.threshold

    def count(self, mask: Bools) -> float:
        """Count the matches among some pairs."""
        return float((self.matches & mask).sum(axis=1).mean())

    def qualities(self, is_duplicate: Bools) -> list[Quality]:
        """Return precision and recall of each division."""
        return [Quality.of(matches, is_duplicate) for matches in self.matches]

    def curve(self, is_duplicate: Bools) -> tuple[Floats, Floats, Floats]:
        """Return all distinct scores as thresholds, with precision and recall at each.

        Divisions are combined as if they were one library.
        """
        has_score = self.scores > NO_SCORE
        scores = self.scores[has_score]
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        right = np.cumsum(np.broadcast_to(is_duplicate, has_score.shape)[has_score][order])
        last_of_score = np.append(scores[1:] < scores[:-1], True)
        precision = right / np.arange(1, len(scores) + 1)
        recall = right / (is_duplicate.sum() * len(self.scores))
        return scores[last_of_score], precision[last_of_score], recall[last_of_score]


@dataclass(frozen=True, slots=True)
class Library:
    """The pairs of labelled libraries, and their scores by several methods.

    `information` of each pair is that of the emptier picture, NO_SCORE for pairs that are no
    candidates of the method `calibrated`.
    """

    is_duplicate: Bools
    alteration: NDArray[np.str_]
    is_candidate: Bools
    information: Floats
    methods: Sequence[Scored]

    @classmethod
    def combined(cls, libraries: Sequence[Self]) -> Self:
        """Combine the pairs of libraries; there are no pairs across libraries."""
        return cls(
            np.concatenate([each.is_duplicate for each in libraries]),
            np.concatenate([each.alteration for each in libraries]),
            np.concatenate([each.is_candidate for each in libraries]),
            np.concatenate([each.information for each in libraries]),
            [
                replace(same[0], scores=np.concatenate([each.scores for each in same], axis=1))
                for same in zip(*(each.methods for each in libraries), strict=True)
            ],
        )
