"""A stand-in for a running Hydrus client: the Client API over real HTTP, with troubles on order."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ssl import SSLContext
from threading import Lock
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from hydindex.standin import access
from hydindex.standin.client_api import ClientApi, Request
from hydindex.standin.client_state import ClientState
from hydindex.standin.faults import Fault, FaultHook
from hydindex.standin.http_server import LOOPBACK, HttpServer
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.relationships import Relationship
from hydindex.standin.replies import Refusal, Reply


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request that arrived; `status` is None where the connection was dropped instead."""

    method: str
    path: str
    query: dict[str, str]
    status: int | None


class StandIn:
    """A Hydrus client to test against: `with StandIn(files) as client:` and it answers.

    It keeps its memory, log and port when the block is left, and may be entered again: a
    client that was shut down and started.

    With `tls` it speaks https. `faults` is asked about every request and may put a `Fault` in its
    way (see `hydindex.standin.faults`). One limit is its own: a request line over 64 KiB is answered
    414, where Hydrus takes up to 2 MB.
    """

    FULL_KEY = access.FULL_KEY
    SEARCH_ONLY_KEY = access.SEARCH_ONLY_KEY
    SEARCH_AND_RELATIONSHIPS_KEY = access.SEARCH_AND_RELATIONSHIPS_KEY
    LOCAL_PATHS_KEY = access.LOCAL_PATHS_KEY
    POPUPS_KEY = access.POPUPS_KEY

    def __init__(
        self,
        files: Iterable[HydrusFile] = (),
        *,
        hydrus_version: int = 681,
        tls: SSLContext | None = None,
    ) -> None:
        self.url = f"{'https' if tls else 'http'}://{LOOPBACK}"
        self.port = 0
        self.faults: FaultHook = lambda _method, _path, _nth: None
        self._state = ClientState(hydrus_version)
        self._api = ClientApi(self._state)
        self._lock = Lock()
        self._log: list[LoggedRequest] = []
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._tls = tls
        self._server: HttpServer | None = None
        self.add(files)

    def __enter__(self) -> Self:
        self._server = HttpServer(self.port, self._api.server_name, self._respond, self._tls)
        self._server.start()
        self.port = self._server.server_port
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def become(self, hydrus_version: int) -> None:
        """Be another version of Hydrus from the next request on, with the same memory."""
        with self._lock:
            self._state.hydrus_version = hydrus_version
            self._api = ClientApi(self._state)
            if self._server is not None:
                self._server.name_in_header = self._api.server_name

    def add(self, files: Iterable[HydrusFile]) -> None:
        """Import files, which get the next file ids."""
        with self._lock:
            self._state.add(files)

    def trash(self, file_hash: str) -> None:
        """Move a file to the trash."""
        with self._lock:
            self._state.trash(file_hash)

    def delete(self, file_hash: str) -> None:
        """Delete a file physically: its hash and id stay known, its thumbnail is gone."""
        with self._lock:
            self._state.delete(file_hash)

    def restore(self, file_hash: str) -> None:
        """Bring a file back from the trash or by importing it again, under its old id."""
        with self._lock:
            self._state.restore(file_hash)

    def decide(self, a: str, b: str, relationship: int) -> None:
        """Set a relationship as the user does, by its number in the Client API."""
        with self._lock:
            self._state.relationships.set_relationship(a, b, Relationship(relationship))

    def remove_potentials(self, *hashes: str) -> None:
        """Forget every potential pair that these files' groups are in, as Hydrus's command does."""
        with self._lock:
            for file_hash in hashes:
                self._state.relationships.remove_potentials(file_hash)

    def open_permission_dialog(self) -> None:
        """Open *add > from api request*, as the user does: until then no program is given a key."""
        with self._lock:
            self._state.access_keys.open_dialog()

    def approve(self, permissions: Collection[int] | None = None) -> None:
        """Approve what a program asks for, or other permissions in its place; the dialog closes.

        May be called again: the user edits the key.

        Raises:
            ValueError: no program has asked since the dialog was opened.
        """
        with self._lock:
            self._state.access_keys.approve(permissions)

    @property
    def potentials(self) -> frozenset[frozenset[str]]:
        """The potential pairs that the client keeps and shows, by the kings of their groups."""
        with self._lock:
            return self._state.potentials

    @property
    def posted_rows(self) -> list[tuple[str, str]]:
        """Both hashes of every potential row in an accepted POST, in order, repeats included."""
        with self._lock:
            return list(self._state.posted_rows)

    @property
    def popups(self) -> list[str]:
        """What each popup says, in order: its title and its texts, a line each."""
        with self._lock:
            return list(self._state.popups)

    @property
    def requests(self) -> list[LoggedRequest]:
        """Every request that arrived, in order."""
        with self._lock:
            return list(self._log)

    def clear_log(self) -> None:
        """Forget the requests and posted rows so far, and count requests from 1 again."""
        with self._lock:
            self._log.clear()
            self._arrived.clear()
            self._state.posted_rows.clear()

    def _respond(self, request: Request) -> Reply | None:
        """Answer a request and log it; None stands for a connection to be dropped."""
        with self._lock:
            self._arrived[request.method, request.path] += 1
            nth = self._arrived[request.method, request.path]
            reply = self._reply(request, self.faults(request.method, request.path, nth))
            query = dict(parse_qsl(request.query))
            status = reply.status if reply is not None else None
            self._log.append(LoggedRequest(request.method, request.path, query, status))
            return reply

    def _reply(self, request: Request, fault: Fault | None) -> Reply | None:
        if fault is None:
            return self._api.answer(request)
        if fault.carried_out:
            self._api.answer(request)
        if isinstance(fault.instead, Refusal):
            return self._api.refused(fault.instead)
        return fault.instead
