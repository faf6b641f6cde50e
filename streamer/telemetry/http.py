"""A small HTTP server in a daemon thread: a table of paths, each with a WSGI application (PEP 3333).

It serves supervisors and Prometheus. It reads no bodies and answers an unknown path with a 404 that lists the known
ones. Each client has one deadline for its whole request and its answer. Beyond a number of clients, each new one
replaces the oldest, so clients that send slowly can't keep a probe waiting.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from streamer.clock import SystemClock
from streamer.errors import UsageError
from streamer.logs import log_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_DEADLINE_S = 10.0  # from the connection to the end of the answer
CLIENTS_MAX = 32  # connections at once, each with a thread; a further one replaces the oldest
BACKLOG = 128  # connections that wait to be accepted; with the default of 5, a burst delays a probe by a second
LOOK_EVERY_S = 0.1
LOG_EVERY_S = 60.0
# What an endpoint is for, and what sets its address.
PURPOSE = "metrics and health", "Set metrics.host and metrics.port, or --metrics-port of `launch` and `notify`"

log = log_of("telemetry")


class Endpoint:
    """An HTTP server for `routes` that listens from its creation until `stop`."""

    def __init__(
        self, host: str, port: int, routes: Mapping[str, WSGIApplication], purpose: tuple[str, str] = PURPOSE
    ) -> None:
        """Listen on `host` and `port` (0: any free one). Raises UsageError when the address is not available."""
        try:
            self._server = _server_class(host)((host, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"can't listen on {host}:{port} for {purpose[0]}: {error.strerror or error}. "
                f"{purpose[1]}, to an address of this machine that is free (port 0 picks one)."
            ) from error
        self._server.set_app(_router(routes))
        self.host = host
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_EVERY_S,), name="endpoint", daemon=True
        )
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
    request_queue_size = BACKLOG
    # A second service on the same port must fail, not share it.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._clock = SystemClock()
        self._clients: dict[Any, float] = {}  # connection -> time of its beginning, the oldest first
        self._changing = threading.Lock()  # `_clients`
        self._cut_offs = 0  # since the last log line
        self._logged_s = -LOG_EVERY_S
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer looks up the host's name in DNS here, which can take seconds and has no use.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changing:
            surplus = list(self._clients)[: len(self._clients) + 1 - CLIENTS_MAX]
            self._clients[request] = self._clock.monotonic_s()
        self._cut_off(surplus)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._changing:
            self._clients.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off clients past their deadline; called by the loop of the server after each look for new ones."""
        now_s = self._clock.monotonic_s()
        with self._changing:
            late = [client for client, began_s in self._clients.items() if now_s - began_s > REQUEST_DEADLINE_S]
        self._cut_off(late)
        if self._cut_offs and now_s - self._logged_s >= LOG_EVERY_S:
            log.warning("the endpoint at port %d cut off %d slow or surplus clients", self.server_port, self._cut_offs)
            self._cut_offs, self._logged_s = 0, now_s

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log an error of our own; a client that is cut off or leaves is none."""
        if not isinstance(error := sys.exception(), OSError):
            log.error("a request failed", exc_info=error)

    def _cut_off(self, clients: Sequence[Any]) -> None:
        """End these connections in both directions: their threads then read an end or fail to write, and close them."""
        for client in clients:
            with self._changing:
                self._cut_offs += self._clients.pop(client, None) is not None
            with suppress(OSError):  # it has ended by itself
                client.shutdown(socket.SHUT_RDWR)


class _ServerIPv6(_Server):
    address_family = socket.AF_INET6


def _server_class(host: str) -> type[_Server]:
    return _ServerIPv6 if ":" in host else _Server


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scrape every few seconds is no event."""
