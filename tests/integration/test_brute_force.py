"""The pairs that a run finds are those of the plain definition: each pair on its own.

No batches, no early exit, no bounds, no SQL: SSIM and MS-SSIM as the libraries compute them, and
the probability from all features.
"""

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from conftest import Home, Serve

from hydindex.config import config_file
from hydindex.demo.generated_library import generate_library
from hydindex.matching.average_hash import average_hash
from hydindex.matching.calibrated.features import compute_features
from hydindex.matching.calibrated.model import load_model, probabilities
from hydindex.matching.calibrated.signature import signature
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.threshold import reference
from hydindex.matching.threshold.preprocessing import preprocess
from hydindex.records.pictures import Signature, SignatureBatch
from hydindex.standin.state import HydrusFile

FILES = generate_library(seed=11, pictures=36)
PICTURES = {file: decode_thumbnail(file.thumbnail) for file in FILES}
TOLERANCE_S, AR_TOLERANCE, HAMMING_MAX, THRESHOLD = 1.0, 0.05, 20, 0.6


def found_in_two_runs(home: Home, serve: Serve) -> set[frozenset[str]]:
    """Return the pairs that are posted for a library whose last part comes later."""
    serve(FILES[:20])
    home.update()
    client = serve(FILES)
    home.update()
    assert client.potentials <= home.pairs("posted")
    return home.pairs("posted")


def neighbours() -> Iterable[tuple[HydrusFile, HydrusFile]]:
    for a, b in combinations(FILES, 2):
        if abs((a.duration_ms or 0) - (b.duration_ms or 0)) <= TOLERANCE_S * 1000:
            yield a, b


def aspect_ratio(file: HydrusFile) -> float:
    return (file.width or 0) / (file.height or 0)


def ratios_agree(one: float, other: float) -> bool:
    return abs(one - other) <= AR_TOLERANCE * max(one, other)


def combination(metric: str, *options: str) -> Any:
    """Mark all but the combinations that use the most code as slow."""
    chosen = metric == "MS-SSIM" and options == ("filters",)
    chosen |= metric == "SSIM" and options == ("colour", "equalized")
    marks = () if chosen else pytest.mark.slow
    return pytest.param(metric, options, id="-".join((metric, *options)), marks=marks)


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        combination(metric, *filter(None, options))
        for metric in ("MS-SSIM", "SSIM")
        for options in product(("", "filters"), ("", "colour"), ("", "equalized"))
    ],
)
def test_threshold_method(home: Home, serve: Serve, metric: str, options: tuple[str, ...]) -> None:
    filters, side_px = "filters" in options, 184 if metric == "MS-SSIM" else 64
    home.configure(
        decision={"method": "threshold"},
        filters={"use_ar_filter": filters, "use_ahash_prefilter": filters},
        ahash={"hammingMax": HAMMING_MAX},
        similarity_threshold=THRESHOLD,
        preprocessing={
            "fixedResize": [side_px, side_px],
            "useMSSSIM": metric == "MS-SSIM",
            "toGray": "colour" not in options,
            "histEq": "equalized" in options,
        },
    )
    found = found_in_two_runs(home, serve)
    settings = config_file.load(home.config).preprocessing
    prepared = {file: preprocess(picture, settings) for file, picture in PICTURES.items()}
    hashes = {file: average_hash(picture, (64, 64)) for file, picture in PICTURES.items()}
    score = reference.ms_ssim if metric == "MS-SSIM" else reference.ssim
    expected = {
        frozenset((a.hash, b.hash))
        for a, b in neighbours()
        if not filters or ratios_agree(aspect_ratio(a), aspect_ratio(b))
        if not filters or (hashes[a] ^ hashes[b]).bit_count() <= HAMMING_MAX
        if score(prepared[a], prepared[b]) >= THRESHOLD
    }
    assert found == expected
    assert len(expected) > 5


@pytest.mark.parametrize("filters", [True, False], ids=["filters", "no filters"])
def test_calibrated_method(home: Home, serve: Serve, filters: bool) -> None:
    home.configure(filters={"use_ar_filter": filters, "use_ahash_prefilter": filters})
    signatures = {file: signature(picture, (64, 64)) for file, picture in PICTURES.items()}
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
    return aspect_ratio(file), aspect_ratio(file) * made.content_aspect_factor


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
        min_structure=-1.0,
    )
    if len(features) == 0 or features["structure_8px"][0] < model.min_structure:
        return 0.0
    return float(probabilities(features, model)[0])
