"""The model of the calibrated decision: which evidence weighs how much, read from a JSON file."""

import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hydindex.common.errors import ConfigError

SHIPPED: Final = "calibrated_model.json"
"""The model that comes with hydindex, beside this module; `benchmarks/calibrate.py` makes it."""

Weight = Annotated[float, Field(allow_inf_nan=False)]


class Weights(BaseModel):
    """What each term adds to the logarithm of the odds (see `hydindex.matching.calibrated.probability`)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    intercept: Weight
    structure_8px: Weight
    structure_16px: Weight
    structure_32px: Weight
    contours: Weight
    difference: Weight
    information: Weight
    coarse_information: Weight
    featureless_duration: Weight


class CalibratedModel(BaseModel):
    """A logistic regression, and where it comes from.

    `gate` is the agreement of the coarsest structure below which a pair is not looked at any
    further. `fitted` tells what the weights were fitted to.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    gate: Annotated[float, Field(ge=-1.0, le=1.0)]
    weights: Weights
    fitted: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Tell models apart by what they decide: 12 hex digits."""
        decisive = self.model_dump(include={"gate", "weights"})
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """Give the model as a file holds it."""
        return json.dumps(self.model_dump(), indent=2) + "\n"


@lru_cache
def load_model(path: Path | None = None) -> CalibratedModel:
    """Read a model; None is the one that comes with hydindex.

    Raises:
        ConfigError: the file cannot be read, or holds no model.
    """
    source = files("hydindex.matching.calibrated") / SHIPPED if path is None else path
    try:
        return CalibratedModel.model_validate_json(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = str(error)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    raise ConfigError(
        f"decision.model names no model: {path}: {problem}",
        "hydindex calibrate --write makes one; without decision.model the one that comes with "
        "hydindex is used.",
    )
