"""What Hydrus knows of files, and their thumbnails: trouble with one file never costs another."""

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

# What a client with Hydrus's own icons serves (seen with v681) for an unknown file, and for a
# video whose file was physically deleted while the client still knows it.
KNOWN_PLACEHOLDERS: Final = frozenset(
    {
        "ad6d3599a6c489a575eb19c026face97a9cd6579e74728b0ce94a601d232f3c3",
        "f32719a50c8d08b0540f607c1b7d9e745ca9a1db2136c0bc858419383735623f",
    }
)


class ThumbnailSource:
    """Gives metadata and thumbnails of files. Safe to use from several threads.

    Every method may raise HydrusUnreachable and HydrusAccessDenied: then the client is gone, and
    not just one file.
    """

    def __init__(self, client: HydrusClient) -> None:
        self._client = client
        self._placeholders = KNOWN_PLACEHOLDERS | _placeholder_of(client)

    def describe(self, files: Sequence[FileRef]) -> list[FileMetadata | FetchFailure]:
        """Ask for the metadata of up to 256 files; each is answered for.

        One unknown id fails a whole request, so a rejected batch is halved until the file to blame
        stands alone.
        """
        try:
            found = self._client.metadata(files)
        except (HydrusRejected, HydrusUnreachable) as error:
            self._client.version()  # raises where the whole client is gone
            if len(files) == 1:
                return [FetchFailure(files[0], error.message)]
            middle = len(files) // 2
            return self.describe(files[:middle]) + self.describe(files[middle:])
        return [_described(file, found.get(file.sha256)) for file in files]

    def thumbnail(self, file: FileMetadata) -> Thumbnail | UnusableFile | FetchFailure:
        """Fetch the thumbnail of a file, and tell it from a placeholder."""
        try:
            picture = self._client.thumbnail(file.hydrus_id)
        except (HydrusRejected, HydrusUnreachable, HydrusBadReply) as error:
            self._client.version()  # raises where the whole client is gone: no file is to blame
            return FetchFailure(file.ref(), error.message)
        if _digest(picture) in self._placeholders:
            return UnusableFile(file, "Hydrus has no thumbnail for it and served a placeholder")
        return Thumbnail(file, picture)


def _described(file: FileRef, row: FileMetadata | None) -> FileMetadata | FetchFailure:
    # By another id, another file's thumbnail would be fetched for this one.
    if row is None or row.hydrus_id != file.hydrus_id:
        return FetchFailure(file, "Hydrus gave no usable metadata for it")
    return row


def _placeholder_of(client: HydrusClient) -> set[str]:
    """Learn what this client serves for a file that it does not know.

    A key that is restricted by tags may not ask for such a file; then the known ones must do.
    """
    try:
        return {_digest(client.placeholder())}
    except (HydrusAccessDenied, HydrusRejected) as error:
        log.info("the client does not show its placeholder: %s", error.message)
        return set()


def _digest(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()
