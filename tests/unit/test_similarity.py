"""Fast scores are those of the libraries: on real pictures, and on such as are made to break them.

A score is promised to within 1e-3 wherever it can matter; a decision is promised exactly. The
library is asked pair by pair here.
"""

import itertools
import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import pytorch_msssim
import torch
from conftest import CORPUS
from hydindex.matching.preparation import Preparation, prepare
from hydindex.matching.threshold.blocks import (
    BlockScores,
    DamagedPictureError,
    NoSuchDeviceError,
    PairBlock,
    block_rows,
    score_block,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, gaussian_filter
from skimage.metrics import structural_similarity

from hydindex.config.sections import Device
from hydindex.config.settings import Config
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.ms_ssim import coarse_levels
from hydindex.matching.threshold.packing import pack, unpack_coarse, unpack_picture
from hydindex.matching.threshold.pyramid import channels_first, coarse_picture, coarse_shape, halve
from hydindex.matching.threshold.score_bounds import MARGIN, ScoreBounds
from hydindex.records.pictures import Picture, Prepared

Pictures = list[Picture]
SIZES_PX = [(230, 230), (161, 200), (176, 190), (175, 333)]
"""Height and width: as shipped, as small as MS-SSIM allows, even and odd at the halvings."""


def library_ms_ssim(one: Picture, other: Picture) -> float:
    def tensor(picture: Picture) -> torch.Tensor:
        channels_first = np.atleast_3d(picture).transpose(2, 0, 1)[None]
        return torch.from_numpy(channels_first.astype(np.float32) / 255)

    return float(pytorch_msssim.ms_ssim(tensor(one), tensor(other), data_range=1))


def library_ssim(one: Picture, other: Picture) -> float:
    axis = 2 if one.ndim == 3 else None
    return float(structural_similarity(one, other, data_range=255, channel_axis=axis))


METRICS = {"MS-SSIM": library_ms_ssim, "SSIM": library_ssim}


def scores_of(
    pictures: Pictures,
    pairs: list[tuple[int, int]],
    metric: str,
    threshold: float,
    device: Device = "cpu",
) -> BlockScores:
    """Score pairs the way a run does: coarse levels first, then a block of what is left.

    A pair that the coarse levels drop keeps its bound.
    """
    first, second = np.array(pairs, np.intp).T
    packed = [pack(Prepared(0, picture, coarse_picture(picture))) for picture in pictures]
    standing, rows = None, np.arange(len(pairs))
    bounds = np.zeros(len(pairs))
    if metric == "MS-SSIM":
        shape = (len(pictures), *coarse_shape(pictures[0].shape))
        coarse = unpack_coarse(b"".join(each.sums for each in packed), shape)
        whole = coarse_levels(coarse, first, second, threshold)
        bounds = whole.scores
        (rows,) = np.nonzero(whole.may_match(threshold))
        standing = whole[rows]
    block = PairBlock(
        packed=[each.pixels for each in packed],
        shape=pictures[0].shape,
        first=first[rows],
        second=second[rows],
        standing=standing,
        threshold=threshold,
        device=device,
    )
    scored = score_block(block)
    bounds[rows] = scored.scores
    return BlockScores(bounds, scored.entered, scored.settled)


def adversaries(height: int, width: int, colour: bool) -> Pictures:
    """Pictures at which float arithmetic is at its worst, and pairs near every kind of edge."""
    rng = np.random.default_rng(5)
    down, along = np.mgrid[:height, :width]
    soft = gaussian_filter(rng.normal(128, 900, (height, width)), 7.0)
    noise = rng.normal(0, 40, (height, width))
    ramp = 255.0 * along / width
    stripes = np.where(along // 4 % 2 == 0, 1.0, -1.0)
    planes = [np.full((height, width), level) for level in (0.0, 1.0, 128.0, 254.0, 255.0)]
    one_pixel_off = np.full((height, width), 255.0)
    one_pixel_off[height // 2, width // 2] = 254.0
    planes += [
        one_pixel_off,
        soft,
        255.0 - soft,  # inverted: negative at every level
        soft + noise,
        soft - noise,  # alike when coarse, opposite when fine
        soft + 0.1 * noise,
        np.roll(soft, 1, axis=1),
        128 + noise,
        128 - noise,
        250 + 2 * stripes,
        250 - 2 * stripes,
        ramp,
        np.where(down < height // 2, ramp, 255.0),
        np.where(along < width // 2, 250 + 2 * stripes, 250 - 2 * stripes),
        255.0 * (noise > 0),
        (down * 37 + along * 91) % 256.0,
    ]
    if colour:
        planes = [
            np.dstack([plane, np.roll(plane, 3, axis=0), 255.0 - plane / 2]) for plane in planes
        ]
    return [np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes]


@cache
def adversarial_scores(
    metric: str, size_px: tuple[int, int], colour: bool
) -> tuple[Pictures, list[tuple[int, int]], NDArray[np.float64]]:
    pictures = adversaries(*size_px, colour)
    pairs = list(itertools.combinations_with_replacement(range(len(pictures)), 2))
    expected = [METRICS[metric](pictures[a], pictures[b]) for a, b in pairs]
    return pictures, pairs, np.array(expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size_px", SIZES_PX, ids=str)
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_every_score_is_within_a_thousandth_of_the_librarys(
    metric: str, size_px: tuple[int, int], colour: bool
) -> None:
    pictures, pairs, expected = adversarial_scores(metric, size_px, colour)
    scored = scores_of(pictures, pairs, metric, threshold=0.0)
    np.testing.assert_allclose(scored.scores, expected, rtol=0, atol=MARGIN)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.6, 0.9, 0.99, 1.0])
def test_every_decision_is_the_librarys(metric: str, colour: bool, threshold: float) -> None:
    pictures, pairs, expected = adversarial_scores(metric, (161, 200), colour)
    scored = scores_of(pictures, pairs, metric, threshold)
    matches = scored.scores >= threshold
    np.testing.assert_array_equal(matches, expected >= threshold)
    np.testing.assert_allclose(scored.scores[matches], expected[matches], rtol=0, atol=MARGIN)


@pytest.mark.parametrize("metric", METRICS)
def test_a_threshold_that_a_score_just_reaches_is_settled_by_the_library(metric: str) -> None:
    """Every score in turn is the threshold: rounding alone would decide half of them wrong."""
    pictures, pairs, expected = adversarial_scores(metric, (161, 200), False)
    settled = 0
    for row in range(0, len(pairs), 5):
        threshold = float(expected[row])
        if threshold > 0:
            scored = scores_of(pictures, pairs[row : row + 1], metric, threshold)
            assert scored.scores[0] >= threshold
            settled += scored.settled
    assert settled > 20


@pytest.mark.skipif(not CORPUS.exists(), reason="needs the labelled corpus")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("grey", [True, False], ids=["grey", "colour"])
def test_scores_and_decisions_on_real_thumbnails(metric: str, grey: bool) -> None:
    """Pictures of a few sources and their copies, so that many pairs are alike."""
    files = json.loads((CORPUS / "files.json").read_text())
    sources = sorted({file["source"] for file in files})[:6]
    preparation = Preparation.of(Config.model_validate({"preprocessing": {"toGray": grey}}))
    pictures = []
    for file in files:
        if file["source"] in sources and len(pictures) < 26:
            outcome = prepare((CORPUS / "thumbs" / file["hash"]).read_bytes(), preparation)
            assert isinstance(outcome, Prepared)
            pictures.append(outcome.picture)
    pairs = list(itertools.combinations(range(len(pictures)), 2))
    expected = np.array([METRICS[metric](pictures[a], pictures[b]) for a, b in pairs])
    whole = scores_of(pictures, pairs, metric, threshold=0.0)
    np.testing.assert_allclose(whole.scores, expected, rtol=0, atol=MARGIN)
    for threshold in (0.3, 0.6, 0.9):
        scored = scores_of(pictures, pairs, metric, threshold)
        np.testing.assert_array_equal(scored.scores >= threshold, expected >= threshold)
    assert 0 < np.count_nonzero(expected >= 0.6) < len(pairs)


@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.01, 1.0), colour=st.booleans())
@settings(max_examples=25)
def test_no_pair_that_matches_is_ever_left(seed: int, threshold: float, colour: bool) -> None:
    """Blends of one picture with others: every score between hardly alike and the same."""
    rng = np.random.default_rng(seed)
    shape = (165, 170, 3) if colour else (165, 170)
    smooth = (5.0, 5.0, 0.0)[: len(shape)]
    one, other = (gaussian_filter(rng.normal(128, 700, shape), smooth) for _ in range(2))
    blends = [one * (1 - share) + other * share for share in rng.uniform(0, 1, 6)]
    pictures = [np.clip(blend, 0, 255).astype(np.uint8) for blend in blends]
    pairs = list(itertools.combinations(range(len(pictures)), 2))
    scored = scores_of(pictures, pairs, "MS-SSIM", threshold).scores
    expected = [library_ms_ssim(pictures[a], pictures[b]) for a, b in pairs]
    assert (scored >= threshold).tolist() == [score >= threshold for score in expected]


def finest_factor(one: Picture, other: Picture) -> float:
    """The mean of cs at level 1, in double precision."""
    x, y = one / 255.0, other / 255.0
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return correlate1d(correlate1d(values, window, 0), window, 1)[5:-5, 5:-5]

    covariance = mean(x * y) - mean(x) * mean(y)
    variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
    return float(np.mean((2 * covariance + 9e-4) / (variances + 9e-4)))


def test_a_factor_that_is_all_but_zero_is_left_to_the_library() -> None:
    """The 0.0448th power turns a millionth into 0.54, and what rounding adds to it into much more.

    Two pictures with the same shapes, whose grain is the same in one part and opposite in the rest,
    with the border just where level 1 cancels out.
    """
    rng = np.random.default_rng(2)
    shapes = gaussian_filter(rng.normal(128, 500, (165, 165)), 9.0)
    grain = rng.normal(0, 12, shapes.shape)

    def pictures(same_pixels: int) -> Pictures:
        sign = np.where(np.arange(grain.size) < same_pixels, 1, -1).reshape(grain.shape)
        both = shapes + grain, shapes + sign * grain
        return [np.clip(np.rint(each), 0, 255).astype(np.uint8) for each in both]

    low, high = 0, grain.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if finest_factor(*pictures(middle)) < 0 else (low, middle)
    one, other = pictures(high)
    tuned = []
    for at in rng.integers(20, 145, (150, 2)).tolist():
        for step in (-1, 1):
            nearly = other.copy()
            nearly[*at] = np.clip(int(nearly[*at]) + step, 0, 255)
            tuned.append((abs(finest_factor(one, nearly)), len(tuned), nearly))
    nearest = sorted(tuned)[:5]
    assert nearest[0][0] < 1e-6
    for _, _, nearly in nearest:
        scored = scores_of([one, nearly], [(0, 1)], "MS-SSIM", threshold=0.2)
        assert scored.settled == 1
        assert scored.scores[0] == pytest.approx(library_ms_ssim(one, nearly), abs=MARGIN)


def test_hopeless_pairs_are_left_at_the_coarse_levels() -> None:
    pictures, pairs, expected = adversarial_scores("MS-SSIM", (161, 200), False)
    first, second = np.array(pairs).T
    coarse = np.stack([coarse_picture(picture) for picture in pictures])
    standing = coarse_levels(coarse, first, second, threshold=0.6)
    level_5, level_4 = standing.entered
    left = np.count_nonzero(standing.may_match(0.6))
    assert level_5 == len(pairs) > level_4 > left >= np.count_nonzero(expected >= 0.6)


# The pyramid and packing


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    colour=st.booleans(),
    seed=st.integers(0, 9),
)
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


def test_packed_pictures_come_back_as_they_were_or_not_at_all() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (33, 21, 3)).astype(np.uint8)
    packed = pack(Prepared(7, picture, coarse_picture(picture)))
    np.testing.assert_array_equal(unpack_picture(packed.pixels, picture.shape), picture)
    coarse = unpack_coarse(packed.sums, coarse_shape(picture.shape))
    np.testing.assert_array_equal(coarse, coarse_picture(picture))
    one_bit_off = (
        bytes(byte ^ (at == place) for at, byte in enumerate(packed.pixels))
        for place in range(len(packed.pixels))
    )
    for damaged in (b"", packed.pixels[:-1], *one_bit_off):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever words the library has for it
            unpack_picture(damaged, picture.shape)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever words the library has for it
        unpack_picture(packed.pixels, (33, 21))


# Blocks


@given(
    pairs=st.lists(st.tuples(st.integers(0, 40), st.integers(41, 80)), max_size=60),
    files=st.integers(2, 9),
)
def test_blocks_hold_every_pair_once_and_a_bounded_number_of_files(
    pairs: list[tuple[int, int]], files: int
) -> None:
    first, second = (
        np.array(side, np.int64) for side in (zip(*pairs, strict=True) if pairs else ([], []))
    )
    picture_bytes = (6 << 20) // files
    rows = list(block_rows(first, second, picture_bytes))
    covered = [row for each in rows for row in range(each.start, each.stop)]
    assert covered == list(range(len(pairs)))
    for each in rows:
        assert len({*first[each].tolist(), *second[each].tolist()}) <= files
        assert each.stop > each.start


def one_pair(packed: list[bytes], device: Device = "cpu") -> PairBlock:
    return PairBlock(
        packed=packed,
        shape=(170, 170),
        first=np.array([0]),
        second=np.array([1]),
        standing=ScoreBounds.of_unseen(1, channels=1),
        threshold=0.5,
        device=device,
    )


def test_a_damaged_picture_is_named() -> None:
    picture = np.zeros((170, 170), np.uint8)
    sound = pack(Prepared(0, picture, coarse_picture(picture))).pixels
    with pytest.raises(DamagedPictureError) as raised:
        score_block(one_pair([sound, sound[:5]]))
    assert raised.value.args == (1,)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_named(device: Device) -> None:
    module = torch.cuda if device == "cuda" else torch.backends.mps
    if module.is_available():
        pytest.skip(f"{device} is there")
    with pytest.raises(NoSuchDeviceError, match=device):
        score_block(one_pair([b"", b""], device))


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_device_decides_the_same(device: Device, metric: str) -> None:
    module = torch.cuda if device == "cuda" else torch.backends.mps
    if not module.is_available():
        pytest.skip(f"torch finds no {device} here")
    pictures, pairs, expected = adversarial_scores(metric, (161, 200), False)
    for threshold in (0.3, 0.9):
        scored = scores_of(pictures, pairs, metric, threshold, device)
        np.testing.assert_array_equal(scored.scores >= threshold, expected >= threshold)


# The judge


@pytest.mark.parametrize(
    ("judge", "library"), [(reference.ms_ssim, library_ms_ssim), (reference.ssim, library_ssim)]
)
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_the_judge_is_the_library(
    judge: Callable[[Picture, Picture], float],
    library: Callable[[Picture, Picture], float],
    colour: bool,
) -> None:
    pictures = adversaries(170, 180, colour)[5:12]
    for one, other in itertools.combinations(pictures, 2):
        assert judge(one, other) == pytest.approx(library(one, other), abs=1e-7)
