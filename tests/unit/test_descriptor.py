"""The descriptor: altered copies agree, other pictures don't, and a damaged model is reported."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from made_pictures import encoded
from PIL import Image, ImageOps

from hydindex.common.errors import ConfigError
from hydindex.demo.generated_library import generate_library
from hydindex.matching.calibrated import descriptor
from hydindex.matching.calibrated.descriptor import (
    DIMENSION,
    MIN_SIMILARITY,
    UNIT_LENGTH,
    embed,
    load_network,
)
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


def similarities(one: Image.Image, others: list[Image.Image]) -> list[float]:
    vector, *vectors = embed([one, *others]).astype(int)
    return [float(vector @ other) / UNIT_LENGTH**2 for other in vectors]


def test_altered_copies_are_similar() -> None:
    for picture in ORIGINALS:
        width, height = picture.size
        copies = [
            ImageOps.mirror(picture),
            picture.crop((width // 10, height // 10, width * 9 // 10, height * 9 // 10)),
            ImageOps.pad(picture, (200, 200)),
            picture.convert("L").convert("RGB"),
            decode_thumbnail(encoded(picture, "JPEG", quality=20)),
        ]
        assert min(similarities(picture, copies)) >= MIN_SIMILARITY


def test_most_other_pictures_are_not_similar() -> None:
    vectors = embed(ORIGINALS).astype(int)
    first, second = np.triu_indices(len(vectors), 1)
    products = (vectors[first] * vectors[second]).sum(axis=1)
    assert np.mean(products / UNIT_LENGTH**2 >= MIN_SIMILARITY) < 0.2


def test_a_vector_does_not_depend_on_the_other_pictures_of_the_batch() -> None:
    together = embed(ORIGINALS)
    assert together.dtype == np.int8
    assert together.shape == (len(ORIGINALS), DIMENSION)
    lengths = np.linalg.norm(together.astype(float), axis=1)
    assert np.abs(lengths - UNIT_LENGTH).max() < 0.02 * UNIT_LENGTH
    alone = np.concatenate([embed([picture]) for picture in ORIGINALS])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_a_damaged_model_file_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    load_network.cache_clear()
    monkeypatch.setattr(descriptor, "_SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="a part of hydindex, is damaged"):
        embed(ORIGINALS[:1])


def test_a_missing_onnx_runtime_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    load_network.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="ONNX Runtime"):
        embed(ORIGINALS[:1])
