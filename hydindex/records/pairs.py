"""Pairs of files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.records.pair_states import Decision, PairState

VERSION_KEY: Final = "version"
"""Among stored features: the version of the features."""
BY_THUMBNAILS: Final = "thumbnails"
"""Among stored features: the probability of the thumbnails, before frame verification."""
BY_FRAMES: Final = "frames"
"""Among stored features: the probability that frame verification computed."""


@dataclass(frozen=True, slots=True)
class FilePair:
    """An unordered pair of two different files, by their ids in the index."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"not a pair in order: {self.low}, {self.high}; use FilePair.of")

    @classmethod
    def of(cls, a: int, b: int) -> "FilePair":
        """Put two ids in order.

        Raises:
            ValueError: both are the same file.
        """
        return cls(min(a, b), max(a, b))

    @property
    def ids(self) -> tuple[int, int]:
        """Both ids, in order."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair that matches, or a doubtful one that waits for frame verification.

    `score`: by the method `threshold` the similarity, 1.0 for identical pictures; by `calibrated`
    a probability, computed from `features`.
    """

    pair: FilePair
    score: float
    features: Mapping[str, float] | None = None
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class OutboxPair:
    """A pair to be posted, with the SHA-256 of its files."""

    pair: FilePair
    sha256_low: str
    sha256_high: str
    score: float


@dataclass(frozen=True, slots=True)
class MatchingPartners:
    """Matching pairs as some files see them: parallel arrays, one row for a file and its partner.

    `file_ids`: int64, the file. `duration_difference_ms`: float64, by how much the partner is
    longer. `is_confirmed`: bool, whether frames confirmed the pair.
    """

    file_ids: NDArray[np.int64]
    duration_difference_ms: NDArray[np.float64]
    is_confirmed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class DecidedPair:
    """A pair that the user decided, with the features that it was posted for.

    `sha256s` are in order: a fit must not depend on how the index numbers files.
    """

    sha256s: tuple[str, str]
    features: Mapping[str, float]
    decision: Decision


@dataclass(frozen=True, slots=True)
class PostedPair:
    """A pair that Hydrus has or may have, in terms that any index understands.

    `state` is posted, known or sending; `state_at` is the time of that state, as in `clock.now`.
    """

    sha256_a: str
    sha256_b: str
    state: PairState
    score: float
    state_at: str
