"""The cheap tests that a pair must pass before it is scored, on many files at once."""

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
    """Which pairs are worth scoring; None switches a rule off."""

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
    """Find the candidate pairs of joining files with members and with each other.

    Gives every joining file's id, the shortest file first, with the files that it must be scored
    against; each unordered pair once.
    """
    files = joining + members
    joins = np.arange(len(files)) < len(joining)
    order = np.argsort(files.duration_ms, kind="stable")  # NaN comes last
    files, joins = files[order], joins[order]
    (positions,) = np.nonzero(joins)
    reached = windows(files.duration_ms[joins], files.duration_ms, rules.duration_tolerance_ms)
    for position, window in zip(positions.tolist(), reached, strict=True):
        near = files[window]
        # A joining file meets every member, and of its fellows those that stand before it.
        passed = ~joins[window]
        passed[: position - window.start] = True
        passed &= _agree(files[position : position + 1], near, rules)
        yield int(files.ids[position]), near[passed]


def _agree(
    one: ComparableFiles, others: ComparableFiles, rules: CandidateRules
) -> NDArray[np.bool_]:
    agree = _durations_agree(one.duration_ms, others.duration_ms, rules.duration_tolerance_ms)
    tolerance, hamming_max = rules.aspect_ratio_tolerance, rules.hamming_max
    if tolerance is not None:
        agree &= _any_of_both(
            lambda a, b: aspect_ratios_agree(a, b, tolerance),
            (one.aspect_ratio, one.content_aspect_ratio),
            (others.aspect_ratio, others.content_aspect_ratio),
        )
    if hamming_max is not None:
        agree &= _any_of_both(
            lambda a, b: np.bitwise_count(a ^ b) <= hamming_max,
            (one.average_hash, one.content_hash),
            (others.average_hash, others.content_hash),
        )
    return agree


def _any_of_both(
    agree: Callable[..., NDArray[np.bool_]],
    one: tuple[NDArray[Any], NDArray[Any]],
    others: tuple[NDArray[Any], NDArray[Any]],
) -> NDArray[np.bool_]:
    """Compare files as wholes, by their content without bars, and crosswise: one will do."""
    (whole, content), (other_whole, other_content) = one, others
    result = agree(whole, other_whole)
    if (content != whole).any():
        result = result | agree(content, other_whole) | agree(content, other_content)
    if (other_content != other_whole).any():
        result = result | agree(whole, other_content)
    return result


def _durations_agree(
    a_ms: NDArray[np.float64], b_ms: NDArray[np.float64], tolerance_ms: float
) -> NDArray[np.bool_]:
    """Compare durations; files without one (NaN) agree among themselves and with no others."""
    both_without = np.isnan(a_ms) & np.isnan(b_ms)
    return (np.abs(a_ms - b_ms) <= tolerance_ms) | both_without


def aspect_ratios_agree(
    a: NDArray[np.float64], b: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Compare width / height; a file without dimensions (NaN) agrees with none."""
    return np.abs(a - b) <= tolerance * np.maximum(a, b)
