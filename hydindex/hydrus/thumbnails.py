"""Metadata and thumbnails of files, such that an error with one file affects no other."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Final

from hydindex.common.errors import (
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusRejected,
    HydrusUnreachable,
)
from hydindex.hydrus.client import HydrusClient
from hydindex.records.files import FetchFailure, FileMetadata, FileRef, Thumbnail, UnusableFile

log = logging.getLogger(__name__)

# SHA-256 of Hydrus's default placeholders (v681): for an unknown file, and for a known video whose
# file was deleted from disk.
KNOWN_PLACEHOLDERS: Final = frozenset(
    {
        "ad6d3599a6c489a575eb19c026face97a9cd6579e74728b0ce94a601d232f3c3",
        "f32719a50c8d08b0540f607c1b7d9e745ca9a1db2136c0bc858419383735623f",
    }
)


def describe(client: HydrusClient, files: Sequence[FileRef]) -> list[FileMetadata | FetchFailure]:
    """Return the metadata of up to 256 files, or why it is missing.

    One unknown id fails the whole request, so a rejected batch is halved until only the unknown
    file is left.

    Raises:
        HydrusUnreachable, HydrusAccessDenied: the client itself fails.
    """
    if not files:
        return []
    try:
        described = client.metadata(files)
    except (HydrusRejected, HydrusUnreachable) as error:
        client.version()  # raises if the client itself fails
        if len(files) == 1:
            return [FetchFailure(files[0], error.message)]
        middle = len(files) // 2
        return describe(client, files[:middle]) + describe(client, files[middle:])
    return [_require_same_id(file, described.get(file.sha256)) for file in files]


class ThumbnailSource:
    """Fetches thumbnails. Thread-safe.

    Every method may raise HydrusUnreachable and HydrusAccessDenied: the client itself fails, not
    just one file.
    """

    def __init__(self, client: HydrusClient) -> None:
        self._client = client
        self._placeholders = KNOWN_PLACEHOLDERS | _placeholder_of(client)

    def thumbnail(self, file: FileMetadata) -> Thumbnail | UnusableFile | FetchFailure:
        """Fetch the thumbnail of a file, unless Hydrus serves a placeholder."""
        try:
            picture = self._client.thumbnail(file.hydrus_id)
        except (HydrusRejected, HydrusUnreachable, HydrusBadReply) as error:
            self._client.version()  # raises if the client itself fails
            return FetchFailure(file.ref(), error.message)
        if _digest(picture) in self._placeholders:
            return UnusableFile(file, "Hydrus has no thumbnail and served a placeholder")
        return Thumbnail(file, picture)


def _require_same_id(file: FileRef, row: FileMetadata | None) -> FileMetadata | FetchFailure:
    # With another id, we would fetch the thumbnail of another file.
    if row is None or row.hydrus_id != file.hydrus_id:
        return FetchFailure(file, "Hydrus returned no usable metadata")
    return row


def _placeholder_of(client: HydrusClient) -> set[str]:
    """Return the SHA-256 of this client's own placeholder.

    A key that is restricted by tags may not fetch it; then only the default ones are recognized.
    """
    try:
        return {_digest(client.placeholder())}
    except (HydrusAccessDenied, HydrusRejected) as error:
        log.info("Hydrus does not serve its placeholder: %s", error.message)
        return set()


def _digest(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()
