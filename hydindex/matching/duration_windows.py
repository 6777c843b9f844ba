"""Find files of similar duration, so that no file is compared with the whole library."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.records.files import ComparableFiles

# Far above the error of float arithmetic; the candidate rules are exact.
_MARGIN_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Joining files, and the durations of all their possible partners.

    `from_ms` and `to_ms` are NaN for files without a duration: they match only each other.
    """

    joining: ComparableFiles
    from_ms: float
    to_ms: float

    @property
    def has_duration(self) -> bool:
        """Whether these files have a duration."""
        return not math.isnan(self.from_ms)


def neighbourhoods(joining: ComparableFiles, tolerance_ms: float) -> Iterator[Neighbourhood]:
    """Divide files so that files of different neighbourhoods share no possible partner."""
    joining = joining[np.argsort(joining.duration_ms, kind="stable")]  # NaN comes last
    known = int(np.count_nonzero(~np.isnan(joining.duration_ms)))
    durations_ms = joining.duration_ms[:known]
    reach_ms = tolerance_ms + _MARGIN_MS
    (gaps,) = np.nonzero(np.diff(durations_ms) > 2 * reach_ms)
    for part in np.split(np.arange(known), gaps + 1):
        if len(part):
            from_ms, to_ms = durations_ms[part[[0, -1]]].tolist()
            yield Neighbourhood(joining[part], from_ms - reach_ms, to_ms + reach_ms)
    if known < len(joining):
        yield Neighbourhood(joining[known:], math.nan, math.nan)


def windows(
    joining_ms: NDArray[np.float64], durations_ms: NDArray[np.float64], tolerance_ms: float
) -> list[slice]:
    """Return where each joining file's partners can be in the sorted durations (NaN last)."""
    reach_ms = tolerance_ms + _MARGIN_MS
    starts = np.searchsorted(durations_ms, joining_ms - reach_ms, side="left")
    ends = np.searchsorted(durations_ms, joining_ms + reach_ms, side="right")
    return list(map(slice, starts.tolist(), ends.tolist()))
