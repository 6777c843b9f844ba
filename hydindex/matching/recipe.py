"""The recipe: the part of the config that the index depends on, and what a change of it redoes.

Keys outside the recipe (`tags`, `post`, `timeouts`, …) may change at any time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydindex.common.errors import ConfigChanged
from hydindex.config.settings import Config
from hydindex.matching.method import METHODS, method_for
from hydindex.store.store import Store

Recipe = Mapping[str, Any]
"""Dotted config key -> its JSON value."""

_CANDIDATE_KEYS = (
    "filters.use_ar_filter",
    "candidate_generation.tolSeconds",
    "candidate_generation.tolPercent",
    "candidate_generation.arTol",
)
_PREPARATION_KEYS = ("decision.method",)


@dataclass(frozen=True, slots=True)
class RecipeChange:
    """A key whose value differs between the index and the config."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def recipe_of(config: Config) -> dict[str, Any]:
    """Return the part of a config that the index depends on, with fingerprints of models.

    Raises:
        ConfigError: `decision.model` or `compare.sscd_model` can't be read.
    """
    method = method_for(config)
    keys = (
        *_PREPARATION_KEYS,
        *_CANDIDATE_KEYS,
        *method.preparation_keys,
        *method.comparison_keys,
    )
    values = config.model_dump(mode="json", by_alias=True)
    return {**{key: _nested_value(values, key) for key in keys}, **method.fingerprints()}


def _nested_value(values: Mapping[str, Any], key: str) -> Any:
    section, _, rest = key.partition(".")
    return _nested_value(values[section], rest) if rest else values[section]


def recipe_changes(store: Store, config: Config) -> list[RecipeChange]:
    """Return the keys in which the config differs from the recipe of the index."""
    stored = store.stored_recipe()
    return [] if stored is None else compare_recipes(stored, recipe_of(config))


def compare_recipes(old: Recipe, new: Recipe) -> list[RecipeChange]:
    """Return the keys in which two recipes differ, sorted.

    A key that only one recipe has belongs to another method; `decision.method` shows that change.
    """
    return [
        RecipeChange(key, old[key], new[key])
        for key in sorted(old.keys() & new.keys())
        if old[key] != new[key]
    ]


def adopt_recipe(store: Store, config: Config) -> None:
    """Give an empty index the recipe of the config.

    Raises:
        ConfigChanged: the index has another recipe.
    """
    store.set_initial_recipe(recipe_of(config))
    require_same_recipe(store, config)


def require_same_recipe(store: Store, config: Config) -> None:
    """Check that the index, unless it is empty, has the recipe of the config.

    Raises:
        ConfigChanged: it has another one.
    """
    changes = recipe_changes(store, config)
    if changes and store.holds_files():
        redone = "prepares every stored thumbnail again and " if needs_preparation(changes) else ""
        raise ConfigChanged(
            "The config has changed since the index was built:\n"
            + "\n".join(f"  {change}" for change in changes),
            f"Run hydindex rebuild: it {redone}compares all files again, and fetches nothing. "
            "Or undo the change. Nothing was done.",
        )


def needs_preparation(changes: Sequence[RecipeChange]) -> bool:
    """Return whether thumbnails must be prepared again; if not, comparing again is enough."""
    keys = set(_PREPARATION_KEYS).union(*(method.preparation_keys for method in METHODS.values()))
    return any(change.key in keys for change in changes)
