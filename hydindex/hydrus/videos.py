"""Open videos for reading without downloading them whole."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO, Final

from hydindex.common.errors import HydindexError
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.permissions import SEE_LOCAL_PATHS
from hydindex.records.files import FileRef

# Decoders read far smaller pieces, mostly in sequence. Some parts are cached, because decoders also
# jump, for example between an index at the end of the file and the frames it refers to.
_PART_BYTES: Final = 128 << 10
_CACHED_PARTS: Final = 8


class VideoSource:
    """Opens videos from disk if the key allows it and they are there, else through the client.

    `fetched_bytes` counts what came through the client. Thread-safe.
    """

    def __init__(self, client: HydrusClient) -> None:
        self._client = client
        self._sees_paths = client.permits(SEE_LOCAL_PATHS)
        self._lock = threading.Lock()
        self.fetched_bytes = 0

    @contextmanager
    def opened(self, file: FileRef, size_bytes: int) -> Iterator[BinaryIO]:
        """Open a video.

        Raises:
            HydrusRejected: the client does not have the file.
            HydrusUnreachable, HydrusAccessDenied, HydrusBadReply: at the end of the block.
        """
        local = self._open_local(file, size_bytes)
        if local is not None:
            with local:
                yield local
            return
        remote = _RemoteFile(self._client, file.hydrus_id, size_bytes)
        try:
            with io.BufferedReader(remote) as video:
                yield video
        finally:
            with self._lock:
                self.fetched_bytes += remote.fetched_bytes
        if remote.error is not None:
            raise remote.error

    def _open_local(self, file: FileRef, size_bytes: int) -> BinaryIO | None:
        """Open the video on disk, if Hydrus runs on this machine."""
        if not self._sees_paths:
            return None
        path = self._client.file_path(file.hydrus_id)
        try:
            is_here = path.is_file() and path.stat().st_size == size_bytes
            return path.open("rb") if is_here else None
        except (OSError, ValueError):  # a path of another machine, or a file of another user
            return None


class _RemoteFile(io.RawIOBase):
    """A file in Hydrus, fetched in parts as it is read.

    Decoders swallow exceptions of `read`. So after an error, the file appears to end, and `error`
    holds it.
    """

    def __init__(self, client: HydrusClient, hydrus_id: int, size_bytes: int) -> None:
        self._client = client
        self._hydrus_id = hydrus_id
        self._size_bytes = size_bytes
        self._position = 0
        self._part = lru_cache(_CACHED_PARTS)(self._fetch)
        self.fetched_bytes = 0
        self.error: HydindexError | None = None

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
        if self.error is not None or self._position >= self._size_bytes:
            return 0
        number, offset = divmod(self._position, _PART_BYTES)
        try:
            content = self._part(number)[offset : offset + len(buffer)]
        except HydindexError as error:
            self.error = error
            return 0
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def _fetch(self, number: int) -> bytes:
        start = number * _PART_BYTES
        part = range(start, min(start + _PART_BYTES, self._size_bytes))
        content = self._client.file_part(self._hydrus_id, part)
        self.fetched_bytes += len(content)
        return content
