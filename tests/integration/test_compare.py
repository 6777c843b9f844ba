"""How a run goes about comparing: in steps, side by side with fetching, and reading little."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from conftest import Home, rows
from numpy.typing import NDArray
from PIL import Image

from hydindex.demo.generated_library import generate_library
from hydindex.matching.threshold.threshold_matcher import ThresholdMatcher
from hydindex.pipeline import compare
from hydindex.standin.faults import DROP_BEFORE_WORK
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
FILTERS_OFF = {"use_ar_filter": False, "use_ahash_prefilter": False}
LARGE_ENOUGH_FOR_MS_SSIM = {"fixedResize": [184, 184], "useMSSSIM": True}


def same_length(files: list[HydrusFile]) -> list[HydrusFile]:
    """A hot bucket: every file is a neighbour of every other."""
    return [replace(file, duration_ms=10_000) for file in files]


@pytest.mark.parametrize("metric", ["MS-SSIM", "SSIM"])
@pytest.mark.parametrize(("files_a_step", "pairs_a_step"), [(1, 1000), (3, 1000), (256, 7)])
def test_the_size_of_a_step_changes_no_result(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    files_a_step: int,
    pairs_a_step: int,
) -> None:
    """One file has more candidates than a step holds, or a step holds few files."""
    client = serve(same_length(library[:24]))
    if metric == "MS-SSIM":
        home.configure(preprocessing=LARGE_ENOUGH_FOR_MS_SSIM)
    home.configure(filters=FILTERS_OFF)
    at_once = home.update()["pairs"]
    whole = home.scores()

    home.forget()
    monkeypatch.setattr(compare, "_FILES_A_STEP", files_a_step)
    monkeypatch.setattr(compare, "_PAIRS_A_STEP", pairs_a_step)
    in_steps = home.update()["pairs"]
    assert (in_steps["scored"], in_steps["matched"]) == (24 * 23 / 2, at_once["matched"])
    assert home.scores() == pytest.approx(whole, abs=1e-5)
    assert len(rows(client)) == at_once["matched"] > 0


def test_a_night_of_files_that_have_nothing_in_common_is_an_ordinary_night(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    """No pair passes the gate of the calibrated decision."""
    home.configure(decision={"method": "calibrated"}, filters=FILTERS_OFF)
    one, inverted = unlike_pictures()
    client = serve(
        [
            replace(file, duration_ms=10_000, thumbnail=thumbnail)
            for file, thumbnail in zip(library, (one, inverted), strict=False)
        ]
    )
    result = home.update()
    assert (result["pairs"]["scored"], result["sieve"]["weighed"]) == (1, 0)
    assert client.potentials == frozenset()
    assert home.update()["pairs"]["scored"] == 0


def unlike_pictures() -> tuple[bytes, bytes]:
    """Two thumbnails, bright where the other is dark."""
    hills = np.random.default_rng(1).integers(0, 256, (8, 10), np.uint8)

    def jpeg(grey: NDArray[np.uint8]) -> bytes:
        file = BytesIO()
        Image.fromarray(grey).resize((150, 120)).save(file, "JPEG")
        return file.getvalue()

    return jpeg(hills), jpeg(255 - hills)


def test_files_are_compared_while_others_are_still_being_fetched(home: Home, serve: Serve) -> None:
    """Hydrus goes away before the last of 330 files: what came early is compared already."""
    client = serve(generate_library(seed=5, pictures=330))
    client.faults = lambda _, path, nth: (
        DROP_BEFORE_WORK
        if (path == "/get_files/thumbnail" and nth > 300) or (path == "/api_version" and nth > 1)
        else None
    )
    assert home.run("update").exit_code == 3
    ((saved, compared),) = home.sql("SELECT count(*), count(compared_since) FROM file")
    assert compared == 256 <= saved < 330
    client.faults = lambda *_: None
    assert home.update()["files"]["indexed"] == 330
    assert len(rows(client)) == len(set(rows(client))) > 0


def test_hopeless_pairs_never_touch_the_full_pictures(home: Home, serve: Serve) -> None:
    """All full pictures are damaged, and nobody notices: the coarse ones are enough."""
    files = [file for file in generate_library(seed=9, pictures=40) if "copy:original" in file.tags]
    client = serve(same_length(files[:11]))
    home.configure(
        filters=FILTERS_OFF, preprocessing=LARGE_ENOUGH_FOR_MS_SSIM, similarity_threshold=0.97
    )
    home.update()
    home.sql("UPDATE prepared_picture SET pixels = x'00'")
    client.add(same_length(files[11:12]))
    result = home.update()
    assert result["pairs"]["scored"] == 11
    assert result["sieve"]["levels"]["5"] == 11
    assert [result["sieve"]["levels"][level] for level in "321"] == [0, 0, 0]


def test_what_is_compared_is_kept_though_nothing_was_alike(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C as the last of 40 files is about to join, of which none has a single candidate."""
    serve([replace(file, duration_ms=10_000 * at) for at, file in enumerate(library)])
    monkeypatch.setattr(compare, "_FILES_A_STEP", 1)
    joined = ThresholdMatcher.submit

    def interrupted_at_the_end(self: ThresholdMatcher, *pairs: Any) -> Any:
        if home.sql("SELECT count(compared_since) FROM file") == [(39,)]:
            raise KeyboardInterrupt
        return joined(self, *pairs)

    monkeypatch.setattr(ThresholdMatcher, "submit", interrupted_at_the_end)
    assert home.run("update").exit_code == 130
    assert home.sql("SELECT count(compared_since) FROM file") == [(39,)]


def test_a_cluster_is_not_asked_for_where_nothing_has_to_be_scored(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve([replace(file, duration_ms=10_000 * at) for at, file in enumerate(library[:5])])
    home.configure(compare={"scheduler": "tcp://127.0.0.1:9"})
    assert home.update()["files"]["indexed"] == 5
    assert home.sql("SELECT count(compared_since) FROM file") == [(5,)]


def test_the_report_tells_how_many_pairs_each_level_let_through(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.configure(preprocessing=LARGE_ENOUGH_FOR_MS_SSIM, filters=FILTERS_OFF)
    result = home.update()
    entered = [result["sieve"]["levels"][level] for level in "54321"]
    assert entered == sorted(entered, reverse=True)
    assert result["pairs"]["candidates"] == entered[0] > entered[-1] >= result["pairs"]["matched"]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_a_matter_of_the_config(
    home: Home, serve: Serve, library: list[HydrusFile], device: str
) -> None:
    torch = pytest.importorskip("torch")
    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip(f"{device} is there")
    client = serve(library)
    home.configure(compare={"device": device})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert f"compare.device is {device}" in outcome.json["error"]["message"]
    home.configure(compare={"device": "auto"})
    assert home.update()["pairs"]["posted"] == len(client.potentials) > 0
