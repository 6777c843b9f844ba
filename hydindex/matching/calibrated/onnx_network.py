"""Networks that ONNX Runtime runs."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

from hydindex.common.batches import batched
from hydindex.common.errors import ConfigError
from hydindex.config.sections import Device

log = logging.getLogger(__name__)

_GPU_PROVIDERS: Final = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
# Larger batches are no faster, and take more memory.
BATCH_PICTURES: Final = 8


def load_onnx(
    model: bytes, side_px: int, gpu: Device | None
) -> Callable[[Sequence["Image.Image"]], NDArray[Any]]:
    """Load a network that takes RGB pictures of a size: uint8 (pictures, height, width, 3).

    It runs on the GPU if the installed ONNX Runtime supports it, otherwise on the CPU. Threads may
    share it.

    Raises:
        ConfigError: ONNX Runtime can't run it.
    """
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Thumbnails are prepared in several threads already.
        options.intra_op_num_threads = 1
        wanted = [_GPU_PROVIDERS[gpu]] if gpu else []
        offered = [each for each in wanted if each in onnxruntime.get_available_providers()]
        if len(offered) < len(wanted):
            log.warning(
                "compare.device is %s, but the installed ONNX Runtime has no %s: "
                "descriptors are computed on the CPU",
                gpu,
                *wanted,
            )
        session = onnxruntime.InferenceSession(
            model, options, providers=[*offered, "CPUExecutionProvider"]
        )
    except Exception as error:  # a missing library, an unsupported processor
        raise ConfigError(
            f"ONNX Runtime can't run: {error}",
            "Install onnxruntime for this system, or set decision.method to threshold.",
        ) from error
    (network_input,) = session.get_inputs()

    def run(pictures: Sequence["Image.Image"]) -> NDArray[Any]:
        outputs = [
            session.run(None, {network_input.name: resized(batch, side_px)})[0]
            for batch in batched(pictures, BATCH_PICTURES)
        ]
        return np.concatenate(outputs)

    return run


def resized(pictures: Sequence["Image.Image"], side_px: int) -> NDArray[np.uint8]:
    """Resize pictures to squares: (pictures, side_px, side_px, 3)."""
    from PIL import Image  # slow to import, and most commands don't need it

    size_px = (side_px, side_px)
    return np.stack(
        [np.asarray(each.resize(size_px, Image.Resampling.BICUBIC)) for each in pictures]
    )
