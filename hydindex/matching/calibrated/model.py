"""The model of the method `calibrated`: a logistic regression on the features of a pair."""

import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hydindex.common.errors import ConfigError
from hydindex.matching.calibrated.features import FEATURES_VERSION, MODEL_FEATURES, Features
from hydindex.matching.calibrated.windows import Floats

SHIPPED: Final = "calibrated_model.json"
"""The shipped model, beside this module; `benchmarks/calibrate.py` makes it."""
INTERCEPT: Final = "intercept"

# In log odds; far more than the error of float arithmetic.
_ROUNDING: Final = 1e-6


class OutdatedModel(ConfigError):
    """The model was fitted to features of another version."""


class CalibratedModel(BaseModel):
    """A fitted model.

    `min_structure`: pairs whose coarsest structure agrees less are no match. `weights`: what each
    feature's term adds to the log odds, and the intercept. `fitted`: what it was fitted to.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    features_version: int
    min_structure: Annotated[float, Field(ge=-1.0, le=1.0)]
    weights: dict[str, Annotated[float, Field(allow_inf_nan=False)]]
    fitted: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Identify models by what they decide: 12 hex digits."""
        content = json.dumps(self.model_dump(exclude={"fitted"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """Return the model as its file holds it."""
        return json.dumps(self.model_dump(), indent=2) + "\n"


@lru_cache
def load_model(path: Path | None = None) -> CalibratedModel:
    """Load a model; None is the shipped one.

    Raises:
        ConfigError: the file can't be read or holds no model.
        OutdatedModel: the model was fitted to features of another version.
    """
    source = files("hydindex.matching.calibrated") / SHIPPED if path is None else path
    try:
        model = CalibratedModel.model_validate_json(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"]))
        raise _unusable(path, f"{location}: {first['msg']}".removeprefix(": ")) from None
    if model.features_version != FEATURES_VERSION:
        raise _unusable(
            path,
            f"the model was fitted to features of version {model.features_version}; this hydindex "
            f"computes version {FEATURES_VERSION}",
            OutdatedModel,
        )
    expected = (INTERCEPT, *MODEL_FEATURES)
    if model.weights.keys() != set(expected):
        raise _unusable(path, f"weights must be exactly: {', '.join(expected)}")
    return model


def _unusable(
    path: Path | None, problem: str, kind: type[ConfigError] = ConfigError
) -> ConfigError:
    if path is None:
        return kind(f"The shipped model is not usable: {problem}", "Install hydindex again.")
    return kind(
        f"decision.model names no usable model: {path}: {problem}",
        "Fit one with hydindex calibrate --write, or remove decision.model to use the shipped one.",
    )


def probabilities(features: Features, model: CalibratedModel) -> Floats:
    """Return the probability that pairs match, 0 to 1: (pairs,)."""
    return probability(log_odds(features, model))


def log_odds(features: Features, model: CalibratedModel) -> Floats:
    """Return the logarithm of the odds that pairs match, (pairs,)."""
    result = np.full(len(features), model.weights[INTERCEPT])
    for name, values in features.terms().items():
        result += model.weights[name] * values
    return result


def probability(odds: Floats) -> Floats:
    """Convert log odds to probabilities."""
    return 1.0 / (1.0 + np.exp(-np.clip(odds, -500.0, 500.0)))


def may_reach(known: Features, model: CalibratedModel, min_probability: float) -> NDArray[np.bool_]:
    """Return which pairs may reach a probability once all features are known, (pairs,).

    Unknown terms take the bound that favours the pair, so that no match is lost.
    """
    highest = np.full(len(known), model.weights[INTERCEPT] + _ROUNDING)
    for name, (low, high) in known.term_bounds().items():
        weight = model.weights[name]
        highest += np.maximum(weight * low, weight * high)
    return probability(highest) >= min_probability
