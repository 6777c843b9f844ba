"""The cheap tests that a pair must pass before it is scored, on whole blocks of files at once."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hydindex.config import Config
from hydindex.model import Comparables

# Comparing by blocks keeps the tables of one test within the processor's caches, and a bucket with
# a hundred thousand files of the same length within memory.
_CELLS_AT_ONCE: Final = 1 << 20


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
    joining: Comparables, members: Comparables, rules: CandidateRules
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the candidate pairs of joining files with members and with each other.

    Gives two arrays of one length: the first file of each pair as a position in `joining`, the
    second as a position in `members + joining`; each unordered pair once, ordered by the first.
    """
    others = members + joining
    rows_at_once = max(1, _CELLS_AT_ONCE // len(others)) if len(others) else 1
    blocks = [
        _block_candidates(joining, others, rules, len(members), start, start + rows_at_once)
        for start in range(0, len(joining), rows_at_once)
    ]
    if not blocks:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    first, second = zip(*blocks, strict=True)
    return np.concatenate(first), np.concatenate(second)


def _block_candidates(
    joining: Comparables,
    others: Comparables,
    rules: CandidateRules,
    member_count: int,
    start: int,
    end: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows = joining[start:end]
    positions = np.arange(start, start + len(rows))
    # A joining file meets every member, and of its fellows those that stand behind it.
    passed = np.arange(len(others)) > positions[:, None] + member_count
    passed[:, :member_count] = True
    passed &= _durations_agree(rows.duration_ms, others.duration_ms, rules.duration_tolerance_ms)
    if rules.aspect_ratio_tolerance is not None:
        passed &= _aspect_ratios_agree(
            rows.aspect_ratio, others.aspect_ratio, rules.aspect_ratio_tolerance
        )
    if rules.hamming_max is not None:
        distance = np.bitwise_count(rows.average_hash[:, None] ^ others.average_hash)
        passed &= distance <= rules.hamming_max
    row, column = np.nonzero(passed)
    return row + start, column


def _durations_agree(
    a_ms: NDArray[np.float64], b_ms: NDArray[np.float64], tolerance_ms: float
) -> NDArray[np.bool_]:
    """Compare durations; files without one (NaN) agree among themselves and with no others."""
    both_without = np.isnan(a_ms)[:, None] & np.isnan(b_ms)
    return (np.abs(a_ms[:, None] - b_ms) <= tolerance_ms) | both_without


def _aspect_ratios_agree(
    a: NDArray[np.float64], b: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Compare width / height; a file without dimensions (NaN) agrees with none."""
    return np.abs(a[:, None] - b) <= tolerance * np.maximum(a[:, None], b)
