"""Finds the files that lie near enough in duration: nobody is compared with the whole library."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.records.files import ComparableFiles

# Far more than float arithmetic can be wrong by; the rules themselves decide later, exactly.
_MARGIN_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Files that join, and how far the partners of any of them can lie.

    `from_ms` and `to_ms` are NaN for files without a duration, which only have each other.
    """

    joining: ComparableFiles
    from_ms: float
    to_ms: float

    @property
    def has_duration(self) -> bool:
        """Whether these are files with a duration."""
        return not math.isnan(self.from_ms)


def neighbourhoods(joining: ComparableFiles, tolerance_ms: float) -> Iterator[Neighbourhood]:
    """Divide files into such that share no partner."""
    joining = joining[np.argsort(joining.duration_ms, kind="stable")]  # NaN comes last
    known = int(np.count_nonzero(~np.isnan(joining.duration_ms)))
    durations_ms = joining.duration_ms[:known]
    reach_ms = tolerance_ms + _MARGIN_MS
    (gaps,) = np.nonzero(np.diff(durations_ms) > 2 * reach_ms)
    ends = [*(gaps + 1).tolist(), known] if known else []
    for start, end in zip([0, *ends], ends, strict=False):
        yield Neighbourhood(
            joining[start:end],
            from_ms=float(durations_ms[start]) - reach_ms,
            to_ms=float(durations_ms[end - 1]) + reach_ms,
        )
    if known < len(joining):
        yield Neighbourhood(joining[known:], math.nan, math.nan)


def windows(
    joining_ms: NDArray[np.float64], durations_ms: NDArray[np.float64], tolerance_ms: float
) -> list[slice]:
    """Give for each joining file where in the sorted durations (NaN last) its partners can be."""
    reach_ms = tolerance_ms + _MARGIN_MS
    starts = np.searchsorted(durations_ms, joining_ms - reach_ms, side="left")
    ends = np.searchsorted(durations_ms, joining_ms + reach_ms, side="right")
    return list(map(slice, starts.tolist(), ends.tolist()))
