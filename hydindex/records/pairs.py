"""Pairs of files."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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
            ValueError: the two are the same file.
        """
        return cls(min(a, b), max(a, b))

    @property
    def ids(self) -> tuple[int, int]:
        """Both of them, in order."""
        return self.low, self.high


BY_FRAMES: Final = "frames"
"""The name of a second look's probability among the evidence for a pair."""


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """A pair that matches, and how surely.

    By the threshold rule `score` is its similarity, 1.0 for identical pictures. By the calibrated
    decision it is a probability, and `evidence` what that rests on, by name. Whether a doubtful one
    matches, a second look decides.
    """

    pair: FilePair
    score: float
    evidence: Mapping[str, float] | None = None
    is_doubtful: bool = False


class PairState(StrEnum):
    """Where a matching pair stands on its way to Hydrus.

    queued -> known, or queued -> sending -> posted | refused. The next run treats a refused pair
    like a queued one, and queues a sending one again if Hydrus does not have it. Posted and known
    are final: such a pair is never sent again.
    """

    QUEUED = "queued"
    SENDING = "sending"
    POSTED = "posted"
    KNOWN = "known"
    REFUSED = "refused"


class Decision(StrEnum):
    """What the user has decided about a pair."""

    DUPLICATE = "duplicate"
    ALTERNATE = "alternate"
    FALSE_POSITIVE = "false_positive"

    @property
    def is_right(self) -> bool:
        """Whether it was worth the user's while: both files show the same, if not all alike."""
        return self is not Decision.FALSE_POSITIVE


KEPT_STATES: Final = (PairState.SENDING, PairState.KNOWN, PairState.POSTED)
"""States in which Hydrus has, or may have, heard of a pair; the later ones say more."""


@dataclass(frozen=True, slots=True)
class OutboxPair:
    """A pair in the outbox, with the SHA-256 of both files by which Hydrus knows them."""

    pair: FilePair
    sha256_low: str
    sha256_high: str
    score: float


@dataclass(frozen=True, slots=True)
class DecidedPair:
    """A pair that the user has decided about, and the evidence that hydindex had for it.

    Its files go by their SHA-256, in order: what is learnt must not depend on how files are
    numbered, which is as they came.
    """

    sha256s: tuple[str, str]
    evidence: Mapping[str, float]
    outcome: Decision


@dataclass(frozen=True, slots=True)
class PostedPair:
    """A pair that Hydrus was told of, or may have been, in words that any index understands.

    `state` is posted, known or sending; `state_at` is when it came to that, as in `clock.now`.
    """

    sha256_a: str
    sha256_b: str
    state: PairState
    score: float
    state_at: str
