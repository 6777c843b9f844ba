"""The pictures that the client serves where it has no thumbnail.

Hydrus never answers a thumbnail request with 404: it sends an icon of its own, one for a
file that it has never seen and one for each kind of file whose thumbnail is gone. Drawn
here, not copied from Hydrus: what counts is that they are pictures, and always the same.
"""

from functools import cache
from io import BytesIO

from PIL import Image, ImageDraw

_EDGE_PX = 200
_PAPER = "#f4f4f4"
_INK = "#5a6b7b"


@cache
def unknown_file() -> bytes:
    """A PNG, 200x200: a sheet of paper with a question mark made of blocks."""
    image, draw = _blank()
    draw.polygon([(50, 20), (120, 20), (150, 50), (150, 180), (50, 180)], outline=_INK, width=6)
    draw.arc((75, 60, 125, 110), start=180, end=90, fill=_INK, width=10)
    draw.rectangle((95, 105, 105, 130), fill=_INK)
    draw.rectangle((95, 142, 105, 152), fill=_INK)
    return _png(image)


@cache
def deleted_video() -> bytes:
    """A PNG, 200x200: a strip of film with a triangle to play it."""
    image, draw = _blank()
    draw.rectangle((20, 45, 180, 155), fill=_INK)
    for left in range(28, 176, 20):
        draw.rectangle((left, 52, left + 10, 62), fill=_PAPER)
        draw.rectangle((left, 138, left + 10, 148), fill=_PAPER)
    draw.polygon([(80, 75), (80, 125), (128, 100)], fill=_PAPER)
    return _png(image)


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (_EDGE_PX, _EDGE_PX), _PAPER)
    return image, ImageDraw.Draw(image)


def _png(image: Image.Image) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()
