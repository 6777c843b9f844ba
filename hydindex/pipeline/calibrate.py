"""`hydindex calibrate`: fits the model of the calibrated decision to the user's own decisions.

It cannot run away. Every fit starts from the model that comes with hydindex, not from the last one,
and is pulled back to it; and it only counts if, cross-validated, it does better on the user's
decisions than the model in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.errors import ConfigError, TooFewDecisions
from hydindex.config.settings import Config
from hydindex.matching.calibrated.features import Features
from hydindex.matching.calibrated.fitting import drawn_parts, judged_by_others, refit_model
from hydindex.matching.calibrated.model import CalibratedModel, load_model
from hydindex.matching.calibrated.probability import probabilities, terms
from hydindex.records.pairs import DecidedPair
from hydindex.store.store import Store

MODEL_NAME: Final = "calibrated_model.json"
"""Where a refitted model is written, beside the config, if the config names no other place."""
FEWEST_DECIDED: Final = 100
FEWEST_OF_A_KIND: Final = 10
"""So many must have been right, and so many wrong."""
_DRAWS: Final = 5
"""So often the files are divided anew to cross-validate: one draw of parts may flatter."""
_LEAST_GAIN_F1: Final = 0.005


@dataclass(frozen=True, slots=True)
class Quality:
    """How a model does on decided pairs: the rest, it never proposed, so recall is of those."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)

    @classmethod
    def of(cls, matches: NDArray[np.bool_], is_right: NDArray[np.bool_]) -> "Quality":
        """Compare what a model says with what the user says."""
        both = int((matches & is_right).sum())
        return cls(both / max(1, int(matches.sum())), both / max(1, int(is_right.sum())))


@dataclass(frozen=True, slots=True)
class Calibration:
    """A model fitted to the user's decisions, and how it does beside the one in use."""

    right: int
    wrong: int
    before: Quality
    after: Quality
    model: CalibratedModel

    @property
    def helps(self) -> bool:
        """Whether the user would be better off with it, by more than chance brings about."""
        return self.after.f1 > self.before.f1 + _LEAST_GAIN_F1


def calibrate(index: Store, config: Config) -> Calibration:
    """Fit a model to what the user has decided so far. Nothing is written.

    Raises:
        ConfigError: the config does not use the calibrated decision.
        TooFewDecisions: there is too little to learn from.
    """
    if config.decision.method != "calibrated":
        raise ConfigError(
            "There is nothing to calibrate: decision.method is not calibrated",
            'Set decision.method to "calibrated", and run hydindex rebuild.',
        )
    decided = index.decisions.decided()
    is_right = np.array([each.outcome.is_right for each in decided], np.bool_)
    right, wrong = int(is_right.sum()), int((~is_right).sum())
    if len(decided) < FEWEST_DECIDED or min(right, wrong) < FEWEST_OF_A_KIND:
        raise TooFewDecisions(
            f"Too few decisions to learn from: you found {right:,} posted pairs right and "
            f"{wrong:,} wrong",
            f"It takes {FEWEST_DECIDED} in all, {FEWEST_OF_A_KIND} of either kind at least. "
            "The nightly update notes what you decide in Hydrus.",
        )
    return fit_to(decided, model_in_use(config), config.decision.min_probability)


def fit_to(
    decided: Sequence[DecidedPair], in_use: CalibratedModel, min_probability: float
) -> Calibration:
    """Fit a model to decided pairs, and compare it with the one in use."""
    is_right = np.array([each.outcome.is_right for each in decided], np.bool_)
    evidence = Features.of_pairs([each.evidence for each in decided])
    values = terms(evidence)
    shipped = load_model()

    def quality(likely: NDArray[np.float64]) -> Quality:
        return Quality.of(likely >= min_probability, is_right)

    def judged_by(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not which.any():  # every pair has a file of the parts that are left out
            return probabilities(evidence, shipped)
        some = {name: column[which] for name, column in values.items()}
        return probabilities(evidence, refit_model(shipped, some, is_right[which]))

    before = quality(probabilities(evidence, in_use))
    drawn = [quality(judged_by_others(*_parts(decided, seed), judged_by)) for seed in range(_DRAWS)]
    after = Quality(
        float(np.mean([each.precision for each in drawn])),
        float(np.mean([each.recall for each in drawn])),
    )
    model = refit_model(
        shipped,
        values,
        is_right,
        cross_validated={"precision": round(after.precision, 4), "recall": round(after.recall, 4)},
    )
    return Calibration(int(is_right.sum()), int((~is_right).sum()), before, after, model)


def model_in_use(config: Config) -> CalibratedModel:
    """Give the model that the config names; while there is none yet, the one of hydindex."""
    path = config.decision.model
    return load_model(path if path is not None and path.exists() else None)


def model_path(config: Config, config_path: Path) -> Path:
    """Tell where a refitted model belongs."""
    return config.decision.model or config_path.with_name(MODEL_NAME)


def _parts(decided: Sequence[DecidedPair], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide the files, and give the parts of the files of each pair; copies stay together."""
    from scipy.cluster.hierarchy import DisjointSet  # slow to import, and seldom needed

    groups = DisjointSet({sha256 for item in decided for sha256 in item.sha256s})
    for item in decided:
        if item.outcome.is_right:
            groups.merge(*item.sha256s)
    subsets = sorted(map(sorted, groups.subsets()))
    part_of = {
        sha256: part
        for files, part in zip(subsets, drawn_parts(len(subsets), seed), strict=True)
        for sha256 in files
    }
    parts = np.array([[part_of[sha256] for sha256 in item.sha256s] for item in decided], np.intp)
    return parts[:, 0], parts[:, 1]
