"""Find candidates: the pairs that pass the cheap tests and are worth scoring."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.config.settings import Config
from hydindex.matching.duration_windows import windows
from hydindex.records.files import ComparableFiles


@dataclass(frozen=True, slots=True)
class CandidateRules:
    """Which pairs are candidates; None switches a rule off."""

    duration_tolerance_ms: float
    aspect_ratio_tolerance: float | None
    hamming_max: int | None

    @classmethod
    def of(cls, config: Config) -> Self:
        """Take the rules from a config."""
        settings, filters = config.candidate_generation, config.filters
        return cls(
            duration_tolerance_ms=settings.tolerance_s * 1000,
            aspect_ratio_tolerance=(
                settings.aspect_ratio_tolerance if filters.use_ar_filter else None
            ),
            hamming_max=config.ahash.hamming_max if filters.use_ahash_prefilter else None,
        )


def find_candidates(
    joining: ComparableFiles, members: ComparableFiles, rules: CandidateRules
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
    slices = windows(files.duration_ms[positions], files.duration_ms, rules.duration_tolerance_ms)
    for position, window in zip(positions.tolist(), slices, strict=True):
        # Every member, but only the joining files that precede this one.
        is_candidate = ~is_joining[window]
        is_candidate[: position - window.start] = True
        is_candidate &= _agree(files[position : position + 1], files[window], rules)
        yield int(files.ids[position]), files[window][is_candidate]


def _agree(
    one: ComparableFiles, others: ComparableFiles, rules: CandidateRules
) -> NDArray[np.bool_]:
    both_without_duration = np.isnan(one.duration_ms) & np.isnan(others.duration_ms)
    difference_ms = np.abs(one.duration_ms - others.duration_ms)
    agree = (difference_ms <= rules.duration_tolerance_ms) | both_without_duration
    tolerance, hamming_max = rules.aspect_ratio_tolerance, rules.hamming_max
    if tolerance is not None:
        agree &= _any_views_agree(
            lambda a, b: aspect_ratios_agree(a, b, tolerance),
            (one.aspect_ratio, one.content_aspect_ratio),
            (others.aspect_ratio, others.content_aspect_ratio),
        )
    if hamming_max is not None:
        agree &= _any_views_agree(
            lambda a, b: np.bitwise_count(a ^ b) <= hamming_max,
            (one.average_hash, one.content_hash),
            (others.average_hash, others.content_hash),
        )
    return agree


def _any_views_agree(
    agree: Callable[..., NDArray[np.bool_]],
    one: tuple[NDArray[Any], NDArray[Any]],
    others: tuple[NDArray[Any], NDArray[Any]],
) -> NDArray[np.bool_]:
    """Compare wholes, contents without bars, and crosswise: one agreement is enough."""
    (whole, content), (other_whole, other_content) = one, others
    result = agree(whole, other_whole)
    if (content != whole).any():
        result = result | agree(content, other_whole) | agree(content, other_content)
    if (other_content != other_whole).any():
        result = result | agree(whole, other_content)
    return result


def aspect_ratios_agree(
    a: NDArray[np.float64], b: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Compare width / height; a file without dimensions (NaN) agrees with no other."""
    return np.abs(a - b) <= tolerance * np.maximum(a, b)
