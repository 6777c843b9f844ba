"""A stand-in that serves a generated library from its own process.

So its memory and time don't count as hydindex's. It answers searches with a prepared reply: how
long Hydrus searches is not measured.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from scale_library import TAG, Pool

from hydindex.standin.api import Reply
from hydindex.standin.server import Fault, StandIn

ACCESS_KEY: Final = StandIn.SEARCH_AND_RELATIONSHIPS_KEY
_SEARCH: Final = "/get_files/search_files"


class ScaleClient:
    """The connection to the process that serves."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.port = int(connection.recv())

    def import_night(self, night: int) -> None:
        """Import the files of a night."""
        self._connection.send(night)
        self._connection.recv()


@contextmanager
def scale_client(pool_path: Path, files: int, nights: int = 0) -> Iterator[ScaleClient]:
    """Serve a library of `files` files and those of its first nights."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, pool_path, files, nights), daemon=True)
    process.start()
    there.close()
    try:
        yield ScaleClient(here)
    finally:
        process.terminate()
        process.join()


def _serve(connection: Connection, pool_path: Path, count: int, nights: int) -> None:
    pool = Pool(pool_path, 0)
    library = pool.library(count)
    with StandIn(pool.hydrus_files(library)) as client:
        for night in range(1, nights + 1):
            client.add(pool.hydrus_files(pool.night(library, night)))
        gc.freeze()  # or garbage collection walks through a million files again and again
        _prepare_search(client)
        connection.send(client.port)
        while True:
            night = connection.recv()
            client.add(pool.hydrus_files(pool.night(library, night)))
            _prepare_search(client)
            connection.send(None)


def _prepare_search(client: StandIn) -> None:
    """Search once, and answer every later search with the same reply."""
    client.faults = lambda _method, _path, _nth: None
    tags = f'["system:filetype is video", "{TAG}"]'
    query = urlencode({"tags": tags, "return_hashes": "true", "return_file_ids": "true"})
    request = Request(
        f"{client.url}:{client.port}{_SEARCH}?{query}",
        headers={"Hydrus-Client-API-Access-Key": ACCESS_KEY},
    )
    with urlopen(request) as response:
        reply = Reply(200, response.read(), "application/json")
    client.faults = lambda _method, path, _nth: (
        Fault(carried_out=False, instead=reply) if path == _SEARCH else None
    )
