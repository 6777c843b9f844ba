"""Find candidates: the pairs that pass the cheap tests and are worth scoring."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.records.files import ComparableFiles

Positions = NDArray[np.intp]
Preselection = Callable[[ComparableFiles, Positions], Iterator[Positions]]
"""Takes files in the order of their durations and the positions of some of them. Yields, for each
of these, the positions of the files that may be its candidates."""

# Far above the error of float arithmetic; the rules themselves are exact.
_MARGIN_MS: Final = 1.0


@dataclass(frozen=True, slots=True)
class CandidateRules:
    """Which pairs are candidates, whatever the method; None switches a rule off.

    `duration_tolerance_share` is a share of the longer duration; the larger tolerance counts.
    """

    duration_tolerance_ms: float
    duration_tolerance_share: float
    aspect_ratio_tolerance: float | None

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take the rules from a config."""
        settings = config.candidate_generation
        uses_aspect_ratio = config.filters.use_ar_filter
        return cls(
            duration_tolerance_ms=settings.tolerance_s * 1000,
            duration_tolerance_share=settings.tolerance_percent / 100,
            aspect_ratio_tolerance=settings.aspect_ratio_tolerance if uses_aspect_ratio else None,
        )

    def preselect(self, files: ComparableFiles, positions: Positions) -> Iterator[Positions]:
        """Preselect by nothing but the duration."""
        for window in self.duration_ranges(files, positions):
            yield np.arange(window.start, window.stop)

    def duration_ranges(self, files: ComparableFiles, positions: Positions) -> list[slice]:
        """Return where the candidates of some files can be, by duration (sorted, NaN last)."""
        durations_ms, tolerance_ms = files.duration_ms[positions], self.duration_tolerance_ms
        remaining = 1 - self.duration_tolerance_share
        shortest_ms = np.minimum(durations_ms - tolerance_ms, durations_ms * remaining)
        longest_ms = np.maximum(durations_ms + tolerance_ms, durations_ms / remaining)
        starts = np.searchsorted(files.duration_ms, shortest_ms - _MARGIN_MS, side="left")
        ends = np.searchsorted(files.duration_ms, longest_ms + _MARGIN_MS, side="right")
        return list(map(slice, starts.tolist(), ends.tolist()))

    def are_candidates(self, one: ComparableFiles, others: ComparableFiles) -> NDArray[np.bool_]:
        """Compare one file with others."""
        both_without_duration = np.isnan(one.duration_ms) & np.isnan(others.duration_ms)
        difference_ms = np.abs(one.duration_ms - others.duration_ms)
        longer_ms = np.maximum(one.duration_ms, others.duration_ms)
        tolerance_ms = np.fmax(
            self.duration_tolerance_ms, self.duration_tolerance_share * longer_ms
        )
        agree = (difference_ms <= tolerance_ms) | both_without_duration
        tolerance = self.aspect_ratio_tolerance
        if tolerance is None:
            return agree
        any_views_agree = np.zeros(len(others), np.bool_)
        for ratio in (one.aspect_ratio, one.content_aspect_ratio):
            for other_ratio in (others.aspect_ratio, others.content_aspect_ratio):
                any_views_agree |= aspect_ratios_agree(ratio, other_ratio, tolerance)
        return agree & any_views_agree


def find_candidates(
    joining: ComparableFiles,
    members: ComparableFiles,
    rules: CandidateRules,
    preselect: Preselection,
) -> Iterator[tuple[int, ComparableFiles]]:
    """Find the candidates among joining files, and between them and members.

    Yield the id of each joining file, the shortest first, with the files to score it against. Each
    unordered pair is found once.
    """
    files = joining + members
    is_joining = np.arange(len(files)) < len(joining)
    order = np.argsort(files.duration_ms, kind="stable")  # NaN comes last
    files, is_joining = files[order], is_joining[order]
    (positions,) = np.nonzero(is_joining)
    for position, selected in zip(positions.tolist(), preselect(files, positions), strict=True):
        # Every member, but only the joining files that precede this one.
        selected = selected[~is_joining[selected] | (selected < position)]
        others = files[selected]
        yield (
            int(files.ids[position]),
            others[rules.are_candidates(files[position : position + 1], others)],
        )


def aspect_ratios_agree(
    a: NDArray[np.float64], b: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Compare width / height; a file without dimensions (NaN) agrees with no other."""
    return np.abs(a - b) <= tolerance * np.maximum(a, b)
