"""The signature: all that the calibrated decision sees of a picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hydindex.model import VIEW_PX, Signature
from hydindex.prepare.average_hash import average_hash
from hydindex.prepare.bars import content_box


def signature(picture: Image.Image, hash_resize_px: tuple[int, int]) -> Signature:
    """Look at an RGB picture as a whole, and at what is left of it without its bars.

    Both are turned grey (ITU-R 601) and averaged by area to 32x32. Where there are no bars, the
    second view is the first one. Nothing but the average hash depends on the config, so that the
    decision stays calibrated whatever the config says.
    """
    grey = picture.convert("L")
    box = content_box(np.asarray(grey))
    whole = _view(grey)
    whole_hash = average_hash(picture, hash_resize_px)
    if box == (0, 0, *grey.size):
        return Signature(whole_hash, whole_hash, 1.0, whole[None])
    left, top, right, bottom = box
    return Signature(
        average_hash=whole_hash,
        content_hash=average_hash(picture.crop(box), hash_resize_px),
        content_shape=((right - left) / grey.width) / ((bottom - top) / grey.height),
        views=np.stack((whole, _view(grey.crop(box)))),
    )


def _view(grey: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(grey.resize((VIEW_PX, VIEW_PX), Image.Resampling.BOX))
