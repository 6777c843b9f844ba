"""The default descriptor, which is shipped.

`benchmarks/fit_descriptor.py` makes the model file: EfficientNet-Lite0 up to block 14, generalised
means of two layers, learned whitening.
"""

import hashlib
from functools import cache, partial
from importlib.resources import files
from typing import Final

from hydindex.common.errors import ConfigError
from hydindex.config.sections import Device
from hydindex.matching.calibrated.descriptor import Descriptor, Network
from hydindex.matching.calibrated.onnx_network import load_onnx

VERSION: Final = 1
"""Raise it when the vectors of the same model file change."""
DIMENSION: Final = 128
MIN_SIMILARITY: Final = 0.4
"""It keeps 99 % of the true pairs of thumbnails, and 1 to 2 % of the others (docs/accuracy.md)."""

_MODEL_FILE: Final = "descriptor.onnx"
_SHA256: Final = "7455572e89a0d867ee87001156b855ac255174be711a3f60efc3b12eda5bf0fe"
_SIDE_PX: Final = 160


def efficientnet_lite0(gpu: Device | None = None) -> Descriptor:
    """Return the descriptor; loading it takes 0.3 s."""
    return Descriptor(
        "efficientnet-lite0",
        VERSION,
        DIMENSION,
        MIN_SIMILARITY,
        _SHA256,
        partial(load_network, gpu),
    )


@cache
def load_network(gpu: Device | None) -> Network:
    """Load the model, whose output is vectors already.

    Raises:
        ConfigError: ONNX Runtime or the model file can't be used.
    """
    model = (files("hydindex.matching.calibrated") / _MODEL_FILE).read_bytes()
    if hashlib.sha256(model).hexdigest() != _SHA256:
        raise ConfigError(
            f"{_MODEL_FILE}, a part of hydindex, is damaged", "Install hydindex again."
        )
    return load_onnx(model, _SIDE_PX, gpu)
