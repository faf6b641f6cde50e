"""The server's process: a socket, the follower beside it, and their end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from anyio.to_thread import current_default_thread_limiter

from streamer.errors import UsageError
from streamer.page.follow import Follower
from streamer.page.server import Site, app_of
from streamer.page.store import Store

THREADS: Final = 8  # that draw pages; each has a connection to the read model
CLIENTS_MAX: Final = 400  # connections at once; a further one gets 503
IDLE_S: Final = 10  # after which a connection without a request is closed
HEADER_BYTES_MAX: Final = 32_768


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: any free one. Raises `UsageError` when the address is not available."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as problem:
        raise UsageError(
            f"{host}:{port} can't be listened on ({problem.strerror or problem}): choose --port"
        ) from problem


class PageServer(uvicorn.Server):
    """A server that leaves signals to its process, which has a file to delete at its end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(site: Site) -> PageServer:
    """The server of a site. It trusts no header of a proxy by itself: `Access` decides on them."""
    return PageServer(
        uvicorn.Config(
            app_of(site), log_level="warning", access_log=False, lifespan="off", server_header=False,
            proxy_headers=False, limit_concurrency=CLIENTS_MAX, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=2,
            ws="none", h11_max_incomplete_event_size=HEADER_BYTES_MAX, http="h11", loop="asyncio",
        )
    )  # fmt: skip


def serve(site: Site, store: Store, follower: Follower, listener: socket.socket, stop: threading.Event) -> None:
    """Serve until `stop` is set, then delete the read model."""
    server = server_of(site)

    def end() -> None:
        stop.wait()
        server.should_exit = True

    threading.Thread(target=end, name="driftline-ui-stop", daemon=True).start()
    follower.start()
    try:
        server.run(sockets=[listener])
    finally:
        follower.stop()
        listener.close()
        site.reader.close()
        store.close()
