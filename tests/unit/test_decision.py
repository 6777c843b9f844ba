"""The calibrated decision: what a cheap_features rules out could not have matched."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hydindex.matching.calibrated.features import cheap_features, remaining_features
from hydindex.matching.calibrated.model import CalibratedModel, Weights, load_model
from hydindex.matching.calibrated.probability import log_odds, may_reach, probabilities
from hydindex.records.pictures import VIEW_PX, SignatureBatch

FILES = 16
FIRST, SECOND = np.triu_indices(FILES, 1)
SHIPPED = load_model()


def files_of(seed: int) -> SignatureBatch:
    """Make files of noise, of smooth pictures and flat ones, and altered copies of some."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (FILES, 4, 4)).repeat(8, axis=1).repeat(8, axis=2)
    noise = rng.normal(0, rng.choice([0, 2, 60], (FILES, 1, 1)), (FILES, VIEW_PX, VIEW_PX))
    pictures = coarse * rng.choice([0.0, 0.1, 1.0], (FILES, 1, 1)) + noise
    copies = rng.integers(0, FILES // 2, FILES // 2)
    pictures[FILES // 2 :] = pictures[copies] + rng.normal(0, 3, pictures[copies].shape)
    views = pictures.clip(0, 255).astype(np.uint8)[:, None].repeat(2, axis=1)
    same = np.ones(FILES)
    return SignatureBatch(
        duration_ms=rng.choice([1000.0, 1500.0, np.nan], FILES),
        aspect_ratio=same,
        average_hash=np.zeros(FILES, np.uint64),
        content_aspect_ratio=same,
        content_hash=np.zeros(FILES, np.uint64),
        has_bars=np.zeros(FILES, np.bool_),
        views=views,
    )


def variances(view: NDArray[np.float64]) -> NDArray[np.float64]:
    """The variance in a Gaussian window around every pixel, summed pixel by pixel."""
    result = np.empty_like(view)
    rows, columns = np.mgrid[:VIEW_PX, :VIEW_PX]
    for y, x in np.ndindex(view.shape):
        window = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2))
        window /= window.sum()
        result[y, x] = (window * view**2).sum() - (window * view).sum() ** 2
    return np.maximum(result, 0.0)


weights = st.builds(Weights, **dict.fromkeys(Weights.model_fields, st.floats(-6, 6)))


@pytest.mark.parametrize("least", [0.0, 0.02, 0.6, 1.0])
@settings(max_examples=40)
@given(seed=st.integers(0, 1000), of_model=weights | st.just(SHIPPED.weights))
def test_what_a_glance_rules_out_could_not_have_matched(
    least: float, seed: int, of_model: Weights
) -> None:
    model = CalibratedModel(gate=-1.0, weights=of_model, fitted={})
    seen = cheap_features(
        files_of(seed), FIRST, SECOND, aspect_ratio_tolerance=None, gate=model.gate
    )
    matches = probabilities(remaining_features(seen), model) >= least
    assert not np.any(matches & ~may_reach(seen, model, least))


def test_a_glance_rules_out_most_pairs_that_do_not_match() -> None:
    seen = cheap_features(files_of(0), FIRST, SECOND, aspect_ratio_tolerance=None, gate=-1.0)
    matches = probabilities(remaining_features(seen), SHIPPED) >= 0.6
    ruled_out = ~may_reach(seen, SHIPPED, 0.6)
    assert ruled_out.sum() > np.count_nonzero(~matches) / 2 > 0


def test_details_differ_as_the_plain_definition_says() -> None:
    files = files_of(3)
    seen = cheap_features(files, FIRST, SECOND, aspect_ratio_tolerance=None, gate=-1.0)
    found = remaining_features(seen).detail_difference
    views = files.views[:, 0].astype(np.float64)
    strays = [variances(view) for view in views]
    for row, (one, other) in enumerate(zip(seen.first.tolist(), seen.second.tolist(), strict=True)):
        weights = np.log1p((strays[one] + strays[other]) / 2.0)
        pixels = (views[each] - np.median(views[each]) for each in (one, other))
        apart = np.abs(np.subtract(*pixels))
        below = [weights[apart <= each].sum() for each in (found[row] - 0.25, found[row])]
        share = 0.85 * weights.sum()
        # No value lies between a difference and a quarter less: all are halves.
        assert below[0] - 1e-6 <= share <= below[1] + 1e-6


def test_what_stands_out_counts_though_most_pixels_agree() -> None:
    """Two title cards: black in nearly all places, and white in different ones."""
    seen = cheap_features(files_of(4), FIRST, SECOND, aspect_ratio_tolerance=None, gate=-1.0)
    black = replace(remaining_features(seen), difference=np.zeros(len(seen)))
    alike, unlike = (
        log_odds(replace(black, detail_difference=np.full(len(seen), grey_levels)), SHIPPED)
        for grey_levels in (3.0, 100.0)
    )
    assert np.all(unlike < alike - 5)


def test_pairs_looked_at_closely_show_the_same_alone_and_among_others() -> None:
    seen = cheap_features(files_of(2), FIRST, SECOND, aspect_ratio_tolerance=None, gate=-1.0)
    every, some = np.ones(len(seen), np.bool_), np.arange(len(seen)) % 7 == 0
    among_all, alone = (
        probabilities(remaining_features(seen[each]), SHIPPED) for each in (every, some)
    )
    assert np.array_equal(among_all[some], alone)
