"""A stand-in that serves a generated library from a process of its own.

So neither its memory nor its time count as hydindex's; and it keeps its answer to the search
ready, because how long Hydrus searches is not what is measured.
"""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from scale_library import draw_library, draw_night, draw_nights, hydrus_files, load_pool

from hydindex.standin.faults import Fault
from hydindex.standin.replies import Reply
from hydindex.standin.server import StandIn

ACCESS_KEY: Final = StandIn.SEARCH_AND_RELATIONSHIPS_KEY
TAGS: Final = '["system:filetype is video", "meta:pd"]'
_SEARCH: Final = "/get_files/search_files"


class ScaleClient:
    """The way to the process that serves."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.port = int(connection.recv())

    def import_night(self, night: int) -> None:
        """Import the files of a night."""
        self._ask("import", night)

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self._ask("clear")

    def requests(self) -> Counter[str]:
        """Count the requests since then, by path."""
        return Counter(self._ask("requests"))

    def stop(self) -> None:
        """Let the process end."""
        self._ask("stop")

    def _ask(self, *words: Any) -> Any:
        self._connection.send(words)
        return self._connection.recv()


@contextmanager
def scale_client(pool_path: Path, files: int, nights: int) -> Iterator[ScaleClient]:
    """Serve a library of so many files with all that came in its first nights."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, pool_path, files, nights), daemon=True)
    process.start()
    there.close()
    client = ScaleClient(here)
    try:
        yield client
        client.stop()
    finally:
        process.terminate()
        process.join()


def _serve(connection: Connection, pool_path: Path, count: int, nights: int) -> None:
    pool = load_pool(pool_path)
    library = draw_library(pool, count)
    with StandIn(hydrus_files(pool, draw_nights(pool, library, nights))) as client:
        gc.freeze()  # or the collector goes through a million files again and again
        _keep_search_ready(client)
        connection.send(client.port)
        while True:
            answer: Any = None
            match connection.recv():
                case ("import", night):
                    client.add(hydrus_files(pool, draw_night(pool, library, night)))
                    _keep_search_ready(client)
                case ("clear",):
                    client.clear_log()
                case ("requests",):
                    answer = [request.path for request in client.requests]
                case ("stop",):
                    connection.send(None)
                    return
            connection.send(answer)


def _keep_search_ready(client: StandIn) -> None:
    """Search once, and let every later search be answered with the same."""
    client.faults = lambda _method, _path, _nth: None
    query = {"tags": TAGS, "return_hashes": "true", "return_file_ids": "true"}
    request = Request(
        f"{client.url}:{client.port}{_SEARCH}?{urlencode(query)}",
        headers={"Hydrus-Client-API-Access-Key": ACCESS_KEY},
    )
    with urlopen(request) as response:
        found = Reply(200, response.read(), "application/json")
    client.faults = lambda _method, path, _nth: (
        Fault(carried_out=False, instead=found) if path == _SEARCH else None
    )
    client.clear_log()
