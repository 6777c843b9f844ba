"""The features of a pair: one table says how each is measured, shown and weighted by the model.

To add a feature, add a row to FEATURES (with a measuring method in `AlignedViews`), increase
FEATURES_VERSION, and fit the model again (`benchmarks/calibrate.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.calibrated.aligned_views import AlignedViews
from hydindex.matching.calibrated.alignment import align
from hydindex.matching.calibrated.windows import Floats, Positions
from hydindex.records.pairs import VERSION_KEY
from hydindex.records.pictures import SignatureBatch

FEATURES_VERSION: Final = 2
"""Stored features and fitted models of another version can't be combined with these."""

# At this information, in nats per pixel, a picture counts as half featureless: its windows then
# vary by about one grey level, as much as compression adds.
_HALF_FEATURELESS: Final = 0.5
# The variance of structure that is still faint at 32 px: compression changes it.
_FAINT: Final = 64.0
# By how much containers and frame rates change the duration of the same video.
_SAME_DURATION_MS: Final = 20.0
# Used for still images, which have no duration: only their pictures can show a match.
_NO_DURATION_MS: Final = 1000.0
# Details may differ this much more than the rest: compression blurs edges, and logos are details.
_DETAIL_TOLERANCE: Final = 16.0

# With equal medians, 8-bit pixels differ by at most 510 grey levels and hold at most 9.1 nats.
_MAX_DIFFERENCE: Final = 510.0
_MAX_INFORMATION: Final = 9.1
# Candidates differ by less than 100 days.
_MAX_DURATION_TERM: Final = 20.0

LAST_STAGE: Final = 2
"""Features are computed in the stages 0 to 2."""

Values = Mapping[str, Floats]
"""Feature -> its value for each pair, float64 (pairs,)."""
Bounds = tuple[Floats | float, Floats | float]
"""The lowest and the highest value."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a pair.

    `measure` computes it, float64 (pairs,). `label`, `unit` and `explanation` are for people.
    Features are computed in stages, the cheapest first, and those of a later `stage` only for pairs
    that may still match. `term` is what the model multiplies by a weight; a feature without one is
    only shown. `term_needs`: the features that the term is computed from, by default this one;
    until they are known, `term_bounds` limits it.
    """

    name: str
    measure: Callable[[AlignedViews], Floats]
    label: str
    explanation: str
    unit: str = ""
    stage: int = LAST_STAGE
    term: Callable[[Values], Floats] | None = None
    term_needs: tuple[str, ...] = ()
    term_bounds: Callable[[Values], Bounds] | None = None

    def bound_term(self, known: Values) -> Bounds:
        """Return the bounds of the term that the known features imply."""
        assert self.term is not None
        if known.keys() >= set(self.term_needs or (self.name,)):
            exact = self.term(known)
            return exact, exact
        assert self.term_bounds is not None, f"{self.name} needs bounds"
        return self.term_bounds(known)


def _closeness(agreement: Floats) -> Floats:
    """Stretch agreements near 1: 0.98 and 0.99 are as far apart as 0.2 and 0.6."""
    return -np.log(1.01 - np.clip(agreement, -1.0, 1.0))


def _log_information(information: Floats) -> Floats:
    return np.log(information + 0.1)


def _difference_term(values: Values) -> Floats:
    details = values["detail_difference"] / _DETAIL_TOLERANCE
    return np.log1p(np.fmax(values["difference"], details))


def _difference_bounds(known: Values) -> Bounds:
    # Details, measured later, can only raise it.
    return np.log1p(known["difference"]), np.log1p(_MAX_DIFFERENCE)


def _duration_term(values: Values) -> Floats:
    """Weight the duration difference by how featureless the pictures are.

    All candidates have similar durations. Only if the pictures show little, the duration counts.
    """
    featureless = 1.0 / (1.0 + values["information"] / _HALF_FEATURELESS)
    difference_ms = np.nan_to_num(values["duration_difference_ms"], nan=_NO_DURATION_MS)
    return featureless * np.log1p(difference_ms / _SAME_DURATION_MS)


def _closeness_bounds(_: Values) -> Bounds:
    lowest, highest = _closeness(np.array([-1.0, 1.0]))
    return lowest, highest


def _information_bounds(_: Values) -> Bounds:
    lowest, highest = _log_information(np.array([0.0, _MAX_INFORMATION]))
    return lowest, highest


FEATURES: Final = (
    Feature(
        "structure_8px",
        measure=lambda views: views.structure(8),
        label="structure at 8 px",
        explanation="whether light and dark areas agree, coarsely; 1 is perfect",
        stage=0,
        term=lambda values: _closeness(values["structure_8px"]),
    ),
    Feature(
        "structure_32px",
        measure=lambda views: views.structure(32, _FAINT),
        label="structure at 32 px",
        explanation="the same in detail, of what is more than faint",
        term=lambda values: _closeness(values["structure_32px"]),
        term_bounds=_closeness_bounds,
    ),
    Feature(
        "contours",
        measure=AlignedViews.contours,
        label="contours",
        explanation="whether edges agree; 1 is perfect",
        stage=0,
        term=lambda values: _closeness(values["contours"]),
    ),
    Feature(
        "difference",
        measure=AlignedViews.difference,
        label="difference",
        unit="grey levels",
        explanation="the largest difference of three quarters of the pixels",
        stage=0,
        term=_difference_term,
        term_needs=("difference", "detail_difference"),
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
        measure=lambda views: views.information(32),
        label="information",
        unit="nats/px",
        explanation="in the less detailed picture; below 0.5, it shows hardly anything",
        stage=1,
        term=lambda values: _log_information(values["information"]),
        term_bounds=_information_bounds,
    ),
    Feature(
        "coarse_information",
        measure=lambda views: views.information(8),
        label="information at 8 px",
        unit="nats/px",
        explanation="in the less detailed picture, coarsely",
        stage=0,
        term=lambda values: _log_information(values["coarse_information"]),
    ),
    Feature(
        "duration_difference_ms",
        measure=AlignedViews.duration_difference_ms,
        label="duration difference",
        unit="ms",
        explanation="weighted more when the pictures show little",
        stage=1,
        term=_duration_term,
        term_needs=("duration_difference_ms", "information"),
        term_bounds=lambda _: (0.0, _MAX_DURATION_TERM),
    ),
    Feature(
        "mirrored",
        measure=AlignedViews.is_mirrored,
        label="mirrored",
        explanation="1 if one picture is the mirror image of the other",
    ),
    Feature(
        "cropped",
        measure=AlignedViews.is_cropped,
        label="cropped",
        explanation="1 if one picture is the middle part of the other",
    ),
    Feature(
        "aspect_ratio_difference",
        measure=AlignedViews.aspect_ratio_difference,
        label="aspect ratio difference",
        explanation="as a share of the larger one",
    ),
    Feature(
        "content_aspect_ratio_difference",
        measure=AlignedViews.content_aspect_ratio_difference,
        label="aspect ratio without bars",
        explanation="as a share of the larger one",
    ),
)

MODEL_FEATURES: Final = tuple(feature.name for feature in FEATURES if feature.term)
"""The features that the model weights."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of some pairs: all of them, or those of the first stages."""

    values: Values

    @classmethod
    def measure(cls, views: AlignedViews, stages: Iterable[int] = range(LAST_STAGE + 1)) -> Self:
        """Measure the features of aligned pairs."""
        chosen = set(stages)
        return cls({each.name: each.measure(views) for each in FEATURES if each.stage in chosen})

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """Return the features of some of the pairs."""
        return type(self)({name: column[mask] for name, column in self.values.items()})

    def __or__(self, others: Self) -> Self:
        """Add features of the same pairs."""
        return type(self)({**self.values, **others.values})

    @classmethod
    def load(cls, pairs: Sequence[Mapping[str, float]]) -> Self:
        """Undo `of_pair` for pairs with features of this version; unknown features are NaN."""
        return cls(
            {
                feature.name: np.array(
                    [pair.get(feature.name, np.nan) for pair in pairs], np.float64
                )
                for feature in FEATURES
            }
        )

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]

    def of_pair(self, row: int) -> dict[str, float]:
        """Return one pair's features for storage: rounded, without NaN, with their version."""
        values = {name: float(column[row]) for name, column in self.values.items()}
        known = {name: round(value, 4) for name, value in values.items() if not np.isnan(value)}
        return {VERSION_KEY: FEATURES_VERSION, **known}

    def terms(self) -> dict[str, Floats]:
        """Return what the model weights, by feature."""
        return {each.name: each.term(self.values) for each in FEATURES if each.term}

    def term_bounds(self) -> dict[str, Bounds]:
        """Return the bounds of each term that the known features imply, by feature."""
        return {each.name: each.bound_term(self.values) for each in FEATURES if each.term}


def compute_features(
    signatures: SignatureBatch,
    first: Positions,
    second: Positions,
    *,
    min_structure: float,
) -> tuple[Positions, Features]:
    """Compute all features of pairs, given by the positions of their files.

    Returns which pairs have a coarsest structure that agrees at least `min_structure`, and their
    features.
    """
    views = align(signatures, first, second, min_structure=min_structure)
    return views.rows, Features.measure(views)
