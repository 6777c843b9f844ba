"""What the data in an index was made with, and what must be redone when that changes.

A recipe is the flat part of the config that results depend on. Keys outside of it (`tags`, `post`,
`timeouts`, ...) may change at any time without a rebuild.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydindex.config import Config

Recipe = Mapping[str, Any]
"""Dotted key of the config -> its value, as JSON knows it."""

PREPARATION_KEYS = (
    "ahash.resize",
    "preprocessing.fixedResize",
    "preprocessing.toGray",
    "preprocessing.preBlurSigma",
    "preprocessing.histEq",
    "preprocessing.trimStrength",
    "preprocessing.minKeepFrac",
    "preprocessing.centerFrac",
)
COMPARISON_KEYS = (
    "filters.use_ar_filter",
    "filters.use_ahash_prefilter",
    "candidate_generation.tolSeconds",
    "candidate_generation.arTol",
    "ahash.hammingMax",
    "preprocessing.useMSSSIM",
    "similarity_threshold",
)


@dataclass(frozen=True, slots=True)
class RecipeChange:
    """A key whose value differs between the index and the config."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def recipe_of(config: Config) -> dict[str, Any]:
    """The part of a config that results depend on."""
    values = config.model_dump(mode="json", by_alias=True)

    def value(key: str) -> Any:
        found: Any = values
        for part in key.split("."):
            found = found[part]
        return found

    return {key: value(key) for key in PREPARATION_KEYS + COMPARISON_KEYS}


def changes(old: Recipe, new: Recipe) -> list[RecipeChange]:
    """The keys in which two recipes differ, in a stable order."""
    return [
        RecipeChange(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def needs_preparation(found: list[RecipeChange]) -> bool:
    """Whether thumbnails must be prepared again; if not, comparing again is enough."""
    return any(change.key not in COMPARISON_KEYS for change in found)


def redo_text(found: list[RecipeChange]) -> str:
    """Say what a rebuild has to do after these changes."""
    if needs_preparation(found):
        return "prepares every stored thumbnail again and compares all files again"
    return "compares all files again"
