"""The features of a pair: one table says how each is measured, shown and weighted by the model.

To add a feature, add a row to FEATURES (with a measuring method in `AlignedViews`), increase
FEATURES_VERSION, and fit the model again (`benchmarks/calibrate.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.alignment import (
    AlignedViews,
    Alignment,
    Floats,
    Positions,
    align,
)
from hydindex.records.pictures import SignatureBatch

FEATURES_VERSION: Final = 1
"""Stored features and fitted models of another version can't be combined with these."""
VERSION_KEY: Final = "version"

# At this information, in nats per pixel, a picture counts as half featureless: its windows then
# vary by about one grey level, as much as compression adds.
_HALF_FEATURELESS: Final = 0.5
# By how much containers and frame rates change the duration of the same video.
_SAME_DURATION_MS: Final = 20.0
# Used for still images, which have no duration: only their pictures can show a match.
_NO_DURATION_MS: Final = 1000.0
# Details may differ this much more than the rest: compression blurs edges, and logos are details.
_DETAIL_TOLERANCE: Final = 16.0

Bound = Floats | float
Values = Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a pair.

    `measure` computes it, float64 (pairs,). `label`, `unit` and `explanation` are for people.
    `cheap` features are computed for all candidates, the others only for pairs that may match.
    `term` is what the model multiplies by a weight; a feature without one is only shown.
    `term_bounds` limits the term while only cheap features are known; None: it is exact then.
    """

    name: str
    measure: Callable[[AlignedViews], Floats]
    label: str
    unit: str
    explanation: str
    cheap: bool = False
    term: Callable[[Values], Floats] | None = None
    term_bounds: Callable[[Values], tuple[Bound, Bound]] | None = None


def _closeness(agreement: Floats) -> Floats:
    """Stretch agreements near 1: 0.98 and 0.99 are as far apart as 0.2 and 0.6."""
    result: Floats = -np.log(1.01 - np.clip(agreement, -1.0, 1.0))
    return result


def _log_information(information: Floats) -> Floats:
    result: Floats = np.log(information + 0.1)
    return result


def _difference_term(values: Values) -> Floats:
    details = values["detail_difference"] / _DETAIL_TOLERANCE
    result: Floats = np.log1p(np.fmax(values["difference"], details))
    return result


def _difference_bounds(values: Values) -> tuple[Bound, Bound]:
    lowest = np.log1p(values["difference"])  # details can only raise it
    return lowest, np.maximum(lowest, _MAX_DETAIL_TERM)


def _duration_term(values: Values) -> Floats:
    """Weight the duration by how featureless the pictures are.

    Candidates have similar durations by definition; where there is something to see, that decides.
    """
    featureless = 1.0 / (1.0 + values["information"] / _HALF_FEATURELESS)
    apart_ms = np.nan_to_num(values["duration_difference_ms"], nan=_NO_DURATION_MS)
    result: Floats = featureless * np.log1p(apart_ms / _SAME_DURATION_MS)
    return result


# With equal medians, 8-bit pixels differ by at most 510 grey levels and hold at most 9.1 nats.
_MAX_DETAIL_TERM: Final = float(np.log1p(510.0 / _DETAIL_TOLERANCE))
_MAX_INFORMATION: Final = 9.1
# Candidates differ by less than 100 days.
_MAX_DURATION_TERM: Final = 20.0


def _closeness_bounds(_: Values) -> tuple[Bound, Bound]:
    return float(_closeness(np.array(-1.0))), float(_closeness(np.array(1.0)))


def _information_bounds(_: Values) -> tuple[Bound, Bound]:
    return (
        float(_log_information(np.array(0.0))),
        float(_log_information(np.array(_MAX_INFORMATION))),
    )


FEATURES: Final = (
    Feature(
        "structure_8px",
        measure=lambda views: views.alignment.structure_8px,
        label="structure at 8 px",
        unit="",
        explanation="whether light and dark areas agree, coarsely; 1 is perfect",
        cheap=True,
        term=lambda values: _closeness(values["structure_8px"]),
    ),
    Feature(
        "structure_16px",
        measure=lambda views: views.structure(16),
        label="structure at 16 px",
        unit="",
        explanation="the same at medium size",
        term=lambda values: _closeness(values["structure_16px"]),
        term_bounds=_closeness_bounds,
    ),
    Feature(
        "structure_32px",
        measure=lambda views: views.structure(32),
        label="structure at 32 px",
        unit="",
        explanation="the same in detail",
        term=lambda values: _closeness(values["structure_32px"]),
        term_bounds=_closeness_bounds,
    ),
    Feature(
        "contours",
        measure=AlignedViews.contours,
        label="contours",
        unit="",
        explanation="whether edges agree; 1 is perfect",
        cheap=True,
        term=lambda values: _closeness(values["contours"]),
    ),
    Feature(
        "difference",
        measure=AlignedViews.difference,
        label="difference",
        unit="grey levels",
        explanation="the largest difference of three quarters of the pixels",
        cheap=True,
        term=_difference_term,
        term_bounds=_difference_bounds,
    ),
    Feature(
        "detail_difference",
        measure=AlignedViews.detail_difference,
        label="difference of details",
        unit="grey levels",
        explanation="the same for edges and texture only",
    ),
    Feature(
        "information",
        measure=AlignedViews.information,
        label="information",
        unit="nats/px",
        explanation="how much the emptier picture shows; below 0.5, hardly anything",
        term=lambda values: _log_information(values["information"]),
        term_bounds=_information_bounds,
    ),
    Feature(
        "coarse_information",
        measure=lambda views: views.alignment.coarse_information,
        label="information at 8 px",
        unit="nats/px",
        explanation="how much the emptier picture shows, coarsely",
        cheap=True,
        term=lambda values: _log_information(values["coarse_information"]),
    ),
    Feature(
        "duration_difference_ms",
        measure=AlignedViews.duration_difference_ms,
        label="duration difference",
        unit="ms",
        explanation="counts where there is little to see",
        term=_duration_term,
        term_bounds=lambda _: (0.0, _MAX_DURATION_TERM),
    ),
    Feature(
        "hamming_distance",
        measure=AlignedViews.hamming_distance,
        label="hash difference",
        unit="bits",
        explanation="of 64",
    ),
    Feature(
        "aspect_ratio_difference",
        measure=AlignedViews.aspect_ratio_difference,
        label="aspect ratio difference",
        unit="",
        explanation="as a share of the larger one",
    ),
    Feature(
        "content_aspect_ratio_difference",
        measure=AlignedViews.content_aspect_ratio_difference,
        label="aspect ratio without bars",
        unit="",
        explanation="as a share of the larger one",
    ),
)

MODEL_FEATURES: Final = tuple(feature.name for feature in FEATURES if feature.term)
"""The features that the model weights."""


@dataclass(frozen=True, slots=True)
class Features:
    """All features of some pairs: name -> float64 (pairs,)."""

    values: Values

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]

    @classmethod
    def load(cls, pairs: Sequence[Mapping[str, float]]) -> "Features":
        """Undo `of_pair` for many pairs; unknown values become NaN."""
        return cls(
            {
                feature.name: np.array(
                    [each.get(feature.name, np.nan) for each in pairs], np.float64
                )
                for feature in FEATURES
            }
        )

    def of_pair(self, row: int) -> dict[str, float]:
        """Return one pair's features for storage: rounded, without NaN, with their version."""
        values = {name: float(column[row]) for name, column in self.values.items()}
        known = {name: round(value, 4) for name, value in values.items() if not np.isnan(value)}
        return {VERSION_KEY: FEATURES_VERSION, **known}

    def terms(self) -> dict[str, Floats]:
        """Return what the model weights, by feature."""
        return {
            feature.name: feature.term(self.values)
            for feature in FEATURES
            if feature.term is not None
        }


@dataclass(frozen=True, slots=True)
class CheapFeatures:
    """The cheap features of pairs whose coarsest structure agrees well enough."""

    alignment: Alignment
    values: Values

    def __len__(self) -> int:
        return len(self.alignment)

    def __getitem__(self, mask: NDArray[np.bool_]) -> "CheapFeatures":
        values = {name: column[mask] for name, column in self.values.items()}
        return CheapFeatures(self.alignment.select(mask), values)

    @property
    def rows(self) -> Positions:
        """Which of the given pairs these are."""
        return self.alignment.rows

    def term_bounds(self) -> dict[str, tuple[Bound, Bound]]:
        """Return the lowest and highest value of each term, by feature."""
        bounds: dict[str, tuple[Bound, Bound]] = {}
        for feature in FEATURES:
            if feature.term_bounds is not None:
                bounds[feature.name] = feature.term_bounds(self.values)
            elif feature.term is not None:
                value = feature.term(self.values)
                bounds[feature.name] = value, value
        return bounds


def compute_features(
    signatures: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    min_structure: float,
) -> tuple[Positions, Features]:
    """Compute all features of pairs, given by the positions of their files.

    Returns which pairs have a coarsest structure that agrees at least `min_structure`, and their
    features.
    """
    cheap = cheap_features(
        signatures,
        first,
        second,
        aspect_ratio_tolerance=aspect_ratio_tolerance,
        min_structure=min_structure,
    )
    return cheap.rows, remaining_features(cheap)


def cheap_features(
    signatures: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    aspect_ratio_tolerance: float | None,
    min_structure: float,
) -> CheapFeatures:
    """Align pairs and compute their cheap features; see `compute_features`."""
    alignment = align(
        signatures,
        first,
        second,
        aspect_ratio_tolerance=aspect_ratio_tolerance,
        min_structure=min_structure,
    )
    views = AlignedViews(alignment)
    values = {feature.name: feature.measure(views) for feature in FEATURES if feature.cheap}
    return CheapFeatures(alignment, values)


def remaining_features(cheap: CheapFeatures) -> Features:
    """Compute the other features of pairs."""
    views = AlignedViews(cheap.alignment)
    return Features(
        {
            feature.name: cheap.values[feature.name] if feature.cheap else feature.measure(views)
            for feature in FEATURES
        }
    )
