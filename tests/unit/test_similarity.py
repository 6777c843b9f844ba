"""Fast scores agree with the libraries, on real pictures and on those made to provoke errors.

Scores are promised to within 1e-3 wherever that matters, verdicts exactly. Here the libraries score
pair by pair.
"""

import itertools
import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import pytorch_msssim
import torch
from conftest import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from hydindex.common.errors import ConfigError, IndexUnusable
from hydindex.common.packed_arrays import pack_array
from hydindex.config.sections import Device
from hydindex.config.settings import Config
from hydindex.matching.blocks import MatcherCounts
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.threshold.ms_ssim import coarse_levels
from hydindex.matching.threshold.preprocessing import preprocess
from hydindex.matching.threshold.pyramid import (
    coarse_picture,
    coarse_shape,
    pack_coarse,
    unpack_coarse,
)
from hydindex.matching.threshold.score_bounds import MARGIN, ScoreBounds
from hydindex.matching.threshold.threshold_matcher import PairBlock, block_slices
from hydindex.records.pictures import Picture

Pictures = list[Picture]
Pairs = list[tuple[int, int]]
Scores = NDArray[np.float64]


def library_ms_ssim(one: Picture, other: Picture) -> float:
    def tensor(picture: Picture) -> torch.Tensor:
        channels = np.atleast_3d(picture).transpose(2, 0, 1)[None]
        return torch.from_numpy(channels.astype(np.float32) / 255)

    return float(pytorch_msssim.ms_ssim(tensor(one), tensor(other), data_range=1))


def library_ssim(one: Picture, other: Picture) -> float:
    axis = 2 if one.ndim == 3 else None
    return float(structural_similarity(one, other, data_range=255, channel_axis=axis))


torch.set_num_threads(1)  # its threads slow each other down where other programs run

METRICS = {"MS-SSIM": library_ms_ssim, "SSIM": library_ssim}


def block_of(
    packed: Sequence[bytes],
    shape: tuple[int, ...],
    pairs: Pairs,
    *,
    bounds: ScoreBounds | None = None,
    threshold: float = 0.5,
    device: Device = "cpu",
) -> PairBlock:
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    return PairBlock(
        file_ids=np.arange(len(packed)),
        packed=list(packed),
        shape=shape,
        first=first,
        second=second,
        bounds=bounds,
        threshold=threshold,
        device=device,
        counts=MatcherCounts(),
    )


def score(
    pictures: Pictures, pairs: Pairs, metric: str, threshold: float, device: Device = "cpu"
) -> tuple[Scores, int]:
    """Score pairs as a run does: first the coarse levels, then a block of the remaining pairs.

    Return the scores, which may be bounds below the threshold, and how many the library confirmed.
    """
    # The second file of each pair is a copy, so that a picture can be paired with itself.
    shape, count = pictures[0].shape, len(pictures)
    pictures, pairs = pictures * 2, [(a, b + count) for a, b in pairs]
    scores, rows, bounds = np.zeros(len(pairs)), np.arange(len(pairs)), None
    if metric == "MS-SSIM":
        packed_coarse = b"".join(pack_coarse(coarse_picture(picture)) for picture in pictures)
        coarse = unpack_coarse(packed_coarse, (len(pictures), *coarse_shape(shape)))
        first, second = np.array(pairs, np.intp).T
        coarse_bounds = coarse_levels(coarse, first, second, threshold)
        (rows,) = np.nonzero(coarse_bounds.may_match(threshold))
        scores, bounds = coarse_bounds.scores, coarse_bounds[rows]
    block = block_of(
        [pack_array(picture) for picture in pictures],
        shape,
        [pairs[row] for row in rows],
        bounds=bounds,
        threshold=threshold,
        device=device,
    )
    result = block.match()
    scores[rows] = result.scores
    matches = {each.pair.ids: each.score for each in result.matches}
    assert matches == {
        pair: value for pair, value in zip(pairs, scores, strict=True) if value >= threshold
    }
    return scores, result.counts.confirmed_by_library


def difficult_pictures(height: int, width: int, colour: bool) -> Pictures:
    """Pictures that maximize float errors, and pairs near every kind of limit."""
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
def difficult_scores(
    metric: str, size_px: tuple[int, int], colour: bool
) -> tuple[Pictures, Pairs, Scores]:
    pictures = difficult_pictures(*size_px, colour)
    pairs = list(itertools.combinations_with_replacement(range(len(pictures)), 2))
    expected = [METRICS[metric](pictures[a], pictures[b]) for a, b in pairs]
    return pictures, pairs, np.array(expected)


SMALLEST_PX = (161, 200)
"""Height and width: as small as MS-SSIM allows."""
SIZES = [
    (SMALLEST_PX, False),
    (SMALLEST_PX, True),
    *(
        pytest.param(size_px, colour, marks=pytest.mark.slow)
        for size_px in [(230, 230), (176, 190), (175, 333)]  # as shipped; even; odd when halved
        for colour in (False, True)
    ),
]


def check_scores(
    pictures: Pictures, pairs: Pairs, metric: str, expected: Scores, thresholds: Sequence[float]
) -> None:
    """Scores are close to those of the library, and verdicts the same."""
    scores, _ = score(pictures, pairs, metric, threshold=0.0)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=MARGIN)
    for threshold in thresholds:
        scores, _ = score(pictures, pairs, metric, threshold)
        matches = scores >= threshold
        np.testing.assert_array_equal(matches, expected >= threshold)
        np.testing.assert_allclose(scores[matches], expected[matches], rtol=0, atol=MARGIN)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("size_px", "colour"), SIZES)
def test_scores_and_verdicts_are_those_of_the_library(
    metric: str, size_px: tuple[int, int], colour: bool
) -> None:
    pictures, pairs, expected = difficult_scores(metric, size_px, colour)
    check_scores(pictures, pairs, metric, expected, (0.05, 0.3, 0.9, 1.0))


@pytest.mark.parametrize("metric", METRICS)
def test_the_library_confirms_a_score_that_just_reaches_the_threshold(metric: str) -> None:
    """Each score in turn is the threshold: rounding alone would get half of them wrong."""
    pictures, pairs, expected = difficult_scores(metric, SMALLEST_PX, False)
    confirmed = 0
    for row in range(0, len(pairs), 5):
        threshold = float(expected[row])
        if threshold > 0:
            scores, by_library = score(pictures, pairs[row : row + 1], metric, threshold)
            assert scores[0] >= threshold
            confirmed += by_library
    assert confirmed > 20


@pytest.mark.skipif(not CORPUS.exists(), reason="needs the labelled corpus")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("grey", [True, False], ids=["grey", "colour"])
@pytest.mark.parametrize("count", [9, pytest.param(26, marks=pytest.mark.slow)])
def test_scores_and_verdicts_on_real_thumbnails(metric: str, grey: bool, count: int) -> None:
    """Pictures of a few sources and their copies, so that many pairs are alike."""
    files = json.loads((CORPUS / "files.json").read_text())
    sources = sorted({file["source"] for file in files})[:6]
    chosen = [file["hash"] for file in files if file["source"] in sources][:count]
    settings = Config.model_validate({"preprocessing": {"toGray": grey}}).preprocessing
    pictures = [
        preprocess(decode_thumbnail((CORPUS / "thumbs" / each).read_bytes()), settings)
        for each in chosen
    ]
    pairs = list(itertools.combinations(range(len(pictures)), 2))
    expected = np.array([METRICS[metric](pictures[a], pictures[b]) for a, b in pairs])
    check_scores(pictures, pairs, metric, expected, (0.3, 0.6, 0.9))
    assert 0 < np.count_nonzero(expected >= 0.6) < len(pairs)


@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.01, 1.0), colour=st.booleans())
@settings(max_examples=10)
def test_no_pair_that_matches_is_dropped(seed: int, threshold: float, colour: bool) -> None:
    """Compare blends of two pictures, which are anything from hardly alike to identical."""
    rng = np.random.default_rng(seed)
    shape = (165, 170, 3) if colour else (165, 170)
    smooth = (5.0, 5.0, 0.0)[: len(shape)]
    one, other = (gaussian_filter(rng.normal(128, 700, shape), smooth) for _ in range(2))
    blends = [one * (1 - share) + other * share for share in rng.uniform(0, 1, 6)]
    pictures = [np.clip(blend, 0, 255).astype(np.uint8) for blend in blends]
    pairs = list(itertools.combinations(range(len(pictures)), 2))
    scores, _ = score(pictures, pairs, "MS-SSIM", threshold)
    expected = [library_ms_ssim(pictures[a], pictures[b]) for a, b in pairs]
    assert (scores >= threshold).tolist() == [each >= threshold for each in expected]


def test_the_library_scores_a_pair_with_a_factor_near_zero() -> None:
    """The 0.0448th power turns a millionth into 0.54, and magnifies rounding errors likewise.

    Both pictures have the same shapes. Their grain is the same in one part and opposite in the
    rest, divided where level 1 cancels out.
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
        is_positive = library_ms_ssim(*pictures(middle)) > 0
        low, high = (low, middle) if is_positive else (middle, high)
    one, other = pictures(high)
    lowest = 1.0, other
    for at in rng.integers(20, 145, (60, 2)).tolist():
        for step in (-1, 1):
            nearly = other.copy()
            nearly[*at] = np.clip(int(nearly[*at]) + step, 0, 255)
            expected = library_ms_ssim(one, nearly)
            if 0 < expected < lowest[0]:
                lowest = expected, nearly
    expected, nearly = lowest
    scores, confirmed = score([one, nearly], [(0, 1)], "MS-SSIM", threshold=0.2)
    assert confirmed == 1
    assert scores[0] == pytest.approx(expected, abs=MARGIN)


# Blocks


@given(
    pairs=st.lists(st.tuples(st.integers(0, 40), st.integers(41, 80)), max_size=60),
    files=st.integers(2, 9),
)
@settings(max_examples=50)
def test_blocks_hold_every_pair_once_and_a_bounded_number_of_files(
    pairs: Pairs, files: int
) -> None:
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    slices = list(block_slices(first, second, picture_bytes=(6 << 20) // files))
    assert slices  # the counts of the coarse step travel with the first block
    rows = [row for each in slices for row in range(each.start, each.stop)]
    assert rows == list(range(len(pairs)))
    for each in slices:
        assert len({*first[each].tolist(), *second[each].tolist()}) <= files
        assert each.stop > each.start or not pairs


def test_a_damaged_picture_is_reported() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (170, 170)).astype(np.uint8)
    intact = pack_array(picture)
    bounds = ScoreBounds.initial(1, channels=1)
    one_bit_off = (
        intact[:place] + bytes([intact[place] ^ 1]) + intact[place + 1 :]
        for place in range(0, len(intact), 1000)
    )
    for damaged in (b"", intact[:-1], *one_bit_off):
        with pytest.raises(IndexUnusable, match="1"):
            block_of([intact, damaged], picture.shape, [(0, 1)], bounds=bounds).match()


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_device_gives_the_same_verdicts_or_is_reported_missing(
    device: Device, metric: str
) -> None:
    module = torch.cuda if device == "cuda" else torch.backends.mps
    if not module.is_available():
        with pytest.raises(ConfigError, match=device):
            block_of([b"", b""], (170, 170), [(0, 1)], device=device).match()
        return
    pictures, pairs, expected = difficult_scores(metric, SMALLEST_PX, False)
    scores, _ = score(pictures, pairs, metric, 0.6, device)
    np.testing.assert_array_equal(scores >= 0.6, expected >= 0.6)
