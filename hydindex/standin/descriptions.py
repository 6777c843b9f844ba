"""A file and its relationships, worded as the Client API words them."""

from typing import Any

from hydindex.standin import services
from hydindex.standin.client_state import ClientState

# MIME type -> the client's own name and number for it.
_FILETYPES = {
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
_UNKNOWN_FILETYPE = ("unknown filetype", 101)


def identifiers(state: ClientState, file_hash: str) -> dict[str, Any]:
    """Tell the two names of a file; the `file_id` is null for one that was never imported."""
    return {"file_id": state.file_id_of(file_hash), "hash": file_hash}


def basic_information(state: ClientState, file_hash: str) -> dict[str, Any]:
    """Tell a file's size, type, resolution and duration (in ms); deleted files are still known."""
    file = state.file_of(file_hash)
    if file is None:
        return identifiers(state, file_hash)
    human, number = _FILETYPES.get(file.mime, _UNKNOWN_FILETYPE)
    return {
        **identifiers(state, file_hash),
        "size": file.size,
        "mime": file.mime,
        "filetype_human": human,
        "filetype_enum": number,
        "ext": file.ext,
        "width": file.width,
        "height": file.height,
        "duration": file.duration_ms,
        "num_frames": file.num_frames,
        "num_words": None,
        "has_audio": file.has_audio,
        "filetype_forced": False,
    }


def file_relationships(state: ClientState, file_hash: str, domain: str) -> dict[str, Any]:
    """Tell a file's relatives in a file domain, each list in the order of file ids."""
    visible = state.visible_in(domain)
    relationships = state.relationships.relationships_of(file_hash, visible)

    def listed(hashes: frozenset[str]) -> list[str]:
        return sorted(hashes, key=lambda each: (state.file_id_of(each) or 0, each))

    return {
        "is_king": relationships.king == file_hash,
        "king": relationships.king,
        # Both are about the file itself, not about its king, whatever they are called (v681).
        "king_is_on_file_domain": visible(file_hash),
        "king_is_local": state.visible_in(services.LOCAL_STORAGE)(file_hash),
        "0": listed(relationships.potential),
        "8": listed(relationships.duplicate),
        "1": listed(relationships.false_positive),
        "3": listed(relationships.alternate),
    }
