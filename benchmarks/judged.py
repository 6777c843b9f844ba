"""What several rules make of every pair of a labelled library."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np
from hydindex.pipeline.calibrate import Quality
from indexed import compare_all, indexed, with_method
from labelled import LabelledFile, LabelledPairs, kind_of
from numpy.typing import NDArray

from hydindex.config.sections import Frames
from hydindex.config.settings import Config

Floats = NDArray[np.float64]

LEFT_OUT: Final = -np.inf
"""The score of a pair that a rule never gets to see, or drops before it has one."""


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """All pairs of files, candidates or not, and what speaks for each: parallel arrays (pairs,).

    - first, second: the positions of the files.
    - is_duplicate: by the labels.
    - kind: which alteration parts the files, "two" where both are altered, "none" where neither is.
    - ms_ssim: the score of the threshold rule.
    - structure: how well the coarsest structure agrees, of candidates of the calibrated decision.
    - information: how much the emptier picture of such a candidate shows, in nats per pixel.
    - configured: the score by the config, which is a probability if the decision is calibrated.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    is_duplicate: NDArray[np.bool_]
    kind: NDArray[np.str_]
    ms_ssim: Floats
    structure: Floats
    information: Floats
    configured: Floats

    @classmethod
    def of(cls, files: Sequence[LabelledFile], candidates: LabelledPairs, config: Config) -> Self:
        """Matcher the pairs of a library. `candidates` are those of the calibrated decision."""
        first, second = np.triu_indices(len(files), 1)
        couples = [
            (files[i], files[j]) for i, j in zip(first.tolist(), second.tolist(), strict=True)
        ]
        evidence = candidates.evidence
        return cls(
            first=first,
            second=second,
            is_duplicate=np.array(
                [not one.file.base.isdisjoint(other.file.base) for one, other in couples], np.bool_
            ),
            kind=np.array([kind_of(one, other) for one, other in couples]),
            ms_ssim=_scores(files, with_method(config, "threshold")),
            structure=among_all(candidates, evidence.structure_8px),
            information=among_all(candidates, evidence.information),
            configured=_scores(files, config),
        )

    def __len__(self) -> int:
        return len(self.first)

    def __add__(self, other: Self) -> Self:
        """Take the pairs of two libraries together; no file of one is paired with the other's."""
        known = int(self.second.max()) + 1
        apart = replace(other, first=other.first + known, second=other.second + known)
        names = [field.name for field in fields(self)]
        return type(self)(
            *(np.concatenate((getattr(self, name), getattr(apart, name))) for name in names)
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a rule makes of pairs.

    `scores` (draws, pairs): most rules have one draw, a cross-validation has several, and its
    figures are means over them. A pair matches from `threshold` on.
    """

    rule: str
    scores: Floats
    threshold: float

    @classmethod
    def of(cls, rule: str, scores: Floats, threshold: float) -> Self:
        """Take the scores of a rule that has one for each pair."""
        return cls(rule, scores[None], threshold)

    @property
    def matches(self) -> NDArray[np.bool_]:
        """Tell which pairs match, (draws, pairs)."""
        return self.scores >= self.threshold

    def qualities(self, is_duplicate: NDArray[np.bool_]) -> list[Quality]:
        """Compare each draw with the labels."""
        return [Quality.of(matches, is_duplicate) for matches in self.matches]

    def count(self, among: NDArray[np.bool_]) -> float:
        """Count the matches among some pairs."""
        return float((self.matches & among).sum(axis=1).mean())

    def curve(self, is_duplicate: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """Give every threshold that makes a difference, and precision and recall at it.

        The draws are taken together, as if they were one large library.
        """
        judged = self.scores > LEFT_OUT
        scores = self.scores[judged]
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        right = np.cumsum(np.broadcast_to(is_duplicate, judged.shape)[judged][order])
        last_of_its_score = np.append(scores[1:] < scores[:-1], True)
        precision = right / np.arange(1, len(scores) + 1)
        recall = right / (is_duplicate.sum() * len(self.scores))
        return scores[last_of_its_score], precision[last_of_its_score], recall[last_of_its_score]

    def at_its_best(self, rule: str, is_duplicate: NDArray[np.bool_]) -> Self:
        """Take the threshold at which F1 is largest."""
        thresholds, precision, recall = self.curve(is_duplicate)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        return replace(self, rule=rule, threshold=float(thresholds[f1.argmax()]))


def among_all(candidates: LabelledPairs, values: Floats) -> Floats:
    """Give every pair of a library its value, in the order of `JudgedPairs`."""
    return _in_order(len(candidates.files), candidates.first, candidates.second, values)


def _scores(files: Sequence[LabelledFile], config: Config) -> Floats:
    """Let hydindex compare the files, at a threshold that lets every score through."""
    decision = config.decision.model_copy(update={"min_probability": 0.0})
    open_to_all = config.model_copy(
        update={"similarity_threshold": 0.0, "decision": decision, "frames": Frames()}
    )
    with indexed([each.file for each in files], open_to_all) as index:
        compare_all(index, open_to_all)
        queued = index.outbox.sendable()
    position = {each.file.hash: number for number, each in enumerate(files)}
    first = np.array([position[each.sha256_low] for each in queued], np.intp)
    second = np.array([position[each.sha256_high] for each in queued], np.intp)
    return _in_order(len(files), first, second, np.array([each.score for each in queued]))


def _in_order(
    files: int, first: NDArray[np.intp], second: NDArray[np.intp], values: Floats
) -> Floats:
    square = np.full((files, files), LEFT_OUT)
    square[np.minimum(first, second), np.maximum(first, second)] = values
    result: Floats = square[np.triu_indices(files, 1)]
    return result
