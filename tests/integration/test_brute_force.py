"""The pairs that a run finds are those of the plain definition."""

from itertools import product
from typing import Any

import pytest
from conftest import Home, Serve
from plain_definition import matching_pairs

from hydindex.config import config_file
from hydindex.demo.generated_library import generate_library

FILES = generate_library(seed=11, pictures=36)


def found_in_two_runs(home: Home, serve: Serve) -> set[frozenset[str]]:
    """Return the pairs that are posted for a library whose last part comes later."""
    serve(FILES[:20])
    home.update()
    client = serve(FILES)
    home.update()
    assert client.potentials <= home.pairs("posted")
    return home.pairs("posted")


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
        ahash={"hammingMax": 20},
        preprocessing={
            "fixedResize": [side_px, side_px],
            "useMSSSIM": metric == "MS-SSIM",
            "toGray": "colour" not in options,
            "histEq": "equalized" in options,
        },
    )
    expected = matching_pairs(FILES, config_file.load(home.config))
    assert found_in_two_runs(home, serve) == expected.keys()
    assert len(expected) > 5


@pytest.mark.parametrize("filters", [True, False], ids=["filters", "no filters"])
def test_calibrated_method(home: Home, serve: Serve, filters: bool) -> None:
    home.configure(filters={"use_ar_filter": filters, "use_ahash_prefilter": filters})
    expected = matching_pairs(FILES, config_file.load(home.config))
    assert found_in_two_runs(home, serve) == expected.keys()
    assert home.scores() == pytest.approx(expected)
    assert len(expected) > 5
