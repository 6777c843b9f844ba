"""Find candidates: the pairs that pass the cheap tests and are worth scoring."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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

# The rules are applied to this many preselected pairs at a time, or to those of one file.
_PAIRS_AT_ONCE: Final = 32_768
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
        """Return where the candidates of some files can be, by duration (sorted, NaN last).

        If `positions` are those of all files, no range reaches beyond its file: of each pair, the
        later file finds the earlier one.
        """
        durations_ms, tolerance_ms = files.duration_ms[positions], self.duration_tolerance_ms
        remaining = 1 - self.duration_tolerance_share
        shortest_ms = np.minimum(durations_ms - tolerance_ms, durations_ms * remaining)
        longest_ms = np.maximum(durations_ms + tolerance_ms, durations_ms / remaining)
        starts = np.searchsorted(files.duration_ms, shortest_ms - _MARGIN_MS, side="left")
        ends = np.searchsorted(files.duration_ms, longest_ms + _MARGIN_MS, side="right")
        if len(positions) == len(files):
            ends = positions + 1
        return list(map(slice, starts.tolist(), ends.tolist()))

    def are_candidates(
        self, files: ComparableFiles, first: Positions, second: Positions
    ) -> NDArray[np.bool_]:
        """Return which pairs, by the positions of their files, are candidates: (pairs,)."""
        durations_ms, other_durations_ms = files.duration_ms[first], files.duration_ms[second]
        both_without_duration = np.isnan(durations_ms) & np.isnan(other_durations_ms)
        difference_ms = np.abs(durations_ms - other_durations_ms)
        longer_ms = np.maximum(durations_ms, other_durations_ms)
        tolerance_ms = np.fmax(
            self.duration_tolerance_ms, self.duration_tolerance_share * longer_ms
        )
        agree = (difference_ms <= tolerance_ms) | both_without_duration
        tolerance = self.aspect_ratio_tolerance
        if tolerance is None:
            return agree
        any_views_agree = np.zeros(len(first), np.bool_)
        for ratios in (files.aspect_ratio, files.content_aspect_ratio):
            for other_ratios in (files.aspect_ratio, files.content_aspect_ratio):
                any_views_agree |= aspect_ratios_agree(
                    ratios[first], other_ratios[second], tolerance
                )
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
    selections = zip(positions.tolist(), preselect(files, positions), strict=True)
    for some, first, second in _collect_pairs(selections):
        # Every member, but only the joining files that precede this one.
        is_new = ~is_joining[second] | (second < first)
        first, second = first[is_new], second[is_new]
        are_candidates = rules.are_candidates(files, first, second)
        first, second = first[are_candidates], second[are_candidates]
        ends = np.searchsorted(first, some, side="right").tolist()
        ids, others = files.ids[some].tolist(), files[second]
        for file_id, start, end in zip(ids, [0, *ends], ends, strict=False):
            yield file_id, others[start:end]


def _collect_pairs(
    selections: Iterable[tuple[int, Positions]],
) -> Iterator[tuple[list[int], Positions, Positions]]:
    """Turn the positions selected for each file into pairs, those of many files at a time.

    Yield the files, and the pairs by the positions of their files. One call of numpy for each file
    would take longer than the arithmetic.
    """
    collected: dict[int, Positions] = {}
    pairs = 0
    for position, selected in selections:
        collected[position] = selected
        pairs += len(selected)
        if pairs >= _PAIRS_AT_ONCE:
            yield _pairs(collected)
            collected, pairs = {}, 0
    if collected:
        yield _pairs(collected)


def _pairs(collected: Mapping[int, Positions]) -> tuple[list[int], Positions, Positions]:
    files = list(collected)
    counts = [len(selected) for selected in collected.values()]
    return files, np.repeat(np.array(files, np.intp), counts), np.concatenate([*collected.values()])


def aspect_ratios_agree(
    a: NDArray[np.float64], b: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Compare width / height; a file without dimensions (NaN) agrees with no other."""
    return np.abs(a - b) <= tolerance * np.maximum(a, b)
