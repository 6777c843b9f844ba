"""Alignment: the fast way gives what the plain definition gives, for views that people make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hydindex.matching.calibrated.alignment import align
from hydindex.matching.calibrated.features import Features
from hydindex.matching.calibrated.view_numbers import (
    CONTENT,
    MIRRORED,
    WHOLE,
    aspect_ratios,
    cut_views,
    view_numbers,
)
from hydindex.matching.calibrated.windows import Windows, structure
from hydindex.records.pictures import VIEW_PX, SignatureBatch

Floats = NDArray[np.float64]


def signatures(views: NDArray[np.uint8], aspect_ratios: list[float]) -> SignatureBatch:
    """Pictures without bars."""
    return SignatureBatch(
        duration_ms=np.full(len(views), 1000.0),
        aspect_ratio=np.array(aspect_ratios),
        content_aspect_ratio=np.array(aspect_ratios),
        has_bars=np.zeros(len(views), np.bool_),
        views=views[:, None].repeat(2, axis=1),
    )


def noise(seed: int, count: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, VIEW_PX, VIEW_PX), np.uint8)


# Structure


def plain_structure(one: Floats, other: Floats, noise: float) -> float:
    """Weight the correlation of every window by its information, pixel by pixel."""
    side = len(one)
    rows, columns = np.mgrid[:side, :side]
    agreement = total = 0.0
    for y, x in np.ndindex(side, side):
        window = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2))
        window /= window.sum()
        mean, other_mean = (window * one).sum(), (window * other).sum()
        variance = (window * one**2).sum() - mean**2
        other_variance = (window * other**2).sum() - other_mean**2
        covariance = (window * one * other).sum() - mean * other_mean
        both = variance + other_variance
        weight = np.log1p(both / noise)
        agreement += weight * (2 * covariance + noise) / (both + noise)
        total += weight
    return float(agreement / total)


@pytest.mark.parametrize("side_px", [8, 16, 32])
@pytest.mark.parametrize("faint", [2.0, 64.0])
def test_structure_is_that_of_the_plain_definition(side_px: int, faint: float) -> None:
    views = noise(1, 2)
    views[1] = views[0] // 2 + views[1] // 4
    step = VIEW_PX // side_px
    one, other = views.reshape(2, side_px, step, side_px, step).mean(axis=(2, 4))
    fast = structure(Windows.of(views, side_px), np.array([0]), np.array([1]), faint)
    # The weights of the windows are rounded to 1/256.
    assert fast[0] == pytest.approx(plain_structure(one, other, faint), abs=0.01)


# Views


def plain_part(view: NDArray[np.uint8], width: float, height: float) -> Floats:
    """Average the middle of a view to 32x32 pixels, each pixel from 16x16 samples."""
    samples = 16 * VIEW_PX
    places = (np.arange(samples) + 0.5) / samples - 0.5
    rows = ((0.5 + places * height) * VIEW_PX).astype(int)
    columns = ((0.5 + places * width) * VIEW_PX).astype(int)
    sampled = view[np.ix_(rows, columns)].astype(np.float64)
    return sampled.reshape(VIEW_PX, 16, VIEW_PX, 16).mean(axis=(1, 3))


@given(seed=st.integers(0, 99), width=st.integers(16, 64), height=st.integers(16, 64))
@settings(max_examples=30)
def test_a_part_of_a_view_is_averaged_by_area(seed: int, width: int, height: int) -> None:
    batch = signatures(noise(seed, 2), [1.5, 1.0])
    numbers = view_numbers(np.array([1, 1]), CONTENT, np.array([width, 64]), np.array([height, 64]))
    part, all_of_it = cut_views(batch, numbers)
    assert np.array_equal(all_of_it, batch.views[1, CONTENT])
    plain = plain_part(batch.views[1, CONTENT], width / 64, height / 64)
    assert np.abs(part - plain).max() < 12  # 16 samples of 255 grey levels
    assert aspect_ratios(batch, numbers).tolist() == [width / height, 1.0]


def test_mirrored_views_are_mirrored_around_the_vertical_axis() -> None:
    batch = signatures(noise(3, 1), [1.0])
    (view,) = cut_views(batch, view_numbers(np.array([0]), WHOLE + MIRRORED))
    assert np.array_equal(view, batch.views[0, WHOLE][:, ::-1])


# Alignment


@given(seed=st.integers(0, 200), chosen=st.sets(st.integers(0, 65), min_size=1))
@settings(max_examples=40)
def test_a_pair_is_aligned_alike_in_every_block(seed: int, chosen: set[int]) -> None:
    random = np.random.default_rng(seed)
    views = np.repeat(noise(seed, 4).reshape(4, 32, 32) // 8 + 100, 3, axis=0)
    views += random.integers(0, 3, views.shape, np.uint8)
    views[::3] = views[::3, :, ::-1]
    batch = signatures(views, random.choice([16 / 9, 4 / 3, 1.0, 9 / 16], 12).tolist())
    first, second = np.triu_indices(12, 1)
    rows = np.array(sorted(chosen))
    every = align(batch, first, second, min_structure=-1.0)
    some = align(batch, first[rows], second[rows], min_structure=-1.0)
    in_some = np.isin(every.rows, rows)
    assert np.array_equal(every.rows[in_some], rows[some.rows])
    measured, alone = Features.measure(every).select(in_some), Features.measure(some)
    for name, values in alone.values.items():
        assert np.array_equal(values, measured[name]), name


@given(seed=st.integers(0, 200))
@settings(max_examples=40)
def test_features_do_not_depend_on_which_file_of_a_pair_is_first(seed: int) -> None:
    random = np.random.default_rng(seed)
    views = np.repeat(noise(seed, 4).reshape(4, 32, 32) // 8 + 100, 3, axis=0)
    views += random.integers(0, 3, views.shape, np.uint8)
    views[::3] = views[::3, :, ::-1]
    batch = signatures(views, [16 / 9, 16 / 9, 4 / 3] * 4)  # the first two mirror each other
    first, second = np.triu_indices(12, 1)
    one = align(batch, first, second, min_structure=-1.0)
    other = align(batch, second, first, min_structure=-1.0)
    assert np.array_equal(one.rows, other.rows)
    assert one.is_mirrored().any()
    swapped = Features.measure(other)
    for name, values in Features.measure(one).values.items():
        assert values == pytest.approx(swapped[name], abs=1e-9), name
