"""The pairs that a run finds are those of the plain definition, computed pair by pair here.

Nothing of hydindex's own preparing and matching is used: the definition is written out once more,
as plainly as it can be.
"""

import io
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import pytorch_msssim
import torch
from conftest import Home
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from hydindex.demo.generated_library import generate_library
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

TOLERANCE_S, AR_TOLERANCE, HAMMING_MAX, THRESHOLD = 1.0, 0.05, 20, 0.6
TRIM_STRENGTH, MIN_KEEP, SIGMA, CENTER = 0.15, 0.7, 0.6, 0.9


@pytest.mark.parametrize("equalize", [False, True], ids=["", "equalized"])
@pytest.mark.parametrize("grey", [True, False], ids=["grey", "colour"])
@pytest.mark.parametrize("filters_on", [True, False], ids=["filters on", "filters off"])
@pytest.mark.parametrize("metric", ["MS-SSIM", "SSIM"])
def test_a_run_finds_what_brute_force_finds(
    home: Home,
    serve: Callable[..., StandIn],
    metric: str,
    filters_on: bool,
    grey: bool,
    equalize: bool,
) -> None:
    files = generate_library(seed=11, pictures=36)
    side_px = 184 if metric == "MS-SSIM" else 64
    serve(files[:20])
    home.configure(
        filters={"use_ar_filter": filters_on, "use_ahash_prefilter": filters_on},
        ahash={"hammingMax": HAMMING_MAX},
        similarity_threshold=THRESHOLD,
        preprocessing={
            "fixedResize": [side_px, side_px],
            "useMSSSIM": metric == "MS-SSIM",
            "toGray": grey,
            "histEq": equalize,
        },
    )
    home.update()
    client = serve(files)  # the rest comes on another night
    home.update()
    expected = brute_force(files, metric, side_px, filters_on, grey, equalize)
    assert home.pairs("posted") == expected
    assert client.potentials <= expected
    assert len(expected) > 5


def brute_force(
    files: list[HydrusFile],
    metric: str,
    side_px: int,
    filters_on: bool,
    grey: bool,
    equalize: bool,
) -> set[frozenset[str]]:
    pictures = {file.hash: Image.open(io.BytesIO(file.thumbnail)).convert("RGB") for file in files}
    arrays = {
        name: prepared(picture, side_px, grey, equalize) for name, picture in pictures.items()
    }
    score = ms_ssim if metric == "MS-SSIM" else ssim
    return {
        frozenset((a.hash, b.hash))
        for a, b in combinations(files, 2)
        if durations_agree(a, b)
        and (not filters_on or ratios_agree(a, b))
        and (not filters_on or hash_distance(pictures[a.hash], pictures[b.hash]) <= HAMMING_MAX)
        and score(arrays[a.hash], arrays[b.hash]) >= THRESHOLD
    }


def durations_agree(a: HydrusFile, b: HydrusFile) -> bool:
    assert a.duration_ms is not None
    assert b.duration_ms is not None
    return abs(a.duration_ms - b.duration_ms) <= TOLERANCE_S * 1000


def ratios_agree(a: HydrusFile, b: HydrusFile) -> bool:
    assert None not in (a.width, a.height, b.width, b.height)
    one, two = a.width / a.height, b.width / b.height
    return abs(one - two) <= AR_TOLERANCE * max(one, two)


def hash_distance(a: Image.Image, b: Image.Image) -> int:
    return sum(one != two for one, two in zip(hash_bits(a), hash_bits(b), strict=True))


def hash_bits(picture: Image.Image) -> list[bool]:
    grey = picture.resize((64, 64), Image.Resampling.BILINEAR).convert("L")
    values = [int(value) for value in np.asarray(grey.reduce(8)).ravel()]
    return [value > sum(values) / 64 for value in values]


def prepared(picture: Image.Image, side_px: int, grey: bool, equalize: bool) -> NDArray[np.uint8]:
    luma = np.asarray(picture.convert("L"), float)
    top, bottom = kept([float(row.std()) for row in luma])
    left, right = kept([float(column.std()) for column in luma.T])
    picture = picture.crop((left, top, right, bottom))
    picture = picture.resize((side_px, side_px), Image.Resampling.BILINEAR)
    if grey:
        picture = picture.convert("L")
    channels = np.atleast_3d(np.asarray(picture, np.float32))
    for number in range(channels.shape[2]):
        channels[:, :, number] = gaussian_filter(channels[:, :, number].copy(), SIGMA)
    array = np.squeeze(np.rint(channels).astype(np.uint8))
    if equalize:
        array = np.asarray(ImageOps.equalize(Image.fromarray(array)))
    side = round(side_px * CENTER)
    start = (side_px - side) // 2
    return array[start : start + side, start : start + side]


def kept(contrasts: list[float]) -> tuple[int, int]:
    last = len(contrasts) - 1
    smooth = [
        sum(contrasts[min(max(near, 0), last)] for near in range(at - 2, at + 3)) / 5
        for at in range(len(contrasts))
    ]
    rows = [at for at, value in enumerate(smooth) if value > TRIM_STRENGTH * max(smooth)]
    if not rows or rows[-1] + 1 - rows[0] < MIN_KEEP * len(contrasts):
        return 0, len(contrasts)
    return rows[0], rows[-1] + 1


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    def tensor(array: NDArray[np.uint8]) -> Any:
        return torch.from_numpy(np.atleast_3d(array).transpose(2, 0, 1)[None] / np.float32(255))

    return float(pytorch_msssim.ms_ssim(tensor(a), tensor(b), data_range=1.0))


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    channel_axis = -1 if a.ndim == 3 else None
    return float(structural_similarity(a, b, data_range=255, channel_axis=channel_axis))
