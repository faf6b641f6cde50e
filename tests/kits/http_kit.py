"""A small HTTP server whose answers a test decides, and which keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sent:
    """One request as the server got it; names of headers are in lower case."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None  # None: hang up without an answer


@dataclass
class Server:
    """The server of a test; `answer` may be replaced at any time."""

    answer: Callable[[Sent], Answer]
    sent: list[Sent] = field(default_factory=list)
    url: str = ""

    def of(self, method: str) -> list[Sent]:
        """The requests with this method."""
        return [one for one in self.sent if one.method == method]


@contextmanager
def serving(answer: Callable[[Sent], Answer]) -> Iterator[Server]:
    """A server on a free port of the loopback address."""
    server = Server(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = Sent(self.command, self.path, body, headers)
            server.sent.append(sent)
            given = server.answer(sent)
            if given is None:
                self.close_connection = True
                self.connection.close()
                return
            status, content, *more = given
            data = content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    try:
        yield server
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
