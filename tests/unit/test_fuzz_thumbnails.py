"""Whatever bytes come as a thumbnail: `prepare` makes them comparable, or says why it cannot."""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hydindex.matching.preparation import Preparation, prepare
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from hydindex.config.settings import Config
from hydindex.matching.threshold.pyramid import coarse_shape
from hydindex.records.pictures import VIEW_PX, Prepared, Signature

PREPARATIONS = [
    Preparation.of(Config.model_validate(settings))
    for settings in (
        {"preprocessing": {"fixedResize": (32, 24), "useMSSSIM": False}},
        {
            "preprocessing": {
                "fixedResize": (24, 32),
                "useMSSSIM": False,
                "toGray": False,
                "histEq": True,
            }
        },
        {"decision": {"method": "calibrated"}},
    )
]
MOST_MIB = 400


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (18, 24, 3), np.uint8))
GREY = PICTURE.convert("L")
SIXTEEN_BIT = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
FRAMES = {"save_all": True, "append_images": [PICTURE.rotate(180)]}
FILES = [
    encoded(PICTURE, "JPEG"),
    encoded(PICTURE, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    encoded(GREY, "JPEG"),
    encoded(PICTURE.convert("CMYK"), "JPEG"),
    encoded(PICTURE, "PNG", transparency=(1, 2, 3)),
    encoded(PICTURE.convert("RGBA"), "PNG"),
    encoded(PICTURE.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
    encoded(GREY.convert("1"), "PNG"),
    encoded(SIXTEEN_BIT, "PNG", transparency=257),
    encoded(PICTURE, "PNG", **FRAMES),
]
# The largest that is decoded, in few bytes: as RGBA it is the dearest.
LARGE = encoded(Image.new("RGBA", (4096, 4096)), "PNG")


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A picture with some bytes changed, a piece of another one put in, or its end cut off."""
    damaged = bytearray(draw(st.sampled_from(FILES)))
    anywhere = st.integers(0, len(damaged))
    for at, bit in draw(st.lists(st.tuples(anywhere, st.integers(0, 7)), max_size=5)):
        if at < len(damaged):
            damaged[at] ^= 1 << bit
    if draw(st.booleans()):
        other = draw(st.sampled_from(FILES))
        start, end = sorted(draw(st.integers(0, len(other))) for _ in range(2))
        at, to = sorted(draw(anywhere) for _ in range(2))
        damaged[at : to if draw(st.booleans()) else at] = other[start:end]
    return bytes(damaged[: draw(anywhere)] if draw(st.booleans()) else damaged)


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 24, 255, 4096, 2**16, 2**31 - 1, 2**31, 2**32 - 1])


@st.composite
def damaged_chunks(draw: st.DrawFn) -> bytes:
    """A PNG whose chunks are changed, left out, repeated and reordered, with checksums that fit."""
    chunks = _chunks(draw(st.sampled_from([file for file in FILES if file[1:4] == b"PNG"])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(chunks) - 1))
        name, content = chunks[at]
        change = draw(st.sampled_from(["number", "byte", "leave out", "repeat", "name", "cut"]))
        if change == "number" and len(content) >= 4:
            start = 4 * draw(st.integers(0, min(3, len(content) // 4 - 1)))
            number = struct.pack(">I", draw(NUMBERS))
            chunks[at] = (name, content[:start] + number + content[start + 4 :])
        elif change == "byte" and content:
            start = draw(st.integers(0, len(content) - 1))
            byte = bytes([draw(st.integers(0, 255))])
            chunks[at] = (name, content[:start] + byte + content[start + 1 :])
        elif change == "leave out" and len(chunks) > 1:
            del chunks[at]
        elif change == "repeat":
            chunks.insert(draw(st.integers(0, len(chunks))), chunks[at])
        elif change == "name":
            names = [
                b"PLTE",
                b"tRNS",
                b"acTL",
                b"fcTL",
                b"fdAT",
                b"iCCP",
                b"zTXt",
                b"iTXt",
                b"eXIf",
            ]
            chunks[at] = (draw(st.sampled_from(names)), content)
        elif change == "cut":
            chunks[at] = (name, content[: draw(st.integers(0, len(content)))])
    whole = b"".join(png_chunk(*chunk) for chunk in chunks)
    if draw(st.booleans()):  # one length that does not fit
        at = draw(st.integers(0, len(whole) - 1)) & ~3
        whole = whole[:at] + struct.pack(">I", draw(NUMBERS)) + whole[at + 4 :]
    return b"\x89PNG\r\n\x1a\n" + whole


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


RANDOM = st.builds(
    lambda start, rest: start + rest,
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF\0"]),
    st.binary(max_size=300),
)


@given(
    file=st.one_of(damaged_files(), damaged_chunks(), RANDOM),
    preparation=st.sampled_from(PREPARATIONS),
)
@example(file=LARGE, preparation=PREPARATIONS[0])
@settings(
    max_examples=800,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_bytes_are_prepared_or_have_a_reason(file: bytes, preparation: Preparation) -> None:
    check_outcome(file, preparation)


def check_outcome(file: bytes, preparation: Preparation) -> Prepared | Signature | str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as errors they would only be further reasons
        outcome, again = (without_much_memory(prepare, file, preparation) for _ in range(2))
    if isinstance(outcome, str):
        assert outcome == again
        assert outcome.isprintable()
        assert len(outcome) < 300
        assert "object at 0x" not in outcome
        return outcome
    check_hash(outcome.average_hash, again.average_hash)
    if isinstance(outcome, Signature):
        check_hash(outcome.content_hash, again.content_hash)
        assert math.isfinite(outcome.content_shape)
        assert outcome.content_shape > 0
        assert len(outcome.views) in (1, 2)
        assert outcome.views.shape[1:] == (VIEW_PX, VIEW_PX)
        assert outcome.views.dtype == np.uint8
        np.testing.assert_array_equal(outcome.views, again.views)
        return outcome
    assert outcome.picture.shape == preparation.shape
    assert outcome.picture.dtype == np.uint8
    assert outcome.coarse.shape == coarse_shape(preparation.shape)
    assert outcome.coarse.dtype == np.uint16
    np.testing.assert_array_equal(outcome.picture, again.picture)
    np.testing.assert_array_equal(outcome.coarse, again.coarse)
    return outcome


def check_hash(value: int, again: int) -> None:
    assert type(value) is int
    assert 0 <= value == again < 2**64


def without_much_memory(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that may not make the process much larger than it ever was."""
    resource = pytest.importorskip("resource")  # there is none on Windows
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = function(*arguments)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < MOST_MIB * 1024
    return result


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_what_is_damaged_here_is_sound_before(file: bytes, preparation: Preparation) -> None:
    assert not isinstance(check_outcome(file, preparation), str)
