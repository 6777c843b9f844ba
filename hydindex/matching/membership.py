"""Which files have been compared before, by their membership intervals in the compared set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MembershipIntervals = Mapping[int, Sequence[tuple[int, int]]]
"""File id -> its earlier intervals, each from a first step to before an end step."""


def compared_before(
    file_id: int,
    others: NDArray[np.int64],
    others_since: NDArray[np.int64],
    earlier: MembershipIntervals,
) -> NDArray[np.bool_]:
    """Return which of `others` a joining file has been compared with: bool (others,).

    These are the files with an interval that overlaps one of the joining file. The current interval
    of each other began at `others_since` (NOT_COMPARED if it joins only now) and is open.
    """
    own = earlier.get(file_id, ())
    if not own:
        return np.zeros(len(others), np.bool_)
    compared = others_since < max(end for _, end in own)
    for position, other in enumerate(others.tolist()):
        compared[position] |= any(
            first < own_end and own_first < end
            for first, end in earlier.get(other, ())
            for own_first, own_end in own
        )
    return compared
