"""Fetches many files at once: metadata in batches, thumbnails with several requests in flight."""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

from hydindex.errors import HydrusAccessDenied, HydrusRejected, HydrusUnreachable
from hydindex.hydrus.client import FILES_PER_REQUEST, HydrusClient
from hydindex.model import FoundFile, NotFetched, RemoteFile, Thumbnail, Unusable

log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# What a client with Hydrus's own icons serves (seen with v681) for an unknown file, and for a
# video whose file was physically deleted while the client still knows it.
KNOWN_PLACEHOLDERS: Final = frozenset(
    {
        "ad6d3599a6c489a575eb19c026face97a9cd6579e74728b0ce94a601d232f3c3",
        "f32719a50c8d08b0540f607c1b7d9e745ca9a1db2136c0bc858419383735623f",
    }
)


def fetch(
    client: HydrusClient, files: Sequence[FoundFile], *, in_flight: int
) -> Iterator[Thumbnail | Unusable | NotFetched]:
    """Fetch metadata and thumbnail of every file, yielding each file exactly once as it comes.

    Raises:
        HydrusUnreachable, HydrusAccessDenied: the client is gone, not just one file.
    """
    if not files:
        return
    placeholders = KNOWN_PLACEHOLDERS | _placeholder_of(client)

    def fetch_thumbnail(file: RemoteFile) -> Thumbnail | Unusable | NotFetched:
        try:
            picture = client.thumbnail(file.hydrus_id)
        except (HydrusRejected, HydrusUnreachable) as error:
            client.version()  # raises where the whole client is gone: then no file is to blame
            return NotFetched(file.found(), error.message)
        if _digest(picture) in placeholders:
            return Unusable(file, "Hydrus has no thumbnail for it and served a placeholder")
        return Thumbnail(file, picture)

    for start in range(0, len(files), FILES_PER_REQUEST):
        batch = files[start : start + FILES_PER_REQUEST]
        described: list[RemoteFile] = []
        for outcome in _fetch_metadata(client, batch):
            if isinstance(outcome, NotFetched):
                yield outcome
            else:
                described.append(outcome)
        yield from _map_in_flight(fetch_thumbnail, described, in_flight)


def _placeholder_of(client: HydrusClient) -> set[str]:
    """Learn what this client serves for a file that it does not know.

    A key that is restricted by tags may not ask for such a file; then the known ones must do.
    """
    try:
        return {_digest(client.placeholder())}
    except (HydrusAccessDenied, HydrusRejected) as error:
        log.info("the client does not show its placeholder: %s", error.message)
        return set()


def _fetch_metadata(
    client: HydrusClient, files: Sequence[FoundFile]
) -> Iterator[RemoteFile | NotFetched]:
    """Ask for the metadata of up to 256 files.

    One unknown id fails a whole request, so a rejected batch is halved until the file to blame
    stands alone.
    """
    try:
        found = client.metadata(files)
    except (HydrusRejected, HydrusUnreachable) as error:
        client.version()  # raises where the whole client is gone
        if len(files) == 1:
            yield NotFetched(files[0], error.message)
            return
        middle = len(files) // 2
        yield from _fetch_metadata(client, files[:middle])
        yield from _fetch_metadata(client, files[middle:])
        return
    for file in files:
        yield found.get(file.sha256) or NotFetched(file, "Hydrus gave no usable metadata for it")


def _map_in_flight(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], in_flight: int
) -> Iterator[ResultT]:
    """Map in threads and in order, never holding more than a few results that wait to be taken."""
    waiting = iter(items)
    with ThreadPoolExecutor(in_flight, thread_name_prefix="thumbnails") as pool:
        running: deque[Future[ResultT]] = deque()
        try:
            running.extend(pool.submit(function, item) for item in islice(waiting, 4 * in_flight))
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(function, item) for item in islice(waiting, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _digest(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()
