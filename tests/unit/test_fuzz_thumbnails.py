"""Any bytes that arrive as a thumbnail are prepared or have a reason why not."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_pictures import encoded
from PIL import Image

from hydindex.common.packed_arrays import unpack_array
from hydindex.config.settings import Config
from hydindex.matching.calibrated.calibrated_matcher import SIGNATURE
from hydindex.matching.calibrated.descriptor import DESCRIPTOR
from hydindex.matching.calibrated.efficientnet import DIMENSION
from hydindex.matching.method import Method, method_for
from hydindex.matching.threshold.preprocessing import preprocessed_shape
from hydindex.matching.threshold.pyramid import coarse_picture, coarse_shape, unpack_coarse
from hydindex.matching.threshold.threshold_matcher import COARSE, PREPARED
from hydindex.records.pictures import VIEW_PX, PreparedThumbnail

SMALL = {"fixedResize": (32, 24), "useMSSSIM": False}
CONFIGS = [
    Config.model_validate({"decision": {"method": "threshold"}, "preprocessing": SMALL}),
    Config.model_validate(
        {
            "decision": {"method": "threshold"},
            "preprocessing": {**SMALL, "toGray": False, "histEq": True},
        }
    ),
    Config.model_validate({"decision": {"method": "calibrated"}}),
]
MAX_MIB = 400


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
    encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
    encoded(Image.new("L", (1, 900)), "PNG"),
]
# The largest picture that is decoded: RGBA takes the most memory.
LARGE = encoded(Image.new("RGBA", (4096, 4096)), "PNG")


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A picture with some bits flipped, a piece of another inserted, or its end cut off."""
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


RANDOM = st.builds(
    lambda start, rest: start + rest,
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF\0"]),
    st.binary(max_size=300),
)


ANY_FILE = damaged_files() | RANDOM
CAMPAIGN = settings(
    database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@given(file=ANY_FILE, config=st.sampled_from(CONFIGS))
@example(file=LARGE, config=CONFIGS[0])
@settings(CAMPAIGN, max_examples=300)
def test_any_bytes_are_prepared_or_have_a_reason(file: bytes, config: Config) -> None:
    check_outcome(file, config)


@pytest.mark.slow
@given(file=ANY_FILE, config=st.sampled_from(CONFIGS))
@settings(CAMPAIGN, max_examples=5000)
def test_any_bytes_are_prepared_or_have_a_reason_in_a_long_campaign(
    file: bytes, config: Config
) -> None:
    check_outcome(file, config)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("config", CONFIGS)
def test_the_files_are_valid_before_they_are_damaged(file: bytes, config: Config) -> None:
    assert not isinstance(check_outcome(file, config), str)


def check_outcome(file: bytes, config: Config) -> PreparedThumbnail | str:
    method = method_for(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as errors they would become reasons
        outcome, again = (prepare_in_little_memory(method, file) for _ in range(2))
    assert outcome == again
    if isinstance(outcome, str):
        assert outcome.isprintable()
        assert len(outcome) < 300
        assert "object at 0x" not in outcome
    elif config.decision.method == "calibrated":
        check_signature(outcome)
    else:
        check_picture(outcome, preprocessed_shape(config.preprocessing))
    return outcome


def check_signature(outcome: PreparedThumbnail) -> None:
    assert outcome.average_hash is None
    assert outcome.content_aspect_factor is not None
    assert math.isfinite(outcome.content_aspect_factor)
    assert outcome.content_aspect_factor > 0
    assert outcome.blobs.keys() == {SIGNATURE, DESCRIPTOR}
    assert len(outcome.blobs[SIGNATURE]) in (VIEW_PX**2, 2 * VIEW_PX**2)
    assert len(outcome.blobs[DESCRIPTOR]) == DIMENSION


def check_picture(outcome: PreparedThumbnail, shape: tuple[int, ...]) -> None:
    check_hash(outcome.average_hash)
    assert outcome.content_aspect_factor is None
    assert outcome.blobs.keys() == {PREPARED, COARSE}
    picture = unpack_array(outcome.blobs[PREPARED], shape)
    coarse = unpack_coarse(outcome.blobs[COARSE], coarse_shape(shape))
    np.testing.assert_array_equal(coarse, coarse_picture(picture))


def check_hash(value: int | None) -> None:
    assert type(value) is int
    assert 0 <= value < 2**64


def prepare_in_little_memory(method: Method, file: bytes) -> PreparedThumbnail | str:
    """Prepare a thumbnail without making the process much larger than it ever was."""
    resource = pytest.importorskip("resource")  # Windows has none
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = method.prepare(file)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert grown_kib < MAX_MIB * 1024
    return outcome
