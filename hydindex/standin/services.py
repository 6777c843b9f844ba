"""Constants of a fresh Hydrus client: its services, file types and icons."""

from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw

MY_FILES = b"local files".hex()
LOCAL_MEDIA = b"all local media".hex()  # the default file domain
LOCAL_STORAGE = b"all local files".hex()  # includes the trash
ALL_KNOWN_FILES = b"all known files".hex()
TRASH = b"trash".hex()


def _service(name: str, number: int, type_pretty: str, key: str | None = None) -> dict[str, Any]:
    service_key = key or name.encode().hex()
    return {"name": name, "service_key": service_key, "type": number, "type_pretty": type_pretty}


_LOCAL_TAGS = [
    _service("downloader tags", 5, "local tag domain"),
    _service("my tags", 5, "local tag domain", b"local tags".hex()),
]
_FILE_DOMAINS = {
    "local_files": _service("my files", 2, "local file domain", MY_FILES),
    "local_updates": _service("repository updates", 20, "local update file domain"),
    "all_local_files": _service(
        "hydrus local file storage", 15, "virtual combined local file domain", LOCAL_STORAGE
    ),
    "all_local_media": _service(
        "combined local file domains", 21, "virtual combined local media domain", LOCAL_MEDIA
    ),
    "all_known_files": _service("all known files", 11, "virtual combined file domain"),
}
_KNOWN_TAGS = _service("all known tags", 10, "virtual combined tag domain")
_TRASH = _service("trash", 14, "local trash file domain")
_BRUSHES = {"like": "#F0F041", "dislike": "#C85078", "null": "#BFBFBF", "mixed": "#5F5F5F"}
_FAVOURITES = {
    **_service("favourites", 7, "local like/dislike rating service"),
    "show_in_thumbnail": False,
    "show_in_thumbnail_even_when_null": False,
    "star_shape": "fat star",
    "colours": {name: {"pen": "#000000", "brush": brush} for name, brush in _BRUSHES.items()},
}

SERVICES: dict[str, Any] = {
    "local_tags": _LOCAL_TAGS,
    "tag_repositories": [],
    "file_repositories": [],
    **{kind: [service] for kind, service in _FILE_DOMAINS.items()},
    "all_known_tags": [_KNOWN_TAGS],
    "trash": [_TRASH],
    "services_v2": [*_LOCAL_TAGS, *_FILE_DOMAINS.values(), _KNOWN_TAGS, _FAVOURITES, _TRASH],
}
FILE_DOMAIN_KEYS = {service["service_key"] for service in (*_FILE_DOMAINS.values(), _TRASH)}

UNKNOWN_FILETYPE = ("unknown filetype", 101)
FILETYPES = {  # MIME type -> Hydrus's name and number
    "image/jpeg": ("jpeg", 1),
    "image/png": ("png", 2),
    "image/gif": ("animated gif", 3),
    "image/webp": ("webp", 33),
    "video/mp4": ("mp4", 14),
    "video/x-matroska": ("matroska", 20),
    "video/webm": ("webm", 21),
    "video/quicktime": ("quicktime", 26),
    "video/x-msvideo": ("avi", 27),
}

# Hydrus never answers a thumbnail request with 404: it sends an icon, one for files that it does
# not know and one per file type. These are our own drawings; only that they never change matters.
_EDGE_PX = 200
_PAPER = "#f4f4f4"
_INK = "#5a6b7b"


@cache
def unknown_file_icon() -> bytes:
    """Draw a sheet of paper with a question mark: a PNG, 200x200."""
    image = Image.new("RGB", (_EDGE_PX, _EDGE_PX), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.polygon([(50, 20), (120, 20), (150, 50), (150, 180), (50, 180)], outline=_INK, width=6)
    draw.arc((75, 60, 125, 110), start=180, end=90, fill=_INK, width=10)
    draw.rectangle((95, 105, 105, 130), fill=_INK)
    draw.rectangle((95, 142, 105, 152), fill=_INK)
    return _png(image)


@cache
def video_icon() -> bytes:
    """Draw a strip of film with a play button: a PNG, 200x200."""
    image = Image.new("RGB", (_EDGE_PX, _EDGE_PX), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 45, 180, 155), fill=_INK)
    for left in range(28, 176, 20):
        draw.rectangle((left, 52, left + 10, 62), fill=_PAPER)
        draw.rectangle((left, 138, left + 10, 148), fill=_PAPER)
    draw.polygon([(80, 75), (80, 125), (128, 100)], fill=_PAPER)
    return _png(image)


def _png(image: Image.Image) -> bytes:
    encoded = BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()
