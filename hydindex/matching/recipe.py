"""What the data in an index was made with, and what must be redone when that changes.

A recipe is the flat part of the config that results depend on. Keys outside of it (`tags`, `post`,
`timeouts`, ...) may change at any time without a rebuild.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydindex.config.settings import Config
from hydindex.matching.calibrated.model import load_model

Recipe = Mapping[str, Any]
"""Dotted key of the config -> its value, as JSON knows it."""

_PREPARATION_KEYS = ("decision.method", "ahash.resize")
_PICTURE_KEYS = (
    "preprocessing.fixedResize",
    "preprocessing.toGray",
    "preprocessing.preBlurSigma",
    "preprocessing.histEq",
    "preprocessing.trimStrength",
    "preprocessing.minKeepFrac",
    "preprocessing.centerFrac",
)
_CANDIDATE_KEYS = (
    "filters.use_ar_filter",
    "filters.use_ahash_prefilter",
    "candidate_generation.tolSeconds",
    "candidate_generation.arTol",
    "ahash.hammingMax",
)
_THRESHOLD_KEYS = (*_PICTURE_KEYS, "preprocessing.useMSSSIM", "similarity_threshold")
_CALIBRATED_KEYS = ("decision.min_probability", "frames.enabled")
_MODEL_KEY = "decision.model"


@dataclass(frozen=True, slots=True)
class RecipeChange:
    """A key whose value differs between the index and the config."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def recipe_of(config: Config) -> dict[str, Any]:
    """The part of a config that results depend on; of the two ways to decide, only one counts.

    Of a model its fingerprint is kept.

    Raises:
        ConfigError: `decision.model` names no model.
    """
    values = config.model_dump(mode="json", by_alias=True)

    def value(key: str) -> Any:
        found: Any = values
        for part in key.split("."):
            found = found[part]
        return found

    calibrated = config.decision.method == "calibrated"
    decisive = _CALIBRATED_KEYS if calibrated else _THRESHOLD_KEYS
    recipe = {key: value(key) for key in (*_PREPARATION_KEYS, *_CANDIDATE_KEYS, *decisive)}
    if calibrated:
        recipe[_MODEL_KEY] = load_model(config.decision.model).fingerprint
    return recipe


def completed(recipe: Recipe) -> dict[str, Any]:
    """Add what the recipes of older schemas leave unsaid, as their migrations do."""
    full = {"decision.method": "threshold", **recipe}
    if full["decision.method"] == "calibrated":
        full.setdefault("frames.enabled", False)
    return full


def changes(old: Recipe, new: Recipe) -> list[RecipeChange]:
    """The keys in which two recipes differ, in a stable order.

    Keys that only one of them has belong to another way to decide, which is a change by itself.
    """
    return [
        RecipeChange(key, old[key], new[key])
        for key in sorted(old.keys() & new.keys())
        if old[key] != new[key]
    ]


def needs_preparation(found: list[RecipeChange]) -> bool:
    """Whether thumbnails must be prepared again; if not, comparing again is enough."""
    return any(change.key in (*_PREPARATION_KEYS, *_PICTURE_KEYS) for change in found)


def redo_text(found: list[RecipeChange]) -> str:
    """Say what a rebuild has to do after these changes."""
    if needs_preparation(found):
        return "prepares every stored thumbnail again and compares all files again"
    return "compares all files again"
