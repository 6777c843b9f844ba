"""A threaded HTTP/1.1 server on loopback that leaves every answer to one function."""

import socket
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

from hydindex.standin.client_api import Request
from hydindex.standin.replies import Reply

LOOPBACK = "127.0.0.1"
_POLL_S = 0.02  # how often the server looks whether it is to stop


class HttpServer(ThreadingHTTPServer):
    """Serves until stopped, one thread to a connection; a port of 0 takes any free one.

    `respond` is called from many threads. Where it gives None the connection is dropped.
    """

    daemon_threads = False  # so that closing the server waits for its connections to end
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        server_name: str,
        respond: Callable[[Request], Reply | None],
        tls: SSLContext | None = None,
    ) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.name_in_header = server_name
        self.respond = respond
        self.stopping = Event()
        self._connections: set[socket.socket] = set()
        self._thread = Thread(target=self.serve_forever, args=(_POLL_S,), daemon=True)

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and hang up on those who hold a connection open."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):
            _hang_up(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a new connection."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has come to its end."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error, unless it only says that the other side hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"  # keeps connections alive
    # Head and body leave in one piece, at once: of two small writes the second would wait
    # until the first is acknowledged.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def finish(self) -> None:
        """Let go of the connection, also where the other side hung up in mid-reply."""
        try:
            super().finish()
        finally:
            self.rfile.close()

    def _respond(self) -> None:
        target = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = self.server.respond(
            Request(self.command, target.path, target.query, self.headers, body)
        )
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
        return self.server.name_in_header

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: whoever responds may keep a log."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster
