"""Thumbnails are decoded, hashed and preprocessed by definition, or have a reason why not."""

import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_pictures import encoded
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from hydindex.config.sections import PreprocessingSettings
from hydindex.config.settings import Config
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.method import method_for
from hydindex.matching.threshold.average_hash import average_hash
from hydindex.matching.threshold.preprocessing import preprocess, trim_box
from hydindex.records.pictures import Picture, PreparedThumbnail

# At a strength of 1 nothing is trimmed: no contrast exceeds the largest.
RESIZED_ONLY = PreprocessingSettings.model_validate(
    {
        "fixedResize": (96, 64),
        "preBlurSigma": 0.0,
        "useMSSSIM": False,
        "centerFrac": 1.0,
        "trimStrength": 1.0,
    }
)


def with_settings(**changes: Any) -> PreprocessingSettings:
    return RESIZED_ONLY.model_copy(update=changes)


def preprocessed(
    picture: Image.Image | bytes, settings: PreprocessingSettings = RESIZED_ONLY
) -> Picture:
    encoded_picture = picture if isinstance(picture, bytes) else encoded(picture)
    return preprocess(decode_thumbnail(encoded_picture), settings)


def scene(width_px: int = 320, height_px: int = 240, seed: int = 1) -> Image.Image:
    """Soft shapes with some grain, like a frame of a film."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    soft = np.asarray(shapes.resize((width_px, height_px), Image.Resampling.BICUBIC), float)
    return Image.fromarray(np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8))


SMALL_SCENE = scene(96, 64)
METHODS = ["threshold", "calibrated"]


# Average hash


def cell_bits(cells: NDArray[Any]) -> int:
    """The hash of 64 values: one bit each, the first one highest."""
    mean = sum(cells.ravel().tolist()) / 64
    return int("".join("1" if cell > mean else "0" for cell in cells.ravel().tolist()), 2)


@given(cells=arrays(np.uint8, (8, 8)))
@example(cells=np.full((8, 8), 90, np.uint8))
@settings(max_examples=50)
def test_a_bit_is_set_where_a_cell_is_above_the_mean(cells: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(cells.repeat(8, axis=0).repeat(16, axis=1)).convert("RGB")
    assert average_hash(picture, (128, 64)) == cell_bits(cells.astype(int))


@pytest.mark.parametrize("size_px", [(320, 240), (97, 211), (20, 30)])
def test_the_hash_is_of_the_reduced_grey_picture(size_px: tuple[int, int]) -> None:
    picture = scene(*size_px)
    reduced = picture.resize((32, 128), Image.Resampling.BILINEAR).convert("L")
    cells = np.asarray(reduced, np.float64).reshape(8, 16, 8, 4).mean(axis=(1, 3))
    # Rounding between the steps can flip a cell close to the mean.
    assert (average_hash(picture, (32, 128)) ^ cell_bits(cells)).bit_count() <= 1


def test_the_hash_is_of_the_untrimmed_picture() -> None:
    config = Config.model_validate({"ahash": {"resize": (8, 128)}})
    framed = Image.new("RGB", (400, 240))
    framed.paste(scene(), (40, 0))
    outcome = method_for(config).prepare(encoded(framed))
    assert isinstance(outcome, PreparedThumbnail)
    assert outcome.average_hash == average_hash(framed, (8, 128))


# Trimming


def plain_kept(contrast: list[float], strength: float, min_keep: float) -> tuple[int, int]:
    """One direction of the trimming, by the definition."""
    count = len(contrast)
    smooth = [
        sum(contrast[min(max(near, 0), count - 1)] for near in range(at - 2, at + 3)) / 5
        for at in range(count)
    ]
    threshold = strength * max(smooth)
    assume(all(abs(value - threshold) > 1e-9 for value in smooth))  # rounding would decide
    kept = [at for at, value in enumerate(smooth) if value > threshold]
    if not kept or kept[-1] + 1 - kept[0] < min_keep * count:
        return 0, count
    return kept[0], kept[-1] + 1


@given(
    inner=arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))),
    borders=st.tuples(*[st.integers(0, 12)] * 4),
    border_grey=st.integers(0, 255),
    strength=st.floats(0.01, 0.99),
    min_keep=st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
)
def test_trimming_follows_its_definition(
    inner: NDArray[np.uint8],
    borders: tuple[int, int, int, int],
    border_grey: int,
    strength: float,
    min_keep: float,
) -> None:
    left, top, right, bottom = borders
    grey = np.pad(inner, ((top, bottom), (left, right)), constant_values=border_grey)
    assume(np.ptp(grey) > 0)
    kept_columns = plain_kept(grey.std(axis=0).tolist(), strength, min_keep)
    kept_rows = plain_kept(grey.std(axis=1).tolist(), strength, min_keep)
    box = trim_box(grey, strength, min_keep)
    assert box == (kept_columns[0], kept_rows[0], kept_columns[1], kept_rows[1])


def test_strength_zero_still_trims_perfectly_flat_borders() -> None:
    grain = np.random.default_rng(5).integers(0, 256, (80, 80), np.uint8)
    framed = np.pad(grain, 10)
    assert trim_box(framed, 0.0, 0.7) == (8, 8, 92, 92)


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    grey=st.integers(0, 255),
    strength=st.floats(0, 1),
)
@example(size=(1, 1), grey=0, strength=0.0)
def test_a_flat_picture_is_not_trimmed(size: tuple[int, int], grey: int, strength: float) -> None:
    assert trim_box(np.full(size, grey, np.uint8), strength, 0.7) == (0, 0, size[1], size[0])


def test_a_letterboxed_copy_is_preprocessed_like_its_original() -> None:
    original = scene()
    letterboxed = Image.new("RGB", (320, 300))
    letterboxed.paste(original, (0, 30))

    def distance(settings: PreprocessingSettings) -> float:
        a, b = (preprocessed(each, settings) for each in (original, letterboxed))
        return float(np.abs(a.astype(float) - b).mean())

    assert distance(with_settings(trim_strength=0.15)) < 5 < distance(RESIZED_ONLY) / 3


# The result


@pytest.mark.parametrize("grey", [True, False])
def test_a_picture_of_the_right_size_stays_the_same_without_filters(grey: bool) -> None:
    picture = scene(96, 64)
    array = preprocessed(picture, with_settings(to_gray=grey))
    np.testing.assert_array_equal(array, np.asarray(picture.convert("L") if grey else picture))


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("sigma_px", [0.6, 3.0])
def test_the_blur_is_a_gaussian_over_rows_and_columns_only(sigma_px: float, grey: bool) -> None:
    sharp, blurred = (
        np.atleast_3d(
            preprocessed(scene(), with_settings(to_gray=grey, pre_blur_sigma=each))
        ).astype(np.float64)
        for each in (0.0, sigma_px)
    )
    for channel in range(sharp.shape[2]):
        expected = gaussian_filter(sharp[:, :, channel], sigma_px)
        assert np.abs(blurred[:, :, channel] - expected).max() < 0.501


def test_equalization_spreads_the_greys_and_keeps_their_order() -> None:
    dull = Image.fromarray((np.asarray(scene(96, 64)) // 8 + 100).astype(np.uint8))
    before = preprocessed(dull)
    after = preprocessed(dull, with_settings(hist_eq=True))
    assert np.ptp(before) < 40
    assert (after.min(), after.max()) == (0, 255)
    order = np.argsort(before, axis=None, kind="stable")
    assert np.all(np.diff(after.ravel()[order].astype(int)) >= 0)
    # Even: any fifth of the greys has about a fifth of the pixels.
    assert np.all(np.histogram(after, 5, (0, 256))[0] > after.size / 10)


@given(
    size_px=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    fraction=st.floats(0.2, 1.0),
    grey=st.booleans(),
)
@settings(max_examples=25)
def test_the_central_part_has_its_size_and_lies_in_the_middle(
    size_px: tuple[int, int], fraction: float, grey: bool
) -> None:
    whole = with_settings(fixed_resize=size_px, to_gray=grey)
    picture = preprocessed(SMALL_SCENE, whole)
    part = preprocessed(SMALL_SCENE, whole.model_copy(update={"center_fraction": fraction}))
    width, height = size_px
    part_width, part_height = round(width * fraction), round(height * fraction)
    top, left = (height - part_height) // 2, (width - part_width) // 2
    np.testing.assert_array_equal(part, picture[top : top + part_height, left : left + part_width])
    assert part.shape[:2] == (part_height, part_width)


# Kinds of pictures


WHITE = Image.new("P", (96, 64), 0)
WHITE.putpalette([255, 255, 255])
LIGHT = Image.fromarray(np.full((64, 96), 50_000, np.uint16))


@pytest.mark.parametrize(
    ("file", "grey"),
    [
        (encoded(Image.new("LA", (96, 64), (255, 0))), 0),
        (encoded(Image.new("LA", (96, 64), (255, 128))), 128),
        (encoded(Image.new("RGBA", (96, 64), (255, 255, 255, 128))), 128),
        (encoded(WHITE), 255),
        (encoded(WHITE, transparency=0), 0),
        (encoded(LIGHT, transparency=50_001), 50_000 >> 8),
        (encoded(LIGHT, transparency=50_000), 0),
    ],
)
def test_transparent_pixels_become_black(file: bytes, grey: int) -> None:
    assert np.all(preprocessed(file) == grey)


GREY_SCENE = scene(96, 64).convert("L")


@pytest.mark.parametrize(
    ("file", "mean_error"),
    [
        (encoded(GREY_SCENE), 0.0),
        (encoded(GREY_SCENE.convert("LA")), 0.0),
        (encoded(GREY_SCENE.convert("RGBA")), 0.0),
        (encoded(GREY_SCENE.convert("P")), 0.0),
        (encoded(GREY_SCENE.convert("P"), transparency=b"\xff"), 0.0),
        (encoded(GREY_SCENE.convert("P").quantize(16), bits=4), 8.0),
        (encoded(Image.fromarray(np.asarray(GREY_SCENE).astype(np.uint16) * 257)), 0.0),
        (encoded(GREY_SCENE.convert("CMYK"), "JPEG", quality=95), 2.0),
        (encoded(GREY_SCENE, "JPEG", quality=95), 2.0),
    ],
)
def test_a_picture_looks_the_same_in_every_mode(file: bytes, mean_error: float) -> None:
    array = preprocessed(file).astype(float)
    assert np.abs(array - np.asarray(GREY_SCENE)).mean() <= mean_error


def test_black_and_white_stay_so() -> None:
    dithered = GREY_SCENE.convert("1")
    np.testing.assert_array_equal(preprocessed(dithered), np.asarray(dithered) * 255)


# Unusable files


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"not a picture",
        b"\xff\xd8\xff\xe0 no JPEG",
        b"\x89PNG\r\n\x1a\n",
        *(encoded(scene(), form)[:5000] for form in ("PNG", "JPEG")),
    ],
    ids=["empty", "text", "JPEG header", "PNG header", "part of a PNG", "part of a JPEG"],
)
def test_a_file_that_cannot_be_decoded_has_a_reason(file: bytes, method: str) -> None:
    outcome = method_for(Config.model_validate({"decision": {"method": method}})).prepare(file)
    assert isinstance(outcome, str)
    assert "cannot be decoded" in outcome


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


@pytest.mark.parametrize("side_px", [12_000, 30_000])
def test_a_picture_that_claims_to_be_enormous_is_not_decoded(side_px: int) -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(ValueError, match="too large"):
        decode_thumbnail(bomb)


def test_warnings_about_a_picture_stay_off_the_terminal() -> None:
    odd = encoded(scene(40, 30), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    program = (
        "from hydindex.matching.decoding import decode_thumbnail\n"
        f"assert decode_thumbnail({odd!r}).size == (40, 30)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
