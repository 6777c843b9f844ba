"""Candidates are those of the plain definition."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydindex.common.errors import ConfigError
from hydindex.config.settings import Config
from hydindex.matching.calibrated import retrieval
from hydindex.matching.calibrated.descriptor import UNIT_LENGTH
from hydindex.matching.calibrated.efficientnet import DIMENSION, MIN_SIMILARITY
from hydindex.matching.calibrated.retrieval import similar_files, similar_vectors
from hydindex.matching.candidates import (
    CandidateRules,
    Positions,
    Preselection,
    find_candidates,
)
from hydindex.matching.threshold.average_hash import similar_hashes
from hydindex.matching.torch_device import torch_device
from hydindex.records.files import NOT_COMPARED, ComparableFiles

UNKNOWN = math.nan


class Row(NamedTuple):
    """A file; without a content ratio its content is the whole picture."""

    duration_ms: float
    ratio: float = 1.0
    hash: int = 0
    vector: int = 0
    content_ratio: float | None = None

    @property
    def ratios(self) -> tuple[float, float]:
        return self.ratio, self.ratio if self.content_ratio is None else self.content_ratio


def comparables(rows: list[Row], first_id: int) -> ComparableFiles:
    ratios = np.array([row.ratios for row in rows], np.float64).reshape(-1, 2)
    return ComparableFiles(
        ids=np.arange(first_id, first_id + len(rows), dtype=np.int64),
        duration_ms=np.array([row.duration_ms for row in rows], np.float64),
        aspect_ratio=ratios[:, 0],
        average_hash=np.array([row.hash for row in rows], np.uint64),
        content_aspect_ratio=ratios[:, 1],
        compared_since=np.full(len(rows), NOT_COMPARED, np.int64),
    )


Selects = Callable[[Row, Row], bool]


def is_candidate(a: Row, b: Row, rules: CandidateRules) -> bool:
    """The rules for one pair, as the README states them."""
    if math.isnan(a.duration_ms) or math.isnan(b.duration_ms):
        if not (math.isnan(a.duration_ms) and math.isnan(b.duration_ms)):
            return False
    elif abs(a.duration_ms - b.duration_ms) > max(
        rules.duration_tolerance_ms,
        rules.duration_tolerance_share * max(a.duration_ms, b.duration_ms),
    ):
        return False
    tolerance = rules.aspect_ratio_tolerance
    return tolerance is None or any(
        abs(one - other) <= tolerance * max(one, other)  # false where one is unknown
        for one, other in itertools.product(a.ratios, b.ratios)
    )


def plain_candidates(
    joining: list[Row], members: list[Row], rules: CandidateRules, selects: Selects
) -> Counter[Any]:
    """Each unordered pair with a joining file, by positions in members + joining."""
    every = members + joining
    return Counter(
        frozenset((a, b))
        for a, b in itertools.combinations(range(len(every)), 2)
        if b >= len(members)
        and is_candidate(every[a], every[b], rules)
        and selects(every[a], every[b])
    )


def our_candidates(
    joining: list[Row], members: list[Row], rules: CandidateRules, preselect: Preselection
) -> Counter[Any]:
    own = comparables(joining, first_id=len(members))
    candidates = list(find_candidates(own, comparables(members, first_id=0), rules, preselect))
    assert sorted(file_id for file_id, _ in candidates) == own.ids.tolist()
    return Counter(
        frozenset((file_id, other))
        for file_id, others in candidates
        for other in others.ids.tolist()
    )


MIN_PRODUCT = math.ceil(MIN_SIMILARITY * UNIT_LENGTH**2)
# Vectors: flat, with products exactly at the limit (1 and 2) and just below (1 and 3), extreme,
# and random.
VECTORS = np.zeros((8, DIMENSION), np.int8)
VECTORS[1, :3] = 127, 127, 1
VECTORS[2, :3] = 127, MIN_PRODUCT // 127 - 127, MIN_PRODUCT % 127
VECTORS[3, :3] = 127, MIN_PRODUCT // 127 - 127, MIN_PRODUCT % 127 - 1
VECTORS[4] = 127
VECTORS[5] = -127
VECTORS[6:] = np.random.default_rng(1).integers(-60, 61, (2, DIMENSION))


def by_descriptor(
    rules: CandidateRules,
    joining: list[Row],
    members: list[Row],
    device: Literal["cpu"] | None = None,
) -> Preselection:
    vectors = VECTORS[[row.vector for row in members + joining]]
    return lambda files, positions: similar_files(
        vectors[files.ids], files, positions, rules, MIN_SIMILARITY, device
    )


def descriptors_agree(a: Row, b: Row) -> bool:
    products = VECTORS[a.vector].astype(int) * VECTORS[b.vector].astype(int)
    return int(products.sum()) >= MIN_PRODUCT


# Few values, many of them exactly at, within or beyond a tolerance of each other.
DURATIONS_MS = st.sampled_from(
    [UNKNOWN, 0.0, 5000.0, 5999.9, 6000.0, math.nextafter(6000.0, 7000.0), 7000.0]
)
RATIOS = st.sampled_from([UNKNOWN, 0.95, 1.0, math.nextafter(0.95, 0.0), 16 / 9, 1.7, 1.69])
HASHES = st.sampled_from([0, 1, 0xFF, 0xFFFF_FFFF, 0x1_FFFF_FFFF, 2**63, 2**64 - 1])
ANY_RATIO = RATIOS | st.floats(0.01, 100)
ROWS = st.lists(
    st.builds(
        Row,
        DURATIONS_MS | st.floats(0, 1e5),
        ANY_RATIO,
        HASHES | st.integers(0, 2**64 - 1),
        st.integers(0, len(VECTORS) - 1),
        st.none() | ANY_RATIO,
    ),
    max_size=14,
)
RULES = st.builds(
    CandidateRules,
    duration_tolerance_ms=st.sampled_from([0.0, 999.9, 1000.0, 2000.0]),
    duration_tolerance_share=st.sampled_from([0.0, 0.05, 0.5]),
    aspect_ratio_tolerance=st.sampled_from([None, 0.0, 0.05, 1.0]),
)


@given(joining=ROWS, members=ROWS, rules=RULES, hamming_max=st.sampled_from([0, 1, 8, 32, 64]))
@settings(max_examples=150)
def test_candidates_are_those_of_a_plain_loop_each_once(
    joining: list[Row], members: list[Row], rules: CandidateRules, hamming_max: int
) -> None:
    def by_hash(files: ComparableFiles, positions: Positions) -> Iterator[Positions]:
        return similar_hashes(files, positions, rules, hamming_max)

    def hashes_agree(a: Row, b: Row) -> bool:
        return (a.hash ^ b.hash).bit_count() <= hamming_max

    for preselect, selects in (
        (rules.preselect, lambda _a, _b: True),
        (by_hash, hashes_agree),
        (by_descriptor(rules, joining, members), descriptors_agree),
    ):
        candidates = our_candidates(joining, members, rules, preselect)
        assert candidates == plain_candidates(joining, members, rules, selects)


@pytest.mark.parametrize(("rows", "columns"), [(256, 16_384), (7, 20)])
@pytest.mark.parametrize("device", [None, "cpu"], ids=["numpy", "torch"])
def test_candidates_do_not_depend_on_the_size_of_blocks_or_the_device(
    monkeypatch: pytest.MonkeyPatch, rows: int, columns: int, device: Literal["cpu"] | None
) -> None:
    monkeypatch.setattr(retrieval, "_GPU_BLOCK_ROWS", 2 * rows)
    monkeypatch.setattr(retrieval, "_BLOCK_ROWS", rows)
    monkeypatch.setattr(retrieval, "_BLOCK_COLUMNS", columns)
    rng = np.random.default_rng(3)
    durations_ms = rng.integers(0, 40_000, 1100).astype(float).tolist()
    ratios = rng.choice([1.0, 1.3, 16 / 9], 1100).tolist()
    vectors = rng.integers(0, len(VECTORS), 1100).tolist()
    files = [
        Row(duration_ms, ratio, vector=vector)
        for duration_ms, ratio, vector in zip(durations_ms, ratios, vectors, strict=True)
    ]
    joining, members, rules = files[100:], files[:100], CandidateRules(1000.0, 0.0, 0.05)
    preselect = by_descriptor(rules, joining, members, device)
    candidates = our_candidates(joining, members, rules, preselect)
    assert candidates == plain_candidates(joining, members, rules, descriptors_agree)
    assert candidates.total() > 1000


@pytest.mark.parametrize("device", [None, "cpu", "cuda", "mps"])
def test_products_are_exact_on_every_device(device: Literal["cpu", "cuda", "mps"] | None) -> None:
    if device is not None:
        try:
            torch_device(device)
        except ConfigError:
            pytest.skip(f"there is no {device}")
    left, right = np.random.default_rng(5).integers(-127, 128, (2, 300, 512), np.int8)
    left[0] = right[0] = 127  # 512 of the largest products
    products = left.astype(int) @ right.astype(int).T
    for row, column in ((0, 0), (1, 1), (200, 7)):
        rows, columns = similar_vectors(left, right, products[row, column], device)
        similar = set(zip(rows.tolist(), columns.tolist(), strict=True))
        assert similar == set(zip(*np.nonzero(products >= products[row, column]), strict=True))
        assert (row, column) in similar


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        (Row(5000.0), Row(6000.0), True),
        (Row(5000.0), Row(6000.1), False),
        (Row(UNKNOWN), Row(UNKNOWN), True),
        (Row(UNKNOWN), Row(5000.0), False),
        (Row(5000.0, 1.0), Row(5000.0, 0.951), True),
        (Row(5000.0, 1.0), Row(5000.0, 0.949), False),
        (Row(5000.0, UNKNOWN), Row(5000.0, UNKNOWN), False),
        (Row(5000.0, 1.0, content_ratio=1.78), Row(5000.0, 1.78), True),
        (Row(5000.0, 1.0, content_ratio=1.78), Row(5000.0, 2.0, content_ratio=1.78), True),
        (Row(5000.0, 1.0, content_ratio=1.5), Row(5000.0, 1.78), False),
    ],
)
def test_the_shipped_rules_are_one_second_and_five_percent(a: Row, b: Row, agree: bool) -> None:
    rules = CandidateRules.of(Config())
    assert our_candidates([a], [b], rules, rules.preselect).total() == int(agree)


def test_a_disabled_filter_drops_no_pair() -> None:
    rules = CandidateRules.of(Config.model_validate({"filters": {"use_ar_filter": False}}))
    a, b = Row(1.0, UNKNOWN), Row(1.0, 3.0)
    assert our_candidates([a], [b], rules, rules.preselect).total() == 1
