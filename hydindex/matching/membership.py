"""Tells which files have met before, from the times that they spent in the compared set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Stays = Mapping[int, Sequence[tuple[int, int]]]
"""File id -> its earlier stays: the step at which it joined the compared set, and the step by
which it had left it."""


def met_before(
    file_id: int,
    others: NDArray[np.int64],
    others_since: NDArray[np.int64],
    stays: Stays,
) -> NDArray[np.bool_]:
    """Tell for each of `others` whether it was in the compared set together with a joining file.

    Two files have met if any stays of theirs overlap. The present stay of the others began at
    `others_since` (NOT_COMPARED for those that join just now) and has no end yet.
    """
    own_stays = stays.get(file_id, ())
    if not own_stays:
        return np.zeros(len(others), np.bool_)
    met = others_since < max(end for _, end in own_stays)
    for position, other in enumerate(others.tolist()):
        met[position] |= any(
            first < own_end and own_first < end
            for first, end in stays.get(other, ())
            for own_first, own_end in own_stays
        )
    return met
