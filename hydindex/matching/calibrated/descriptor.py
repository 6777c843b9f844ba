"""Descriptors: one vector per picture, alike for pictures that show the same.

A small network maps a picture to 128 numbers that hardly change when the picture is mirrored,
cropped, reframed, recoloured or written on. `benchmarks/fit_descriptor.py` makes the model file:
EfficientNet-Lite0 up to block 14, generalised means of two layers, learned whitening.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

from hydindex.common.batches import batched
from hydindex.common.errors import ConfigError
from hydindex.config.sections import Device

DESCRIPTOR: Final = "descriptor"
"""The name of the table that holds the vectors."""

NAME: Final = "efficientnet-lite0"
VERSION: Final = 1
"""Vectors of another name or version can't be compared with these."""
DIMENSION: Final = 128
UNIT_LENGTH: Final = 256
"""The length of a vector. The product of two vectors, divided by its square, is their similarity.

Products of whole numbers below 2**24 are exact in float32, in whatever order they are summed.
"""
MIN_SIMILARITY: Final = 0.4
"""Pairs below this are no candidates. It keeps 99 % of the true pairs of thumbnails, and 1 to 2 %
of the others (docs/accuracy.md)."""

_MODEL_FILE: Final = "descriptor.onnx"
_SHA256: Final = "7455572e89a0d867ee87001156b855ac255174be711a3f60efc3b12eda5bf0fe"
_SIDE_PX: Final = 160
_GPU_PROVIDERS: Final = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
# Larger batches are no faster, and take more memory.
_BATCH_PICTURES: Final = 8

Vectors = NDArray[np.int8]


def embed(pictures: "Sequence[Image.Image]", gpu: Device | None = None) -> Vectors:
    """Compute the vectors of RGB pictures: int8 (pictures, DIMENSION).

    On a GPU, numbers may round differently.

    Raises:
        ConfigError: ONNX Runtime or the model file can't be used.
    """
    from PIL import Image  # slow to import, and most commands don't need it

    network = load_network(gpu)
    size_px = (_SIDE_PX, _SIDE_PX)
    vectors = [
        network.run(
            None,
            {
                "pictures": np.stack(
                    [np.asarray(each.resize(size_px, Image.Resampling.BICUBIC)) for each in batch]
                )
            },
        )[0]
        for batch in batched(pictures, _BATCH_PICTURES)
    ]
    return np.concatenate(vectors)


@cache
def load_network(gpu: Device | None = None) -> Any:
    """Load the model, which takes 0.3 s once; threads may share it.

    It runs on the GPU if the installed ONNX Runtime supports it, otherwise on the CPU.

    Raises:
        ConfigError: ONNX Runtime or the model file can't be used.
    """
    model = (files("hydindex.matching.calibrated") / _MODEL_FILE).read_bytes()
    if hashlib.sha256(model).hexdigest() != _SHA256:
        raise ConfigError(
            f"{_MODEL_FILE}, a part of hydindex, is damaged", "Install hydindex again."
        )
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Thumbnails are prepared in several threads already.
        options.intra_op_num_threads = 1
        providers = [_GPU_PROVIDERS[gpu]] if gpu else []
        providers = [each for each in providers if each in onnxruntime.get_available_providers()]
        providers.append("CPUExecutionProvider")
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # a missing library, an unsupported processor
        raise ConfigError(
            f"ONNX Runtime can't run: {error}",
            "Install onnxruntime for this system, or set decision.method to threshold.",
        ) from error
