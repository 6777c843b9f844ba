"""The signature of a thumbnail: all that the method `calibrated` sees of it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydindex.matching.calibrated.bars import Box, content_box
from hydindex.records.pictures import VIEW_PX, Signature


def signature(picture: Image.Image) -> Signature:
    """Compute the signature of an RGB picture: of the whole, and of its content without bars.

    Both are converted to grey (ITU-R 601) and averaged by area to 32x32. A picture without bars has
    one view. Nothing depends on the config, so that the model stays calibrated under any config.
    """
    grey = picture.convert("L")
    box = content_box(np.asarray(grey))
    whole = view(grey)
    if box == (0, 0, *grey.size):
        return Signature(1.0, whole[None])
    return Signature(
        content_aspect_factor=content_aspect_factor(box, grey.size),
        views=np.stack((whole, view(grey.crop(box)))),
    )


def view(grey: Image.Image) -> NDArray[np.uint8]:
    """Average a grey picture by area to 32x32."""
    return np.asarray(grey.resize((VIEW_PX, VIEW_PX), Image.Resampling.BOX))


def content_aspect_factor(box: Box, size_px: tuple[int, int]) -> float:
    """Return the aspect ratio of a box divided by that of the whole picture (width, height)."""
    (left, top, right, bottom), (width, height) = box, size_px
    return ((right - left) / width) / ((bottom - top) / height)
