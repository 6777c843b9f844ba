"""The services of a fresh client: its file domains, its tag domains, a rating."""

from typing import Any

from hydindex.standin.replies import bad_request


def _service(name: str, key: bytes, number: int, type_pretty: str) -> dict[str, Any]:
    return {
        "name": name,
        "service_key": key.hex(),
        "type": number,
        "type_pretty": type_pretty,
    }


MY_FILES = b"local files".hex()
LOCAL_MEDIA = b"all local media".hex()  # the file domain where a request names none
LOCAL_STORAGE = b"all local files".hex()  # "hydrus local file storage": the trash included
ALL_KNOWN_FILES = b"all known files".hex()
TRASH = b"trash".hex()
_UPDATES = b"repository updates"

_TAG_DOMAIN = "local tag domain"
_LOCAL_TAGS = [
    _service("downloader tags", b"downloader tags", 5, _TAG_DOMAIN),
    _service("my tags", b"local tags", 5, _TAG_DOMAIN),
]
_FILE_DOMAINS = {
    "local_files": _service("my files", b"local files", 2, "local file domain"),
    "local_updates": _service("repository updates", _UPDATES, 20, "local update file domain"),
    "all_local_files": _service(
        "hydrus local file storage", b"all local files", 15, "virtual combined local file domain"
    ),
    "all_local_media": _service(
        "combined local file domains",
        b"all local media",
        21,
        "virtual combined local media domain",
    ),
    "all_known_files": _service(
        "all known files", b"all known files", 11, "virtual combined file domain"
    ),
}
_KNOWN_TAGS = _service("all known tags", b"all known tags", 10, "virtual combined tag domain")
_TRASH = _service("trash", b"trash", 14, "local trash file domain")
_FAVOURITES = {
    **_service("favourites", b"favourites", 7, "local like/dislike rating service"),
    "show_in_thumbnail": False,
    "show_in_thumbnail_even_when_null": False,
    "star_shape": "fat star",
    "colours": {
        "like": {"pen": "#000000", "brush": "#F0F041"},
        "dislike": {"pen": "#000000", "brush": "#C85078"},
        "null": {"pen": "#000000", "brush": "#BFBFBF"},
        "mixed": {"pen": "#000000", "brush": "#5F5F5F"},
    },
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

_FILE_DOMAIN_KEYS = {service["service_key"] for service in (*_FILE_DOMAINS.values(), _TRASH)}


def check_file_domain(service_key: str) -> str:
    """Give the key of a file domain back; 400 where there is no such domain."""
    if service_key not in _FILE_DOMAIN_KEYS:
        raise bad_request(f'Could not find the file service "{service_key}"!')
    return service_key
