"""`StandIn`: a Hydrus client on loopback, over real HTTP, with faults on demand."""

import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from hydindex.standin.api import Refusal, Reply, Request, api_version_of, error_reply
from hydindex.standin.endpoints import answer
from hydindex.standin.state import ClientState, HydrusFile

_HOST = "127.0.0.1"
_POLL_S = 0.02  # how often the server checks for shutdown


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: whether the request is still carried out, and the reply sent `instead`.

    Without `instead` the connection is dropped.
    """

    carried_out: bool
    instead: Reply | Refusal | None


# Called with each request's method, path, and count among those of its method and path (from 1).
FaultHook = Callable[[str, str, int], Fault | None]

DROP_BEFORE_WORK = Fault(carried_out=False, instead=None)
DROP_AFTER_WORK = Fault(carried_out=True, instead=None)
GARBAGE = Fault(carried_out=True, instead=Reply(200, b"\x00not JSON, no picture", "text/plain"))


def refuse(status: int) -> Fault:
    """Answer with an error and do nothing else."""
    refusal = Refusal(status, "ServerException", f"The stand-in answers {status} on demand.")
    return Fault(carried_out=False, instead=refusal)


class StandIn(ClientState):
    """A Hydrus client to test against; it answers inside `with StandIn(files) as client:`.

    It keeps its memory, log and port after the block. Entering it again restarts the client.

    With `tls` it serves https. `faults` is called for each request and may return a `Fault`.
    Unlike Hydrus, which accepts 2 MB, it answers 414 to a request line over 64 KiB.
    """

    def __init__(
        self,
        files: Iterable[HydrusFile] = (),
        *,
        hydrus_version: int = 681,
        tls: SSLContext | None = None,
    ) -> None:
        super().__init__(hydrus_version)
        self.url = f"{'https' if tls else 'http'}://{_HOST}"
        self.port = 0
        self.faults: FaultHook = lambda _method, _path, _nth: None
        self._log: list[Request] = []
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._tls = tls
        self._server: HttpServer | None = None
        self.add(files)

    def __enter__(self) -> Self:
        self._server = HttpServer(self, self._tls)
        self.port = self._server.server_port
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def requests(self) -> list[Request]:
        """Every request that arrived, in order."""
        with self.lock:
            return list(self._log)

    def clear_log(self) -> None:
        """Forget the requests and posted rows so far, and count requests from 1 again."""
        with self.lock:
            self._log.clear()
            self._arrived.clear()
            self.posted_rows.clear()

    def respond(self, request: Request) -> Reply | None:
        """Answer and log a request; return None to drop the connection."""
        with self.lock:
            self._arrived[request.method, request.path] += 1
            nth = self._arrived[request.method, request.path]
            fault = self.faults(request.method, request.path, nth)
            reply: Reply | Refusal | None = None
            if fault is None or fault.carried_out:
                reply = answer(self, request)
            if fault is not None:
                reply = fault.instead
            if isinstance(reply, Refusal):
                reply = error_reply(reply, self.hydrus_version)
            self._log.append(replace(request, status=reply.status if reply else None))
            return reply


class HttpServer(ThreadingHTTPServer):
    """Serves a stand-in on its port (0: any free one), with one thread per connection."""

    daemon_threads = False  # so that server_close waits for open connections
    request_queue_size = 128

    def __init__(self, client: StandIn, tls: SSLContext | None) -> None:
        super().__init__((_HOST, client.port), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.client = client
        self.stopping = Event()
        self._connections: set[socket.socket] = set()
        self._thread = Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close open connections."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            _hang_up(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a new connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a closed connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless the other side hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"  # keeps connections open
    # Send headers and body in one write: a second small write would wait for an acknowledgement.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def finish(self) -> None:
        """Close the connection, even if the other side hung up during the reply."""
        try:
            super().finish()
        finally:
            self.rfile.close()

    def _respond(self) -> None:
        target = urlsplit(self.path)
        query = dict(parse_qsl(target.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, target.path, query, self.headers, body)
        reply = self.server.client.respond(request)
        if reply is None:
            self.close_connection = True
            _hang_up(self.connection)
            return
        self.server.stopping.wait(reply.silence_s)
        self.send_response(reply.status)
        if reply.content_type is not None:
            self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def version_string(self) -> str:
        version = self.server.client.hydrus_version
        return f"client api/{api_version_of(version)} ({version})"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the stand-in keeps its own log."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster
