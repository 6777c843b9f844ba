"""The pairs that a run finds are those of the plain definition, computed here pair by pair.

The threshold method is written out again, without hydindex's code. The calibrated method is its
features and its model, without batches, bounds and SQL.
"""

import io
from collections.abc import Callable, Iterable
from itertools import combinations, product
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
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.calibrated.probability import probabilities
from hydindex.matching.calibrated.signature import signature
from hydindex.records.pictures import Signature, SignatureBatch
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

FILES = generate_library(seed=11, pictures=36)
TOLERANCE_S, AR_TOLERANCE, HAMMING_MAX, THRESHOLD = 1.0, 0.05, 20, 0.6
TRIM_STRENGTH, MIN_KEEP, SIGMA, CENTER = 0.15, 0.7, 0.6, 0.9


def found_in_two_runs(home: Home, serve: Callable[..., StandIn]) -> set[frozenset[str]]:
    """Return the pairs that are posted for a library, the last part of which comes later."""
    serve(FILES[:20])
    home.update()
    client = serve(FILES)
    home.update()
    assert client.potentials <= home.pairs("posted")
    return home.pairs("posted")


def neighbours() -> Iterable[tuple[HydrusFile, HydrusFile]]:
    for a, b in combinations(FILES, 2):
        assert a.duration_ms is not None
        assert b.duration_ms is not None
        if abs(a.duration_ms - b.duration_ms) <= TOLERANCE_S * 1000:
            yield a, b


def aspect_ratio(file: HydrusFile) -> float:
    assert file.width is not None
    assert file.height is not None
    return file.width / file.height


def ratios_agree(one: float, other: float) -> bool:
    return abs(one - other) <= AR_TOLERANCE * max(one, other)


def decoded(file: HydrusFile) -> Image.Image:
    return Image.open(io.BytesIO(file.thumbnail)).convert("RGB")


def options(metric: str, filters: bool, colour: bool, equalized: bool) -> Any:
    """Mark all but the combinations that use the most code as slow."""
    chosen = {("MS-SSIM", True, False, False), ("SSIM", False, True, True)}
    values = (metric, filters, colour, equalized)
    names = [metric, *("filters",) * filters, *("colour",) * colour, *("equalized",) * equalized]
    marks = () if values in chosen else pytest.mark.slow
    return pytest.param(*values, id="-".join(names), marks=marks)


@pytest.mark.parametrize(
    ("metric", "filters", "colour", "equalized"),
    [options(*each) for each in product(["MS-SSIM", "SSIM"], *[[False, True]] * 3)],
)
def test_threshold_method(
    home: Home,
    serve: Callable[..., StandIn],
    metric: str,
    filters: bool,
    colour: bool,
    equalized: bool,
) -> None:
    side_px = 184 if metric == "MS-SSIM" else 64
    home.configure(
        decision={"method": "threshold"},
        filters={"use_ar_filter": filters, "use_ahash_prefilter": filters},
        ahash={"hammingMax": HAMMING_MAX},
        similarity_threshold=THRESHOLD,
        preprocessing={
            "fixedResize": [side_px, side_px],
            "useMSSSIM": metric == "MS-SSIM",
            "toGray": not colour,
            "histEq": equalized,
        },
    )
    pictures = {file: decoded(file) for file in FILES}
    arrays = {
        file: prepared(picture, side_px, colour=colour, equalized=equalized)
        for file, picture in pictures.items()
    }
    score = ms_ssim if metric == "MS-SSIM" else ssim
    expected = {
        frozenset((a.hash, b.hash))
        for a, b in neighbours()
        if not filters or ratios_agree(aspect_ratio(a), aspect_ratio(b))
        if not filters or hash_distance(pictures[a], pictures[b]) <= HAMMING_MAX
        if score(arrays[a], arrays[b]) >= THRESHOLD
    }
    assert found_in_two_runs(home, serve) == expected
    assert len(expected) > 5


def hash_distance(a: Image.Image, b: Image.Image) -> int:
    return int(np.sum(hash_bits(a) != hash_bits(b)))


def hash_bits(picture: Image.Image) -> NDArray[np.bool_]:
    grey = picture.resize((64, 64), Image.Resampling.BILINEAR).convert("L")
    values = np.asarray(grey.reduce(8)).ravel().astype(int)
    return values > values.sum() / 64


def prepared(
    picture: Image.Image, side_px: int, *, colour: bool, equalized: bool
) -> NDArray[np.uint8]:
    luma = np.asarray(picture.convert("L"), float)
    top, bottom = kept([float(row.std()) for row in luma])
    left, right = kept([float(column.std()) for column in luma.T])
    picture = picture.crop((left, top, right, bottom))
    picture = picture.resize((side_px, side_px), Image.Resampling.BILINEAR)
    if not colour:
        picture = picture.convert("L")
    channels = np.atleast_3d(np.asarray(picture, np.float32))
    for number in range(channels.shape[2]):
        channels[:, :, number] = gaussian_filter(channels[:, :, number].copy(), SIGMA)
    array = np.squeeze(np.rint(channels).astype(np.uint8))
    if equalized:
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


@pytest.mark.parametrize("filters", [True, False], ids=["filters", "no filters"])
def test_calibrated_method(home: Home, serve: Callable[..., StandIn], filters: bool) -> None:
    home.configure(filters={"use_ar_filter": filters, "use_ahash_prefilter": filters})
    signatures = {file: signature(decoded(file), (64, 64)) for file in FILES}
    expected = {}
    for a, b in neighbours():
        one, other = signatures[a], signatures[b]
        if not filters or (
            any(ratios_agree(x, y) for x, y in product(ratios(a, one), ratios(b, other)))
            and any((x ^ y).bit_count() <= 32 for x, y in product(hashes(one), hashes(other)))
        ):
            probability = calibrated_probability((a, one), (b, other), filters=filters)
            if probability >= 0.6:
                expected[frozenset((a.hash, b.hash))] = probability
    assert found_in_two_runs(home, serve) == expected.keys()
    scores = {frozenset((a.lower(), b.lower())): score for (a, b), score in home.scores().items()}
    assert scores == pytest.approx(expected)
    assert len(expected) > 5


def ratios(file: HydrusFile, made: Signature) -> tuple[float, float]:
    return aspect_ratio(file), aspect_ratio(file) * made.content_shape


def hashes(made: Signature) -> tuple[int, int]:
    return made.average_hash, made.content_hash


def calibrated_probability(*files: tuple[HydrusFile, Signature], filters: bool) -> float:
    """Return the probability of a single pair, from all of its features."""
    model = load_model()
    pair = SignatureBatch(
        duration_ms=np.array([file.duration_ms for file, _ in files], np.float64),
        aspect_ratio=np.array([ratios(*each)[0] for each in files]),
        average_hash=np.array([hashes(made)[0] for _, made in files], np.uint64),
        content_aspect_ratio=np.array([ratios(*each)[1] for each in files]),
        content_hash=np.array([hashes(made)[1] for _, made in files], np.uint64),
        has_bars=np.array([len(made.views) == 2 for _, made in files]),
        views=np.stack([made.views[[0, -1]] for _, made in files]),
    )
    _, features = compute_features(
        pair,
        np.array([0]),
        np.array([1]),
        aspect_ratio_tolerance=AR_TOLERANCE if filters else None,
        gate=-1.0,
    )
    if len(features) == 0 or features.structure_8px[0] < model.gate:
        return 0.0
    return float(probabilities(features, model)[0])
