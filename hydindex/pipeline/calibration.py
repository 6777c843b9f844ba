"""Fit the model to the user's own decisions.

It can't drift: every fit is regularized towards the shipped model. A fitted model
counts only if, cross-validated, it does better on the user's decisions than the model in use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import harmonic_mean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.errors import ConfigError, TooFewDecisions
from hydindex.config.settings import Config
from hydindex.matching.calibrated.features import FEATURES_VERSION, Features
from hydindex.matching.calibrated.fitting import cross_validate, random_folds, refit_model
from hydindex.matching.calibrated.model import (
    CalibratedModel,
    OutdatedModel,
    load_model,
    probabilities,
)
from hydindex.matching.method import method_for
from hydindex.records.pairs import VERSION_KEY, DecidedPair
from hydindex.store.store import Store

MODEL_NAME: Final = "calibrated_model.json"
"""The file beside the config where a model is written if `decision.model` names none."""
MIN_DECIDED: Final = 100
MIN_PER_KIND: Final = 10
"""How many decided pairs must be right, and how many wrong."""
_REPEATS: Final = 5
"""Cross-validation is repeated with other folds: a single division may flatter."""
_MIN_GAIN_F1: Final = 0.005


@dataclass(frozen=True, slots=True)
class Quality:
    """How a model does on decided pairs. Recall counts only pairs that were ever posted."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return harmonic_mean([self.precision, self.recall])

    @classmethod
    def of(cls, matches: NDArray[np.bool_], is_right: NDArray[np.bool_]) -> "Quality":
        """Compare a model's matches with the user's decisions."""
        both = int((matches & is_right).sum())
        return cls(both / max(1, int(matches.sum())), both / max(1, int(is_right.sum())))


@dataclass(frozen=True, slots=True)
class Calibration:
    """A model fitted to the user's decisions, compared with the model in use.

    `other_version` counts decided pairs that were left out because their stored features have
    another version.
    """

    right: int
    wrong: int
    before: Quality
    after: Quality
    model: CalibratedModel
    other_version: int = 0

    @property
    def helps(self) -> bool:
        """Whether the fitted model is better by more than 0.005 in F1."""
        return self.after.f1 > self.before.f1 + _MIN_GAIN_F1


def fit_to_decisions(store: Store, config: Config) -> Calibration:
    """Fit a model to all decisions so far. Nothing is written.

    Raises:
        ConfigError: the config doesn't use the method `calibrated`.
        TooFewDecisions: there are too few decisions with features of this version.
    """
    if not method_for(config).has_probabilities:
        raise ConfigError(
            'decision.method is not "calibrated": there is no model to fit',
            'Set decision.method to "calibrated" and run hydindex rebuild.',
        )
    all_decided = store.decisions.decided()
    decided = [each for each in all_decided if each.features.get(VERSION_KEY) == FEATURES_VERSION]
    other_version = len(all_decided) - len(decided)
    right = sum(each.decision.is_right for each in decided)
    wrong = len(decided) - right
    if len(decided) < MIN_DECIDED or min(right, wrong) < MIN_PER_KIND:
        others = ""
        if other_version:
            others = (
                f"; {other_version:,} more have features of another version "
                "(hydindex rebuild computes them again)"
            )
        raise TooFewDecisions(
            f"There are too few decisions to fit a model: {right:,} posted pairs were right, "
            f"{wrong:,} wrong{others}",
            f"At least {MIN_DECIDED} decisions are needed, {MIN_PER_KIND} of each kind. "
            "The nightly update records what you decide in Hydrus.",
        )
    calibration = fit_to_pairs(decided, _model_in_use(config), config.decision.min_probability)
    return replace(calibration, other_version=other_version)


def fit_to_pairs(
    decided: Sequence[DecidedPair],
    model_in_use: CalibratedModel,
    min_probability: float,
) -> Calibration:
    """Fit a model to decided pairs, and compare it with the one in use."""
    is_right = np.array([each.decision.is_right for each in decided], np.bool_)
    features = Features.load([each.features for each in decided])
    terms = features.terms()
    shipped = load_model()

    def quality(probability: NDArray[np.float64]) -> Quality:
        return Quality.of(probability >= min_probability, is_right)

    def predict(training: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not training.any():  # every pair has a file of the tested folds
            return probabilities(features, shipped)
        some = {name: column[training] for name, column in terms.items()}
        return probabilities(features, refit_model(shipped, some, is_right[training]))

    before = quality(probabilities(features, model_in_use))
    repeats = [quality(cross_validate(*_folds(decided, seed), predict)) for seed in range(_REPEATS)]
    after = Quality(
        float(np.mean([each.precision for each in repeats])),
        float(np.mean([each.recall for each in repeats])),
    )
    model = refit_model(
        shipped,
        terms,
        is_right,
        cross_validated={"precision": round(after.precision, 4), "recall": round(after.recall, 4)},
    )
    return Calibration(int(is_right.sum()), int((~is_right).sum()), before, after, model)


def _model_in_use(config: Config) -> CalibratedModel:
    """Return the model that the config names; if it is missing or outdated, the shipped one."""
    path = config.decision.model
    try:
        return load_model(path if path is not None and path.exists() else None)
    except OutdatedModel:
        return load_model()


def model_path(config: Config, config_path: Path) -> Path:
    """Return where a fitted model is written."""
    return config.decision.model or config_path.with_name(MODEL_NAME)


def _folds(decided: Sequence[DecidedPair], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide the files into folds, copies together; return the folds of each pair's files."""
    from scipy.cluster.hierarchy import DisjointSet  # slow to import

    groups = DisjointSet({sha256 for each in decided for sha256 in each.sha256s})
    for each in decided:
        if each.decision.is_right:
            groups.merge(*each.sha256s)
    subsets = sorted(map(sorted, groups.subsets()))
    fold_of = {
        sha256: fold
        for files, fold in zip(subsets, random_folds(len(subsets), seed), strict=True)
        for sha256 in files
    }
    folds = np.array([[fold_of[sha256] for sha256 in each.sha256s] for each in decided], np.intp)
    return folds[:, 0], folds[:, 1]
