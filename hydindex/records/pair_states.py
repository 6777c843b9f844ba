"""The life of a pair, from the first match to the user's decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class PairState(StrEnum):
    """How far a matching pair has come on its way to Hydrus."""

    QUEUED = "queued"
    SENDING = "sending"
    POSTED = "posted"
    KNOWN = "known"
    REFUSED = "refused"


class Event(Enum):
    """What can happen to a pair that is in the index."""

    SEND = "it is about to be sent"
    CONFIRM = "Hydrus, read back, has it"
    LOSE = "Hydrus, read back, does not have it: it never arrived"
    REFUSE = "Hydrus rejected it, or answered but did not keep it"
    FIND_KNOWN = "Hydrus relates its files already, before it was sent"


@dataclass(frozen=True, slots=True)
class Transition:
    """From which states an event leads to which."""

    sources: tuple[PairState, ...]
    target: PairState


TRANSITIONS: Final[Mapping[Event, Transition]] = {
    Event.SEND: Transition((PairState.QUEUED, PairState.REFUSED), PairState.SENDING),
    Event.CONFIRM: Transition((PairState.SENDING,), PairState.POSTED),
    Event.LOSE: Transition((PairState.SENDING,), PairState.QUEUED),
    Event.REFUSE: Transition((PairState.SENDING,), PairState.REFUSED),
    Event.FIND_KNOWN: Transition((PairState.QUEUED, PairState.REFUSED), PairState.KNOWN),
}
"""The state machine. A new match is *queued*. No event leaves *posted* or *known*: these pairs are
never sent again."""

SENDABLE: Final = TRANSITIONS[Event.SEND].sources
"""Pairs that Hydrus doesn't have. They leave the index if they no longer match."""
KEPT: Final = (PairState.SENDING, PairState.KNOWN, PairState.POSTED)
"""Pairs that Hydrus has or may have, the most advanced state last. The index never loses them."""


class Decision(StrEnum):
    """What the user decided about a pair in Hydrus."""

    DUPLICATE = "duplicate"
    ALTERNATE = "alternate"
    FALSE_POSITIVE = "false_positive"

    @property
    def is_right(self) -> bool:
        """Whether the pair was worth posting: both files show the same, if not identical, thing."""
        return self is not Decision.FALSE_POSITIVE
