"""Pairs by the positions of their files, instead of by numbers of any kind."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def files_of_pairs(
    first: Numbers, second: Numbers
) -> tuple[Numbers, NDArray[np.intp], NDArray[np.intp]]:
    """Give the files of some pairs, each once and in order, and each pair by their positions."""
    files, positions = np.unique(np.concatenate((first, second)), return_inverse=True)
    return files, positions[: len(first)], positions[len(first) :]
