"""How alike two prepared thumbnails are: MS-SSIM, or SSIM, by the libraries' own definitions."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.config import Config
from hydindex.model import Picture

Similarity = Callable[[Picture, NDArray[np.uint8]], NDArray[np.float64]]
"""Scores one picture, (height, width) or (height, width, 3), against n others stacked along a new
first axis; gives n float64."""

# Measured on two cores: pytorch-msssim gets through more pairs in batches of 8 than singly or in
# larger batches, which fall out of the processor's caches.
_BATCH: Final = 8


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

    def tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
        with_channels = pictures.reshape(*pictures.shape[:3], -1)
        return torch.from_numpy(np.moveaxis(with_channels, 3, 1).astype(np.float32) / 255.0)

    scores = np.empty(len(others), np.float64)
    with torch.inference_mode():
        left = tensor(one[None])
        for start in range(0, len(others), _BATCH):
            right = tensor(others[start : start + _BATCH])
            batch = library_ms_ssim(
                left.expand_as(right), right, data_range=1.0, size_average=False
            )
            scores[start : start + len(right)] = batch.numpy()
    return scores


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
