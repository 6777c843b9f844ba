"""Constants of a fresh Hydrus client: its services, file types and icons."""

import json
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw, ImageFont

# The keys of the file domains.
MY_FILES = b"local files".hex()
LOCAL_MEDIA = b"all local media".hex()  # the default
LOCAL_STORAGE = b"all local files".hex()  # includes the trash
ALL_KNOWN_FILES = b"all known files".hex()
TRASH = b"trash".hex()
FILE_DOMAINS = (MY_FILES, LOCAL_MEDIA, LOCAL_STORAGE, ALL_KNOWN_FILES, TRASH)

FILETYPES = {  # MIME type -> Hydrus's name and number
    "image/jpeg": ("jpeg", 1),
    "image/png": ("png", 2),
    "image/gif": ("animated gif", 3),
    "video/mp4": ("mp4", 14),
    "video/webm": ("webm", 21),
}
UNKNOWN_FILETYPE = ("unknown filetype", 101)


@cache
def all_services() -> dict[str, Any]:
    """Return the recorded reply of /get_services."""
    services: dict[str, Any] = json.loads((files(__package__) / "services.json").read_bytes())
    return services


# Hydrus never answers a thumbnail request with 404. It sends an icon: one for files that it does
# not know, and one for each file type. These only have to differ and never change.


def unknown_file_icon() -> bytes:
    """Return the icon for files that the client does not know, a PNG."""
    return _icon("?")


def video_icon() -> bytes:
    """Return the icon for videos without a thumbnail, a PNG."""
    return _icon("video")


@cache
def _icon(text: str) -> bytes:
    image = Image.new("RGB", (200, 200), "#f4f4f4")
    font = ImageFont.load_default(size=60)
    ImageDraw.Draw(image).text((100, 100), text, font=font, fill="#5a6b7b", anchor="mm")
    encoded = BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()
