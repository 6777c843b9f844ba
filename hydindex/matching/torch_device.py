"""The device that torch computes on (`compare.device`)."""

from hydindex.common.errors import ConfigError
from hydindex.config.sections import Device


def torch_device(name: Device) -> str:
    """Return torch's name of a device, and keep it to full float32 precision.

    "auto" is the first available of CUDA, MPS and the CPU.

    Raises:
        ConfigError: torch finds no such device.
    """
    import torch  # takes seconds

    # TF32 has 10 bits of precision: too few to subtract variances, or for exact products.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device in available if available[device])
    if not available[name]:
        raise ConfigError(
            f"compare.device is {name}, but torch finds no such device",
            "Set compare.device to auto, or install a torch that supports it.",
        )
    return name
