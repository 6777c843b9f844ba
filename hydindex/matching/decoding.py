"""Decode thumbnails: JPEG or PNG, to RGB."""

import io
import warnings
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

_FORMATS: Final = ("JPEG", "PNG")  # what Hydrus serves
# A few bytes can claim to be a picture that fills the memory. Pillow would only warn.
_MAX_PX: Final = 1 << 24
Image.MAX_IMAGE_PIXELS = None
# Decoding shows whether a picture is usable; no user can fix its metadata.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode_thumbnail(encoded: bytes) -> Image.Image:
    """Decode to RGB; transparent pixels become black.

    Raises:
        ValueError: the bytes can't be decoded; the text says why.
    """
    try:
        return _decode(encoded)
    except UnidentifiedImageError:
        raise ValueError("its thumbnail cannot be decoded: it is neither JPEG nor PNG") from None
    except Exception as error:  # decoders raise all kinds of errors on damaged pictures
        raise ValueError(f"its thumbnail cannot be decoded: {error}") from None


def _decode(encoded: bytes) -> Image.Image:
    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
        if picture.width * picture.height > _MAX_PX:
            raise ValueError(f"too large: {picture.width}x{picture.height} pixels")
        if picture.mode.startswith("I"):  # "I;16", or "I" in an older Pillow: 16-bit grey PNG
            return _high_bytes(picture)
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        transparent = picture.convert("RGBA")
    black = Image.new("RGBA", transparent.size, "black")
    return Image.alpha_composite(black, transparent).convert("RGB")


def _high_bytes(picture: Image.Image) -> Image.Image:
    """Scale 16 bits to 8; Pillow itself would clip nearly all values to white."""
    values = np.asarray(picture)
    grey = (values >> 8).astype(np.uint8)
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 0
    return Image.fromarray(grey).convert("RGB")
