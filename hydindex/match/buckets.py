"""Divides files by duration, so that a file meets its neighbours and never the whole library."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hydindex.model import Comparables

# A bucket reaches over at least this span: with a tolerance near zero they would be too many.
_NARROWEST_MS: Final = 1000.0
# Far more than float arithmetic can be wrong by; the rules themselves decide later, exactly.
_MARGIN_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Files of about the same duration, and the durations within which their partners must lie.

    `shortest_ms` and `longest_ms` are NaN for the files without a duration.
    """

    files: Comparables
    shortest_ms: float
    longest_ms: float


def duration_buckets(files: Comparables, tolerance_ms: float) -> Iterator[Bucket]:
    """Divide files by duration: a file whose duration is known, and the rest, lie in one bucket.

    No pair whose durations agree within the tolerance is lost: whatever is within reach of a
    bucket's files lies between its `shortest_ms` and `longest_ms`.
    """
    width_ms = max(tolerance_ms, _NARROWEST_MS)
    numbers = np.floor(files.duration_ms / width_ms)
    for number in np.unique(numbers):
        chosen = np.isnan(numbers) if np.isnan(number) else numbers == number
        durations_ms = files.duration_ms[chosen]
        reach_ms = tolerance_ms + _MARGIN_MS
        yield Bucket(
            files=files[chosen],
            shortest_ms=float(durations_ms.min()) - reach_ms,
            longest_ms=float(durations_ms.max()) + reach_ms,
        )
