"""A small HTTP server in a daemon thread: a table of paths, each with a WSGI application (PEP 3333).

It serves supervisors and Prometheus. It reads no bodies, cuts off slow and surplus clients, and answers an unknown path
with a 404 that lists the known ones.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from streamer.errors import UsageError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

CLIENT_TIMEOUT_S = 10.0
CLIENTS_MAX = 32  # connections at once; further ones are closed without an answer


class Endpoint:
    """An HTTP server for `routes` that listens from its creation until `stop`."""

    def __init__(self, host: str, port: int, routes: Mapping[str, WSGIApplication]) -> None:
        """Listen on `host` and `port` (0: any free one). Raises UsageError when the address is not available."""
        try:
            self._server = _server_class(host)((host, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"can't listen on {host}:{port} for metrics and health: {error.strerror or error}. "
                "Set metrics.host and metrics.port to an address of this machine that is free (port 0 picks one)."
            ) from error
        self._server.set_app(_router(routes))
        self.host = host
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="endpoint", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the server, without a path."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        """Stop listening and wait for the thread to end; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def text_page(page: Callable[[], tuple[bool, str]]) -> WSGIApplication:
    """An application that answers with the line of `page`: status 200 if its first value is true, else 503."""

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fine, line = page()
        return _answer(start_response, "200 OK" if fine else "503 Service Unavailable", line)

    return application


def _router(routes: Mapping[str, WSGIApplication]) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        known = routes.get(environ["PATH_INFO"])
        if known is None:
            return _answer(start_response, "404 Not Found", "known paths: " + " ".join(routes))
        return known(environ, start_response)

    return application


def _answer(start_response: StartResponse, status: str, line: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
    return [f"{line}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # A second service on the same port must fail, not share it.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(CLIENTS_MAX)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer looks up the host's name in DNS here, which can take seconds and has no use.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server_class(host: str) -> type[_Server]:
    return _Server6 if ":" in host else _Server


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape every few seconds is no event."""
