"""Similarity as the libraries compute it: it decides where the faster code is too close to call."""

import numpy as np

from hydindex.records.pictures import Picture


def ms_ssim(one: Picture, other: Picture) -> float:
    """Multi-scale structural similarity as pytorch-msssim computes it, on pictures in [0, 1].

    The shorter side must exceed 160 pixels. In colour, return the mean of the channels.

    Source: Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image
    quality assessment", 2003.
    """
    import torch  # takes seconds to import: only scoring pays for it
    from pytorch_msssim import ms_ssim as library_ms_ssim

    def tensor(picture: Picture) -> torch.Tensor:
        with_channels = picture.reshape(1, *picture.shape[:2], -1)
        return torch.from_numpy(np.moveaxis(with_channels, 3, 1).astype(np.float32) / 255.0)

    with torch.inference_mode():
        return float(library_ms_ssim(tensor(one), tensor(other), data_range=1.0))


def ssim(one: Picture, other: Picture) -> float:
    """Structural similarity as scikit-image computes it with its defaults, on 8-bit pictures.

    The shorter side must be at least 7 pixels. In colour, return the mean of the channels.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural
    similarity", 2004.
    """
    from skimage.metrics import structural_similarity

    channel_axis = -1 if one.ndim == 3 else None
    return float(structural_similarity(one, other, data_range=255, channel_axis=channel_axis))
