"""How alike two prepared thumbnails are: MS-SSIM, or SSIM, by the libraries' own definitions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hydindex.config import Config
from hydindex.model import Picture

Similarity = Callable[[Picture, NDArray[np.uint8]], NDArray[np.float64]]
"""Scores one picture, (height, width) or (height, width, 3), against n others stacked along a new
first axis (n > 0); gives n float64."""


def similarity_of(config: Config) -> Similarity:
    """Choose the similarity that a config asks for."""
    return ms_ssim if config.preprocessing.use_ms_ssim else ssim


def ms_ssim(one: Picture, others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Multi-scale structural similarity as pytorch-msssim computes it, on pictures in [0, 1].

    The shorter side must exceed 160 pixels. In colour the channels' means are taken.

    Source: Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image
    quality assessment", 2003.
    """
    import torch  # takes seconds to import: only a run that scores pays for it
    from pytorch_msssim import ms_ssim as library_ms_ssim

    # Whoever scores many pairs does so in threads of its own. torch's threads wait for each other
    # at every step, and where another program keeps one core busy they were 30 times as slow.
    torch.set_num_threads(1)

    def tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
        with_channels = pictures.reshape(*pictures.shape[:3], -1)
        return torch.from_numpy(np.moveaxis(with_channels, 3, 1).astype(np.float32) / 255.0)

    with torch.inference_mode():
        left, right = tensor(one[None]), tensor(others)
        scores: torch.Tensor = library_ms_ssim(
            left.expand_as(right), right, data_range=1.0, size_average=False
        )
    return scores.double().numpy()


def ssim(one: Picture, others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Structural similarity as scikit-image computes it with its defaults, on 8-bit pictures.

    In colour the channels' means are taken.

    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural
    similarity", 2004.
    """
    from skimage.metrics import structural_similarity

    channel_axis = -1 if one.ndim == 3 else None
    scores = [
        structural_similarity(one, other, data_range=255, channel_axis=channel_axis)
        for other in others
    ]
    return np.array(scores, np.float64)


def central_part(picture: Picture, size_px: tuple[int, int]) -> Picture:
    """Cut out the middle of a picture; `size_px` is width and height."""
    width_px, height_px = size_px
    top = (picture.shape[0] - height_px) // 2
    left = (picture.shape[1] - width_px) // 2
    return picture[top : top + height_px, left : left + width_px]
