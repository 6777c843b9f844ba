"""Troubles that a test can put between a request and its reply."""

from collections.abc import Callable
from dataclasses import dataclass

from hydindex.standin.replies import Refusal, Reply


@dataclass(frozen=True, slots=True)
class Fault:
    """One trouble: whether the request is still carried out, and what is sent `instead`.

    Where `instead` is None the connection is dropped without a word.
    """

    carried_out: bool
    instead: Reply | Refusal | None


# Asked about every request: its method, its path, and the how-manieth it is of that method
# and path (from 1).
FaultHook = Callable[[str, str, int], Fault | None]

DROP_BEFORE_WORK = Fault(carried_out=False, instead=None)
DROP_AFTER_WORK = Fault(carried_out=True, instead=None)
GARBAGE = Fault(carried_out=True, instead=Reply(200, b"\x00not JSON, no picture", "text/plain"))

_KIND_AND_TEXT = {
    419: ("SessionException", "That session key has expired!"),
    500: ("ServerException", "Something went wrong in the client."),
    503: ("ServerBusyException", "This server is busy, please try again later."),
}


def refuse(status: int) -> Fault:
    """Answer with an error of this status, and do nothing else."""
    kind, text = _KIND_AND_TEXT.get(status, ("ServerException", f"A made-up error {status}."))
    return Fault(carried_out=False, instead=Refusal(status, kind, text))
