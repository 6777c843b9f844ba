"""How a run compares: in batches, while it fetches, and without loading more than it needs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import (
    MS_SSIM,
    THRESHOLD,
    Home,
    Library,
    Serve,
    assert_all_posted_once,
    assert_sent_once,
    fetched,
    from_then_on,
    rows,
)
from made_pictures import encoded
from made_videos import jpeg
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from skimage import data

from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated import signature_cache
from hydindex.matching.decoding import decode_thumbnail
from hydindex.pipeline import compare
from hydindex.standin.server import DROP_BEFORE_WORK, StandIn
from hydindex.standin.state import HydrusFile

# How far float arithmetic in blocks of other sizes may move a score.
ROUNDING = 1e-5
FILTERS_OFF = {"use_ar_filter": False, "use_ahash_prefilter": False}


def same_length(files: Library) -> Library:
    """Make every file a neighbour of every other."""
    return [replace(file, duration_ms=10_000) for file in files]


def far_apart(files: Library) -> Library:
    """Leave no file with a candidate."""
    return [replace(file, duration_ms=10_000 * number) for number, file in enumerate(files)]


@pytest.mark.parametrize(
    ("config", "batch_files", "batch_pairs"),
    [({}, 1, 1000), ({}, 256, 7), (MS_SSIM, 256, 7), (THRESHOLD, 1, 1000)],
)
def test_the_size_of_a_batch_changes_no_result(
    home: Home,
    serve: Serve,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    batch_files: int,
    batch_pairs: int,
) -> None:
    """A batch holds a single file, or a file has more candidates than a batch holds."""
    client = serve(same_length(library[:24]))
    home.configure(**config, filters=FILTERS_OFF)
    whole = home.update()["pairs"]
    expected = home.scores()

    home.forget()
    monkeypatch.setattr(compare, "_BATCH_FILES", batch_files)
    monkeypatch.setattr(compare, "_BATCH_PAIRS", batch_pairs)
    in_batches = home.update()["pairs"]
    assert (in_batches["scored"], in_batches["matched"]) == (whole["scored"], whole["matched"])
    assert home.scores() == pytest.approx(expected, abs=1e-5)
    assert len(rows(client)) == whole["matched"] > 0


def test_the_size_of_the_signature_cache_changes_no_result(
    home: Home, serve: Serve, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is emptied several times."""
    client = serve(same_length(library))
    home.configure(filters=FILTERS_OFF)
    home.update()
    expected = home.scores()

    home.forget()
    monkeypatch.setattr(compare, "_BATCH_PAIRS", 1)
    monkeypatch.setattr(signature_cache, "_MAX_FILES", 12)
    home.update()
    assert home.scores() == pytest.approx(expected, abs=1e-9)
    assert len(rows(client)) == len(expected) > 10


def cropped(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Cut the largest part of a shape from the middle."""
    return ImageOps.fit(picture, _fitting(picture, width, height))


def on_blurred_bars(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Put a wide picture on a taller one, made of its own blurred middle."""
    ground = cropped(picture, width, height).filter(ImageFilter.GaussianBlur(8))
    small = picture.resize((ground.width, round(ground.width * picture.height / picture.width)))
    ground.paste(small, (0, (ground.height - small.height) // 2))
    return ground


def _fitting(picture: Image.Image, width: int, height: int) -> tuple[int, int]:
    scale = min(picture.width / width, picture.height / height)
    return round(width * scale), round(height * scale)


@pytest.mark.parametrize(
    ("alter", "names"),
    [
        (lambda picture: picture, set()),
        (ImageOps.mirror, {"mirrored"}),
        (lambda picture: cropped(picture, 4, 3), {"cropped"}),
        (lambda picture: cropped(picture, 1, 1), {"cropped"}),
        (lambda picture: cropped(picture, 9, 16), {"cropped"}),
        (lambda picture: cropped(ImageOps.mirror(picture), 4, 3), {"cropped", "mirrored"}),
        (lambda picture: on_blurred_bars(picture, 1, 1), {"cropped"}),
    ],
    ids=["as it is", "mirrored", "to 4:3", "to 1:1", "to 9:16", "mirrored, to 4:3", "blurred bars"],
)
def test_altered_copies_are_found_and_named(
    home: Home, serve: Serve, alter: Callable[[Image.Image], Image.Image], names: set[str]
) -> None:
    original = with_shape(generate_library(seed=3, pictures=12)[0], data.astronaut()[60:348])
    copy = with_shape(replace(original, hash="ab" * 32), np.asarray(alter(decoded(original))))
    client = serve([original, copy])
    home.update()
    assert client.potentials == {frozenset((original.hash, copy.hash))}
    (listed,) = home.run("pairs", "--json").json["pairs"]
    assert {name for name in ("mirrored", "cropped") if listed["features"][name]} == names


def test_a_gradient_is_no_copy_of_its_parts(home: Home, serve: Serve) -> None:
    """Of a gradient, every part looks alike."""
    wide = np.linspace(20, 220, 320)[None, :, None] * np.ones((180, 1, 3))
    (file,) = generate_library(seed=3, pictures=1)[:1]
    original = with_shape(file, wide.astype(np.uint8))
    part = with_shape(replace(file, hash="ab" * 32), wide[:, 40:280].astype(np.uint8))
    client = serve([original, part])
    result = home.update()
    assert result["pairs"]["scored"] == 1
    assert client.potentials == frozenset()


def decoded(file: HydrusFile) -> Image.Image:
    return decode_thumbnail(file.thumbnail)


def with_shape(file: HydrusFile, picture: NDArray[np.uint8]) -> HydrusFile:
    """Give a file a picture, and its size."""
    height, width = picture.shape[:2]
    encoded_picture = encoded(Image.fromarray(picture), "JPEG", quality=85)
    return replace(file, thumbnail=encoded_picture, width=width, height=height)


def test_files_that_have_nothing_in_common_are_compared_once(home: Home, serve: Serve) -> None:
    """No pair reaches `min_structure` of the calibrated method."""
    home.configure(filters=FILTERS_OFF)
    hills = np.random.default_rng(1).integers(0, 256, (8, 10), np.uint8)
    one, other = same_length(generate_library(seed=3, pictures=2))
    client = serve(
        [replace(one, thumbnail=jpeg(hills)), replace(other, thumbnail=jpeg(255 - hills))]
    )
    result = home.update()
    assert (result["pairs"]["scored"], result["matcher"]["similar_enough"]) == (1, 0)
    assert client.potentials == frozenset()
    assert home.update()["pairs"]["scored"] == 0


def test_files_are_compared_while_others_are_being_fetched(home: Home, serve: Serve) -> None:
    """Hydrus goes away before the last of 330 files: the first are compared, the others kept."""
    client = serve(generate_library(seed=5, pictures=330))
    client.faults = from_then_on("/get_files/thumbnail", DROP_BEFORE_WORK, since=301)
    home.fail("update", expect=3, kind="hydrus_unreachable")
    ((saved, compared),) = home.sql("SELECT count(*), count(compared_since) FROM file")
    assert compared == 256 <= saved < 330

    client.faults = lambda *_: None
    client.clear_log()
    assert home.update()["files"]["indexed"] == 330
    assert len(fetched(client)) == 330 - saved
    assert_all_posted_once(client)


def test_an_interrupted_comparison_keeps_its_batches(
    home: Home, serve: Serve, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index fails as the last of 40 files joins; none of them has a candidate."""
    serve([])
    home.update()
    home.sql(
        "CREATE TRIGGER full BEFORE UPDATE OF compared_since ON file "
        "WHEN (SELECT count(compared_since) FROM file) = 39 BEGIN SELECT RAISE(ABORT, ''); END"
    )
    serve(far_apart(library))
    monkeypatch.setattr(compare, "_BATCH_FILES", 1)
    assert home.run("update").exit_code != 0
    assert home.sql("SELECT count(compared_since) FROM file") == [(39,)]
    home.sql("DROP TRIGGER full")
    home.update()
    assert home.sql("SELECT count(compared_since) FROM file") == [(40,)]


def test_without_candidates_no_cluster_is_needed(
    home: Home, serve: Serve, library: Library
) -> None:
    serve(far_apart(library[:5]))
    home.configure(compare={"scheduler": "tcp://127.0.0.1:9"})
    assert home.update()["files"]["indexed"] == 5
    assert home.sql("SELECT count(compared_since) FROM file") == [(5,)]


@pytest.mark.usefixtures("client")
def test_ms_ssim_computes_a_level_only_for_pairs_that_may_still_match(home: Home) -> None:
    home.configure(**MS_SSIM, filters=FILTERS_OFF)
    result = home.update()
    computed = [result["matcher"]["levels"][level] for level in "54321"]
    assert computed == sorted(computed, reverse=True)
    assert result["pairs"]["candidates"] == computed[0] > computed[-1] >= result["pairs"]["matched"]


def test_pairs_that_coarse_levels_rule_out_need_no_full_pictures(home: Home, serve: Serve) -> None:
    """All full pictures are damaged, and no error occurs: the coarse ones are enough."""
    files = [file for file in generate_library(seed=9, pictures=40) if "copy:original" in file.tags]
    client = serve(same_length(files[:11]))
    home.configure(**MS_SSIM, filters=FILTERS_OFF, similarity_threshold=0.97)
    home.update()
    home.sql("UPDATE prepared_picture SET picture = x'00'")
    client.add(same_length(files[11:12]))
    result = home.update()
    assert result["pairs"]["scored"] == result["matcher"]["levels"]["5"] == 11
    assert [result["matcher"]["levels"][level] for level in "321"] == [0, 0, 0]


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("config", [{}, THRESHOLD], ids=["calibrated", "threshold"])
def test_a_missing_device_is_a_config_error_before_anything_is_fetched(
    home: Home, client: StandIn, config: dict[str, Any], device: str
) -> None:
    torch = pytest.importorskip("torch")
    if (torch.cuda if device == "cuda" else torch.backends.mps).is_available():
        pytest.skip(f"{device} is available")
    home.configure(**config, compare={"device": device})
    for command in ("update", "check"):
        outcome = home.run(command, "--json")
        assert outcome.exit_code == 2
        assert f"compare.device is {device}" in outcome.out
    assert fetched(client) == set()
    home.configure(compare={"device": "auto"})
    assert home.update()["pairs"]["posted"] > 0


@pytest.mark.usefixtures("client")
def test_results_do_not_depend_on_threads(home: Home) -> None:
    runs = []
    for threads, connections in (("1", 1), ("4", 8)):
        home.configure(network={"max_connections": connections})
        outcome = home.run_process("update", "--dry-run", OPENBLAS_NUM_THREADS=threads)
        assert outcome.exit_code == 0, outcome
        runs.append(home.scores())
        home.forget()
    assert runs[0] == pytest.approx(runs[1], abs=ROUNDING)
    assert len(runs[0]) > 5


def test_the_device_is_no_part_of_the_recipe(home: Home, posted: StandIn) -> None:
    home.configure(compare={"device": "cpu"})
    assert home.update()["pairs"]["queued"] == 0
    assert home.rebuild("--dry-run")["changes"] == []
    assert_sent_once(posted)
