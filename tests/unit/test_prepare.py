"""Thumbnails are decoded, hashed and preprocessed by definition, or have a reason why not."""

import io
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
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from hydindex.config.sections import PreprocessingSettings
from hydindex.config.settings import Config
from hydindex.matching.average_hash import average_hash
from hydindex.matching.decoding import decode_thumbnail
from hydindex.matching.method import method_for
from hydindex.matching.threshold.preprocessing import preprocess, preprocessed_shape, trim_box
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


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


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
@settings(max_examples=50)
def test_a_bit_is_set_where_a_cell_is_above_the_mean(cells: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(cells.repeat(8, axis=0).repeat(8, axis=1)).convert("RGB")
    assert average_hash(picture, (64, 64)) == cell_bits(cells.astype(int))


@pytest.mark.parametrize(("row", "column", "bit"), [(0, 0, 63), (0, 1, 62), (1, 0, 55), (7, 7, 0)])
def test_the_first_pixel_is_the_highest_bit(row: int, column: int, bit: int) -> None:
    cells = np.zeros((8, 8), np.uint8)
    cells[row, column] = 255
    assert average_hash(Image.fromarray(cells).convert("RGB"), (8, 8)) == 1 << bit


@given(grey=st.integers(0, 255), size=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_a_flat_picture_has_the_hash_zero(grey: int, size: tuple[int, int]) -> None:
    assert average_hash(Image.new("RGB", size, (grey, grey, grey)), (64, 64)) == 0


def bilinear_weights(source: int, target: int) -> NDArray[np.float64]:
    """The weights of `source` pixels in `target` pixels: a triangle around each centre."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / max(scale, 1.0))
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def plain_cells(picture: Image.Image, resize_px: tuple[int, int]) -> NDArray[np.float64]:
    """The 8x8 averages behind the hash, by definition, without intermediate rounding."""
    pixels = np.asarray(picture, np.float64)
    width_px, height_px = resize_px
    rows = bilinear_weights(pixels.shape[0], height_px)
    columns = bilinear_weights(pixels.shape[1], width_px)
    resized = np.einsum("ys,xt,stc->yxc", rows, columns, pixels, optimize=True)
    grey = resized @ [0.299, 0.587, 0.114]
    cells: NDArray[np.float64] = grey.reshape(8, height_px // 8, 8, -1).mean(axis=(1, 3))
    return cells


@pytest.mark.parametrize("resize_px", [(64, 64), (32, 128), (8, 8)])
@pytest.mark.parametrize("size_px", [(320, 240), (97, 211), (20, 30)])
def test_the_hash_of_a_real_picture_is_the_one_of_the_definition(
    size_px: tuple[int, int], resize_px: tuple[int, int]
) -> None:
    for seed in range(3):
        picture = scene(*size_px, seed=seed)
        cells = plain_cells(picture, resize_px)
        # Rounding to 8 bits between the steps can flip a cell close to the mean.
        clear = np.abs(cells - cells.mean()) > 2.0
        assert clear.sum() > 50
        unclear = cell_bits(np.where(clear, 0, 1))
        differing = average_hash(picture, resize_px) ^ cell_bits(cells)
        assert differing & ~unclear == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_hash_is_of_the_untrimmed_picture(method: str) -> None:
    config = Config.model_validate({"decision": {"method": method}, "ahash": {"resize": (8, 128)}})
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


def grain(height_px: int, width_px: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (height_px, width_px), np.uint8)


@pytest.mark.parametrize(
    "borders", [(10, 0, 0, 0), (0, 10, 0, 0), (0, 0, 10, 10), (7, 12, 5, 9), (3, 3, 3, 3)]
)
@pytest.mark.parametrize("border_grey", [0, 90, 255])
def test_flat_borders_are_trimmed_except_for_two_lines_that_smoothing_blurs(
    borders: tuple[int, int, int, int], border_grey: int
) -> None:
    left, top, right, bottom = borders
    framed = np.pad(grain(80, 80), ((top, bottom), (left, right)), constant_values=border_grey)
    expected = (
        max(left - 2, 0),
        max(top - 2, 0),
        min(left + 82, framed.shape[1]),
        min(top + 82, framed.shape[0]),
    )
    assert trim_box(framed, 0.15, 0.7) == expected


def test_strength_zero_still_trims_perfectly_flat_borders() -> None:
    framed = np.pad(grain(80, 80), 10)
    assert trim_box(framed, 0.0, 0.7) == (8, 8, 92, 92)


def test_one_odd_line_does_not_stop_a_trim() -> None:
    framed = np.pad(grain(80, 80), ((20, 0), (0, 0)))
    framed[5, :30] = 60
    assert trim_box(framed, 0.15, 0.7)[1] == 18


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    grey=st.integers(0, 255),
    strength=st.floats(0, 1),
)
@example(size=(1, 1), grey=0, strength=0.0)
def test_a_flat_picture_is_not_trimmed(size: tuple[int, int], grey: int, strength: float) -> None:
    assert trim_box(np.full(size, grey, np.uint8), strength, 0.7) == (0, 0, size[1], size[0])


@pytest.mark.parametrize(
    ("min_keep", "box"),
    [
        (0.5, (38, 8, 92, 92)),  # keeps 54 of 100 columns and 84 of 100 rows
        (0.54, (38, 8, 92, 92)),
        (0.55, (0, 8, 100, 92)),
        (0.84, (0, 8, 100, 92)),
        (0.85, (0, 0, 100, 100)),
    ],
)
def test_a_direction_with_too_little_left_is_not_trimmed_at_all(
    min_keep: float, box: tuple[int, int, int, int]
) -> None:
    framed = np.pad(grain(80, 50), ((10, 10), (40, 10)))
    assert trim_box(framed, 0.15, min_keep) == box


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
@pytest.mark.parametrize("size_px", [(177, 200), (40, 8)])
@pytest.mark.parametrize("filters", [{}, {"pre_blur_sigma": 0.6, "hist_eq": True}])
@pytest.mark.parametrize("source_px", [(320, 240), (1, 1)])
def test_the_result_has_the_configured_shape(
    source_px: tuple[int, int], filters: dict[str, Any], size_px: tuple[int, int], grey: bool
) -> None:
    settings = with_settings(fixed_resize=size_px, to_gray=grey, trim_strength=0.15, **filters)
    array = preprocessed(scene(*source_px), settings)
    width_px, height_px = size_px
    assert array.shape == preprocessed_shape(settings)
    assert array.shape == ((height_px, width_px) if grey else (height_px, width_px, 3))
    assert array.dtype == np.uint8


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


@pytest.mark.parametrize(("alpha", "red"), [(0, 0), (128, 128), (255, 255)])
def test_transparent_pixels_become_black(alpha: int, red: int) -> None:
    picture = Image.new("RGBA", (96, 64), (255, 0, 0, alpha))
    array = preprocessed(picture, with_settings(to_gray=False))
    assert np.all(array == [red, 0, 0])


def test_a_transparent_colour_of_a_palette_becomes_black() -> None:
    white = Image.new("P", (96, 64), 0)
    white.putpalette([255, 255, 255])
    assert np.all(preprocessed(encoded(white, transparency=0)) == 0)
    assert np.all(preprocessed(encoded(white)) == 255)


SIXTEEN_BIT = Image.fromarray(np.linspace(0, 65_535, 96 * 64).reshape(64, 96).astype(np.uint16))


@pytest.mark.parametrize("grey", [True, False])
def test_sixteen_bits_are_scaled_to_eight(grey: bool) -> None:
    array = preprocessed(SIXTEEN_BIT, with_settings(to_gray=grey))
    high_bytes = np.asarray(SIXTEEN_BIT) >> 8
    np.testing.assert_array_equal(array, high_bytes if grey else np.dstack([high_bytes] * 3))


def test_a_transparent_grey_of_sixteen_bits_becomes_black() -> None:
    light = Image.fromarray(np.full((64, 96), 50_000, np.uint16))
    assert np.all(preprocessed(encoded(light, transparency=50_000)) == 0)
    assert np.all(preprocessed(encoded(light, transparency=50_001)) == 50_000 >> 8)


GREY_SCENE = scene(96, 64).convert("L")


@pytest.mark.parametrize(
    ("file", "mean_error"),
    [
        pytest.param(encoded(GREY_SCENE), 0.0, id="L"),
        pytest.param(encoded(GREY_SCENE.convert("LA")), 0.0, id="LA"),
        pytest.param(encoded(GREY_SCENE.convert("RGBA")), 0.0, id="RGBA"),
        pytest.param(encoded(GREY_SCENE.convert("P")), 0.0, id="P"),
        pytest.param(encoded(GREY_SCENE.convert("P"), transparency=b"\xff"), 0.0, id="PA"),
        pytest.param(encoded(GREY_SCENE.convert("P").quantize(16), bits=4), 8.0, id="P, 4 bits"),
        pytest.param(
            encoded(Image.fromarray(np.asarray(GREY_SCENE).astype(np.uint16) * 257)), 0.0, id="I;16"
        ),
        pytest.param(encoded(GREY_SCENE.convert("CMYK"), "JPEG", quality=95), 2.0, id="CMYK"),
        pytest.param(encoded(GREY_SCENE, "JPEG", quality=95), 2.0, id="L, JPEG"),
    ],
)
def test_a_picture_looks_the_same_in_every_mode(file: bytes, mean_error: float) -> None:
    array = preprocessed(file).astype(float)
    assert np.abs(array - np.asarray(GREY_SCENE)).mean() <= mean_error


def test_black_and_white_stay_so() -> None:
    dithered = GREY_SCENE.convert("1")
    np.testing.assert_array_equal(preprocessed(dithered), np.asarray(dithered) * 255)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(encoded(SMALL_SCENE, "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(
            encoded(SMALL_SCENE.quantize(16), transparency=bytes(range(0, 256, 16))),
            id="palette with alpha",
        ),
        pytest.param(encoded(SMALL_SCENE, transparency=(1, 2, 3)), id="one transparent colour"),
        pytest.param(encoded(SMALL_SCENE.convert("1")), id="black and white"),
        pytest.param(encoded(SIXTEEN_BIT), id="16 bits"),
        pytest.param(encoded(Image.new("RGB", (1, 1), "red")), id="1x1"),
        pytest.param(encoded(Image.new("L", (1, 900))), id="1x900"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grey", [True, False])
def test_any_kind_of_picture_can_be_prepared(file: bytes, method: str, grey: bool) -> None:
    values = {"decision": {"method": method}, "preprocessing": {"toGray": grey}}
    outcome = method_for(Config.model_validate(values)).prepare(file)
    assert isinstance(outcome, PreparedThumbnail), outcome


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
