"""Candidates and neighbourhoods agree with their plain definitions."""

import itertools
import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydindex.config.settings import Config
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.matching.duration_windows import neighbourhoods
from hydindex.records.files import NOT_COMPARED, ComparableFiles

UNKNOWN = math.nan


class Row(NamedTuple):
    """A file; without other values its content is the whole picture."""

    duration_ms: float
    ratio: float = 1.0
    hash: int = 0
    content_ratio: float | None = None
    content_hash: int | None = None

    @property
    def ratios(self) -> tuple[float, float]:
        return self.ratio, self.ratio if self.content_ratio is None else self.content_ratio

    @property
    def hashes(self) -> tuple[int, int]:
        return self.hash, self.hash if self.content_hash is None else self.content_hash


def comparables(rows: list[Row], first_id: int = 1) -> ComparableFiles:
    ratios = np.array([row.ratios for row in rows], np.float64).reshape(-1, 2)
    hashes = np.array([row.hashes for row in rows], np.uint64).reshape(-1, 2)
    return ComparableFiles(
        ids=np.arange(first_id, first_id + len(rows), dtype=np.int64),
        duration_ms=np.array([row.duration_ms for row in rows], np.float64),
        aspect_ratio=ratios[:, 0],
        average_hash=hashes[:, 0],
        content_aspect_ratio=ratios[:, 1],
        content_hash=hashes[:, 1],
        compared_since=np.full(len(rows), NOT_COMPARED, np.int64),
    )


# Candidates


def is_candidate(a: Row, b: Row, rules: CandidateRules) -> bool:
    """The rules for one pair, as the README states them."""
    if math.isnan(a.duration_ms) or math.isnan(b.duration_ms):
        if not (math.isnan(a.duration_ms) and math.isnan(b.duration_ms)):
            return False
    elif abs(a.duration_ms - b.duration_ms) > rules.duration_tolerance_ms:
        return False
    tolerance, hamming_max = rules.aspect_ratio_tolerance, rules.hamming_max
    shapes_agree = tolerance is None or any(
        abs(one - other) <= tolerance * max(one, other)  # false where one is unknown
        for one, other in itertools.product(a.ratios, b.ratios)
    )
    hashes_agree = hamming_max is None or any(
        (one ^ other).bit_count() <= hamming_max
        for one, other in itertools.product(a.hashes, b.hashes)
    )
    return shapes_agree and hashes_agree


def plain_candidates(joining: list[Row], members: list[Row], rules: CandidateRules) -> Counter[Any]:
    """Each unordered pair with a joining file, by positions in members + joining."""
    every = members + joining
    return Counter(
        frozenset((a, b))
        for a, b in itertools.combinations(range(len(every)), 2)
        if b >= len(members) and is_candidate(every[a], every[b], rules)
    )


def our_candidates(joining: list[Row], members: list[Row], rules: CandidateRules) -> Counter[Any]:
    own = comparables(joining, first_id=len(members))
    candidates = list(find_candidates(own, comparables(members, first_id=0), rules))
    assert sorted(file_id for file_id, _ in candidates) == own.ids.tolist()
    return Counter(
        frozenset((file_id, other))
        for file_id, others in candidates
        for other in others.ids.tolist()
    )


# Few values, many of them exactly at, within or beyond a tolerance of each other.
DURATIONS_MS = st.sampled_from(
    [UNKNOWN, 0.0, 5000.0, 5999.9, 6000.0, math.nextafter(6000.0, 7000.0), 7000.0]
)
RATIOS = st.sampled_from([UNKNOWN, 0.95, 1.0, math.nextafter(0.95, 0.0), 16 / 9, 1.7, 1.69])
HASHES = st.sampled_from([0, 1, 0xFF, 0xFFFF_FFFF, 0x1_FFFF_FFFF, 2**63, 2**64 - 1])
ANY_RATIO = RATIOS | st.floats(0.01, 100)
ANY_HASH = HASHES | st.integers(0, 2**64 - 1)
ROWS = st.lists(
    st.builds(
        Row,
        DURATIONS_MS | st.floats(0, 1e5),
        ANY_RATIO,
        ANY_HASH,
        st.none() | ANY_RATIO,
        st.none() | ANY_HASH,
    ),
    max_size=14,
)
RULES = st.builds(
    CandidateRules,
    duration_tolerance_ms=st.sampled_from([0.0, 999.9, 1000.0, 2000.0]),
    aspect_ratio_tolerance=st.sampled_from([None, 0.0, 0.05, 1.0]),
    hamming_max=st.sampled_from([None, 0, 1, 8, 32, 64]),
)


@given(joining=ROWS, members=ROWS, rules=RULES)
@settings(max_examples=150)
def test_candidates_are_those_of_a_plain_loop_each_once(
    joining: list[Row], members: list[Row], rules: CandidateRules
) -> None:
    candidates = our_candidates(joining, members, rules)
    assert candidates == plain_candidates(joining, members, rules)


def test_candidates_of_many_files_are_complete() -> None:
    rng = np.random.default_rng(3)
    durations_ms = rng.integers(0, 40_000, 1100).astype(float).tolist()
    ratios = rng.choice([1.0, 1.3, 16 / 9], 1100).tolist()
    hashes = rng.integers(0, 2**64, 1100, np.uint64).tolist()
    rows = list(map(Row, durations_ms, ratios, hashes))
    rules = CandidateRules(1000.0, 0.05, 32)
    candidates = our_candidates(rows[100:], rows[:100], rules)
    assert candidates == plain_candidates(rows[100:], rows[:100], rules)
    assert candidates.total() > 1000


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        (Row(5000.0, 1.0, 0), Row(6000.0, 1.0, 0), True),
        (Row(5000.0, 1.0, 0), Row(6000.1, 1.0, 0), False),
        (Row(UNKNOWN, 1.0, 0), Row(UNKNOWN, 1.0, 0), True),
        (Row(UNKNOWN, 1.0, 0), Row(5000.0, 1.0, 0), False),
        (Row(5000.0, 1.0, 0), Row(5000.0, 0.951, 0), True),
        (Row(5000.0, 1.0, 0), Row(5000.0, 0.949, 0), False),
        (Row(5000.0, UNKNOWN, 0), Row(5000.0, UNKNOWN, 0), False),
        (Row(5000.0, 1.0, 0), Row(5000.0, 1.0, 2**32 - 1), True),
        (Row(5000.0, 1.0, 0), Row(5000.0, 1.0, 2**33 - 1), False),
        (Row(5000.0, 1.0, 0, 1.78, 2**64 - 1), Row(5000.0, 1.78, 2**64 - 1), True),
        (Row(5000.0, 1.0, 0, 1.78, 2**64 - 1), Row(5000.0, 2.0, 1, 1.78, 1), True),
        (Row(5000.0, 1.0, 0, 1.5, 2**64 - 1), Row(5000.0, 1.78, 2**64 - 1), False),
    ],
)
def test_the_shipped_rules_are_one_second_five_percent_and_32_bits(
    a: Row, b: Row, agree: bool
) -> None:
    candidates = our_candidates([a], [b], CandidateRules.of(Config()))
    assert candidates.total() == int(agree)


def test_a_disabled_filter_drops_no_pair() -> None:
    filters = {"use_ar_filter": False, "use_ahash_prefilter": False}
    rules = CandidateRules.of(Config.model_validate({"filters": filters}))
    assert our_candidates([Row(1.0, UNKNOWN)], [Row(1.0, 3.0, 2**64 - 1)], rules).total() == 1


# Neighbourhoods

# Multiples of tolerances, and their neighbours.
EDGES_MS = st.builds(
    lambda count, offset_ms: 1000.0 * count + offset_ms,
    st.integers(1, 9),
    st.sampled_from([0.0, 1e-9, -1e-9, 0.5]),
)


@given(
    tolerance_ms=st.sampled_from([0.0, 0.1, 999.999, 1000.0]) | st.floats(0, 86_400_000),
    durations_ms=st.lists(EDGES_MS | DURATIONS_MS | st.floats(0, 1e9), max_size=12),
)
@settings(max_examples=150)
def test_every_file_is_in_one_neighbourhood_with_all_its_possible_partners(
    tolerance_ms: float, durations_ms: list[float]
) -> None:
    files = comparables([Row(duration_ms) for duration_ms in durations_ms])
    all_neighbourhoods = list(neighbourhoods(files, tolerance_ms))
    ids = [file_id for each in all_neighbourhoods for file_id in each.joining.ids.tolist()]
    assert sorted(ids) == files.ids.tolist()
    for each in all_neighbourhoods:
        own_ids = set(each.joining.ids.tolist())
        for own_ms in each.joining.duration_ms.tolist():
            for other_id, other_ms in zip(files.ids.tolist(), durations_ms, strict=True):
                if abs(own_ms - other_ms) <= tolerance_ms:
                    assert each.from_ms <= other_ms <= each.to_ms
                    assert other_id in own_ids


def test_distant_files_are_in_separate_neighbourhoods() -> None:
    """A night with few new files reads little of a large index."""
    durations_ms = [90_000.0, 2000.0, 2500.0, 30_000.0, UNKNOWN, UNKNOWN]
    files = comparables([Row(each) for each in durations_ms])
    *known, unknown = neighbourhoods(files, 1000.0)
    assert [each.joining.ids.tolist() for each in known] == [[2, 3], [4], [1]]
    assert sum(each.to_ms - each.from_ms for each in known) < 7000
    assert all(each.has_duration for each in known)
    assert unknown.joining.ids.tolist() == [5, 6]
    assert not unknown.has_duration
