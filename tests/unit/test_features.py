"""Features and the model: the fast way gives what the plain definition gives, and loses no pair."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hydindex.common.errors import ConfigError
from hydindex.matching.calibrated.aligned_views import AlignedViews
from hydindex.matching.calibrated.alignment import align
from hydindex.matching.calibrated.features import (
    FEATURES,
    LAST_STAGE,
    MODEL_FEATURES,
    Features,
)
from hydindex.matching.calibrated.model import (
    INTERCEPT,
    OutdatedModel,
    load_model,
    log_odds,
    may_reach,
    probabilities,
)
from hydindex.records.pictures import VIEW_PX, SignatureBatch

FILES = 16
FIRST, SECOND = np.triu_indices(FILES, 1)
SHIPPED = load_model()


def signatures(seed: int) -> SignatureBatch:
    """Noise, smooth pictures and flat ones, and altered copies of some."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (FILES, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    noise = rng.normal(0, rng.choice([0, 2, 60], (FILES, 1, 1)), (FILES, VIEW_PX, VIEW_PX))
    pictures = coarse * rng.choice([0.0, 0.1, 1.0], (FILES, 1, 1)) + noise
    copies = rng.integers(0, FILES // 2, FILES // 2)
    pictures[FILES // 2 :] = pictures[copies] + rng.normal(0, 3, pictures[copies].shape)
    views = pictures.clip(0, 255).astype(np.uint8)[:, None].repeat(2, axis=1)
    return SignatureBatch(
        duration_ms=rng.choice([1000.0, 1500.0, np.nan], FILES),
        aspect_ratio=np.ones(FILES),
        content_aspect_ratio=np.ones(FILES),
        has_bars=np.zeros(FILES, np.bool_),
        views=views,
    )


def aligned(seed: int) -> AlignedViews:
    return align(signatures(seed), FIRST, SECOND, min_structure=-1.0)


def every(seed: int) -> Features:
    return Features.measure(aligned(seed))


def variances(view: NDArray[np.float64]) -> NDArray[np.float64]:
    """The variance in a Gaussian window around every pixel, summed pixel by pixel."""
    result = np.empty_like(view)
    rows, columns = np.mgrid[:VIEW_PX, :VIEW_PX]
    for y, x in np.ndindex(view.shape):
        window = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2))
        window /= window.sum()
        result[y, x] = (window * view**2).sum() - (window * view).sum() ** 2
    return np.maximum(result, 0.0)


# Stages


WEIGHTS = st.fixed_dictionaries(dict.fromkeys((INTERCEPT, *MODEL_FEATURES), st.floats(-6, 6)))


@pytest.mark.parametrize("min_probability", [0.0, 0.02, 0.6, 1.0])
@settings(max_examples=40)
@given(seed=st.integers(0, 1000), weights=WEIGHTS | st.just(SHIPPED.weights))
def test_no_pair_that_matches_is_ruled_out_by_the_first_stages(
    min_probability: float, seed: int, weights: dict[str, float]
) -> None:
    model = SHIPPED.model_copy(update={"weights": weights})
    matches = probabilities(every(seed), model) >= min_probability
    for stages in range(1, LAST_STAGE + 1):
        known = Features.measure(aligned(seed), range(stages))
        assert not np.any(matches & ~may_reach(known, model, min_probability))


def test_a_pair_has_the_same_probability_alone_and_among_others() -> None:
    some = np.arange(len(FIRST)) % 7 == 0
    among_all = probabilities(every(2), SHIPPED)
    alone = probabilities(Features.measure(aligned(2).select(some)), SHIPPED)
    assert np.array_equal(among_all[some], alone)


# Details


def test_details_differ_as_the_plain_definition_says() -> None:
    differences = every(3)["detail_difference"]
    views = signatures(3).views[:, 0].astype(np.float64)
    variances_of = [variances(view) for view in views]
    for value, one, other in zip(differences, FIRST, SECOND, strict=True):
        weights = np.log1p((variances_of[one] + variances_of[other]) / 2.0)
        a, b = (views[each] - np.median(views[each]) for each in (one, other))
        # All differences are multiples of a half: none lies within a quarter of another.
        below, up_to = (
            weights[np.abs(a - b) <= limit].sum() / weights.sum() for limit in (value - 0.25, value)
        )
        assert below - 1e-9 <= 0.85 <= up_to + 1e-9


def test_details_count_even_if_most_pixels_agree() -> None:
    """Two title cards: black almost everywhere, and white in different places."""
    features = every(4)
    same = {**features.values, "difference": np.zeros(len(features))}
    alike, unlike = (
        log_odds(Features({**same, "detail_difference": np.full(len(features), levels)}), SHIPPED)
        for levels in (3.0, 100.0)
    )
    assert np.all(unlike < alike - 2)


# The table and the model file


def test_stored_features_come_back_rounded_and_unknown_ones_as_unknown() -> None:
    features = every(1)
    stored = [json.loads(json.dumps(features.of_pair(row))) for row in range(len(features))]
    loaded = Features.load(stored)
    assert np.isnan(loaded["duration_difference_ms"]).any()
    for feature in FEATURES:
        np.testing.assert_allclose(loaded[feature.name], features[feature.name], atol=5e-5)


def test_a_model_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(SHIPPED.to_json(), encoding="utf-8")
    assert load_model(path) == SHIPPED
    others = [
        SHIPPED.model_copy(update={"min_structure": 0.2}),
        SHIPPED.model_copy(update={"weights": {**SHIPPED.weights, "contours": 1.0}}),
        SHIPPED.model_copy(update={"features_version": 99}),
    ]
    assert SHIPPED.fingerprint == SHIPPED.model_copy(update={"fitted": {}}).fingerprint
    assert len({each.fingerprint for each in (SHIPPED, *others)}) == 4


def weights_without(name: str) -> dict[str, float]:
    return {key: value for key, value in SHIPPED.weights.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"features_version": 99}, OutdatedModel),
        ({"features_version": 99, "weights": {"a feature of old": 1.0}}, OutdatedModel),
        ({"features_version": "1"}, ConfigError),
        ({"weights": weights_without("contours")}, ConfigError),
        ({"weights": weights_without(INTERCEPT)}, ConfigError),
        ({"weights": {**SHIPPED.weights, "similarity": 1.0}}, ConfigError),
        ({"weights": {**SHIPPED.weights, "contours": float("nan")}}, ConfigError),
        ({"min_structure": 1.5}, ConfigError),
        ({"unknown": 1}, ConfigError),
    ],
)
def test_a_file_that_is_no_current_model_is_refused(
    tmp_path: Path, changes: dict[str, Any], kind: type[ConfigError]
) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**SHIPPED.model_dump(), **changes}), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_model(path)
    assert type(raised.value) is kind
    assert str(path) in raised.value.message
    assert "hydindex calibrate --write" in raised.value.remedy
    assert "remove decision.model" in raised.value.remedy
