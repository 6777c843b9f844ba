"""Convert pairs of ids to pairs of positions."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def files_of_pairs(
    first: Numbers, second: Numbers
) -> tuple[Numbers, NDArray[np.intp], NDArray[np.intp]]:
    """Return the sorted files of pairs, each once, and each pair by positions in them."""
    files, positions = np.unique(np.concatenate((first, second)), return_inverse=True)
    return files, positions[: len(first)], positions[len(first) :]
