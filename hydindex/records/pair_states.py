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

    SEND = "about to be sent"
    CONFIRM = "in Hydrus, as reading back shows"
    RETURN_TO_QUEUE = "not in Hydrus: it never arrived"
    MARK_REFUSED = "rejected by Hydrus, or accepted but not kept"
    MARK_KNOWN = "its files were related in Hydrus before it was sent"


@dataclass(frozen=True, slots=True)
class Transition:
    """From which states an event leads to which."""

    sources: tuple[PairState, ...]
    target: PairState


TRANSITIONS: Final[Mapping[Event, Transition]] = {
    Event.SEND: Transition((PairState.QUEUED, PairState.REFUSED), PairState.SENDING),
    Event.CONFIRM: Transition((PairState.SENDING,), PairState.POSTED),
    Event.RETURN_TO_QUEUE: Transition((PairState.SENDING,), PairState.QUEUED),
    Event.MARK_REFUSED: Transition((PairState.SENDING,), PairState.REFUSED),
    Event.MARK_KNOWN: Transition((PairState.QUEUED, PairState.REFUSED), PairState.KNOWN),
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
        """True unless the user marked it a false positive."""
        return self is not Decision.FALSE_POSITIVE
