"""Divides files by duration, so that a file meets its neighbours and never the whole library."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.model import Comparables

# A bucket reaches over at least this span: with a tolerance near zero they would be too many.
_NARROWEST_MS: Final = 1000.0
# Far more than float arithmetic can be wrong by; the rules themselves decide later, exactly.
_MARGIN_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Files of about the same duration, and how far their partners can lie.

    All durations within the tolerance of any of the files lie from `reach_from_ms` to
    `reach_to_ms`; both are NaN for the bucket of the files without a duration.
    """

    files: Comparables
    reach_from_ms: float
    reach_to_ms: float

    def reaches(self, others: Comparables) -> NDArray[np.bool_]:
        """Tell which files could be partners of the bucket's files."""
        if math.isnan(self.reach_from_ms):
            return np.isnan(others.duration_ms)
        from_ms, to_ms = self.reach_from_ms, self.reach_to_ms
        return (others.duration_ms >= from_ms) & (others.duration_ms <= to_ms)


def duration_buckets(files: Comparables, tolerance_ms: float) -> Iterator[Bucket]:
    """Divide files by duration. Each lies in one bucket; those without a duration share one."""
    width_ms = max(tolerance_ms, _NARROWEST_MS)
    numbers = np.floor(files.duration_ms / width_ms)
    for number in np.unique(numbers):
        chosen = np.isnan(numbers) if np.isnan(number) else numbers == number
        durations_ms = files.duration_ms[chosen]
        reach_ms = tolerance_ms + _MARGIN_MS
        yield Bucket(
            files=files[chosen],
            reach_from_ms=float(durations_ms.min()) - reach_ms,
            reach_to_ms=float(durations_ms.max()) + reach_ms,
        )
