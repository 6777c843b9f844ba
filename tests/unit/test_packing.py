"""The levels of MS-SSIM are those of the library; packed pictures come back or raise."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hydindex.common.packed_arrays import pack_array, unpack_array
from hydindex.matching.threshold.pyramid import (
    channels_first,
    coarse_picture,
    coarse_shape,
    halve,
    pack_coarse,
    unpack_coarse,
)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    colour=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=50)
def test_levels_are_those_of_the_library(height: int, width: int, colour: bool, seed: int) -> None:
    shape = (height, width, 3) if colour else (height, width)
    picture = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    sums = channels_first(picture[None])
    expected = torch.from_numpy(sums.astype(np.float64))
    for level in (2, 3, 4, 5):
        sums = halve(sums)
        padding = [side % 2 for side in expected.shape[2:]]
        expected = torch.nn.functional.avg_pool2d(expected, 2, padding=padding)
        np.testing.assert_allclose(sums / 4 ** (level - 1), expected.numpy())
        if level == 4:
            np.testing.assert_array_equal(coarse_picture(picture), sums[0])
            assert coarse_picture(picture).shape == coarse_shape(shape)


def test_the_brightest_picture_does_not_overflow() -> None:
    white = np.full((1, 1, 64, 64), 255, np.uint8)
    for _ in range(4):
        white = halve(white)
    assert np.all(white == 255 * 256)


def test_a_packed_picture_comes_back_or_raises() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (33, 21, 3)).astype(np.uint8)
    packed = pack_array(picture)
    np.testing.assert_array_equal(unpack_array(packed, picture.shape), picture)
    coarse = coarse_picture(picture)
    np.testing.assert_array_equal(unpack_coarse(pack_coarse(coarse), coarse.shape), coarse)
    one_bit_off = (
        packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]
        for place in range(len(packed))
    )
    for damaged in (b"", packed[:-1], *one_bit_off):
        with pytest.raises(ValueError):  # noqa: PT011 - the library's own words
            unpack_array(damaged, picture.shape)
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own words
        unpack_array(packed, (33, 21))
