"""Opens the videos of a client for reading, without downloading them whole."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO, Final

from hydindex.common.errors import HydindexError
from hydindex.hydrus.client import SEE_LOCAL_PATHS, HydrusClient
from hydindex.records.files import FileRef

# What is fetched at a time: a decoder asks for far smaller pieces, mostly one after the other. Some
# are kept, because it also goes back and forth, as between a table of contents at the end and the
# pictures that it names.
_PART_BYTES: Final = 128 << 10
_PARTS_KEPT: Final = 8


class VideoSource:
    """Opens videos: from the disk where that is possible and allowed, else through the client.

    `fetched_bytes` is what has come through the client so far. Safe to use from several threads.
    """

    def __init__(self, client: HydrusClient) -> None:
        self._client = client
        self._sees_paths = client.permits(SEE_LOCAL_PATHS)
        self._adding = threading.Lock()
        self.fetched_bytes = 0

    @contextmanager
    def opened(self, file: FileRef, size_bytes: int) -> Iterator[BinaryIO]:
        """Open a video.

        Raises:
            HydrusRejected: the client does not have the file.
            HydrusUnreachable, HydrusAccessDenied, HydrusBadReply: only when the block is left.
        """
        local = self._opened_here(file, size_bytes)
        if local is not None:
            with local:
                yield local
            return
        remote = _RemoteFile(self._client, file.hydrus_id, size_bytes)
        try:
            with io.BufferedReader(remote) as video:
                yield video
        finally:
            with self._adding:
                self.fetched_bytes += remote.fetched_bytes
        if remote.trouble is not None:
            raise remote.trouble

    def _opened_here(self, file: FileRef, size_bytes: int) -> BinaryIO | None:
        """Open the video on this machine's disk, where Hydrus runs on the same one."""
        if not self._sees_paths:
            return None
        path = self._client.file_path(file.hydrus_id)
        try:
            is_it = path.is_file() and path.stat().st_size == size_bytes
            return path.open("rb") if is_it else None
        except (OSError, ValueError):  # another machine's path, or another user's file
            return None


class _RemoteFile(io.RawIOBase):
    """A file of the client, of which only what is read is fetched.

    An error inside a decoder's read would be printed and lost. So reading ends there, as at the end
    of a file, and whoever reads asks for the `trouble`.
    """

    def __init__(self, client: HydrusClient, hydrus_id: int, size_bytes: int) -> None:
        self._client = client
        self._hydrus_id = hydrus_id
        self._size_bytes = size_bytes
        self._position = 0
        self._part = lru_cache(_PARTS_KEPT)(self._fetch)
        self.fetched_bytes = 0
        self.trouble: HydindexError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self.trouble is not None or self._position >= self._size_bytes:
            return 0
        number, offset = divmod(self._position, _PART_BYTES)
        try:
            found = self._part(number)[offset : offset + len(buffer)]
        except HydindexError as error:
            self.trouble = error
            return 0
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _fetch(self, number: int) -> bytes:
        start = number * _PART_BYTES
        part = range(start, min(start + _PART_BYTES, self._size_bytes))
        content = self._client.file_part(self._hydrus_id, part)
        self.fetched_bytes += len(content)
        return content
