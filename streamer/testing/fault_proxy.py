"""A TCP proxy on loopback that injects faults, for tests of clients on a bad network.

`Broker(proxied=True)` puts one in front of a broker: clients that begin at its `proxied_bootstrap` are told to come
back there, so they never go around it, while checks use `bootstrap`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from streamer.testing.kafka_config import HOST, free_ports

CHUNK_BYTES = 65_536
CHUNKS_UNDER_WAY_MAX = 256  # each way of each connection; beyond it the sender waits, as on a full network
PORT_ATTEMPTS = 5

Chunks = asyncio.Queue[tuple[float, bytes] | None]  # when due, by the loop's clock; None is the end


class FaultProxy:
    """Passes bytes between its own `port` and `upstream_port`; every knob may be turned at any time, by any thread.

    - `refuse`: new connections are closed at once; those that stand are left alone (see `cut`).
    - `delay_s`: how much later bytes arrive, each way; it is latency, throughput stays.
    - `black_hole`: what clients send is swallowed. `black_hole_answers`: what upstream answers is swallowed. A
      connection that lost bytes loses all that follow in that direction: past a gap nobody could read it.
    """

    def __init__(self) -> None:
        self.upstream_port = 0
        self.refuse = False
        self.delay_s = 0.0
        self.black_hole = False
        self.black_hole_answers = False
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = _listener()
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`host:port` at which clients find the proxy."""
        return f"{HOST}:{self.port}"

    def heal(self) -> None:
        """Reset every knob; connections with faults keep them until they are closed."""
        self.refuse = self.black_hole = self.black_hole_answers = False
        self.delay_s = 0.0

    def cut(self) -> None:
        """Drop all connections at both ends, with the bytes in flight. Returns when it is done."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def close(self) -> None:
        """Drop all connections and release the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener)
        await self._end.wait()
        server.close()
        await self._cut()

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._connect(client, to_client))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _cut(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes the sockets in its next round

    async def _connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it or it is cut."""
        writers = [to_client]
        # Without an upstream, the client sees only the end of its connection.
        with suppress(OSError):
            try:
                if not self.refuse:
                    upstream, to_upstream = await asyncio.open_connection(HOST, self.upstream_port)
                    writers.append(to_upstream)
                    await self._carry(client, to_client, upstream, to_upstream)
                    for writer in writers:
                        writer.close()
                        await writer.wait_closed()
            finally:
                for writer in writers:
                    writer.transport.abort()

    async def _carry(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        to_upstream: asyncio.StreamWriter,
    ) -> None:
        requests, answers = Chunks(CHUNKS_UNDER_WAY_MAX), Chunks(CHUNKS_UNDER_WAY_MAX)
        deliveries = [asyncio.create_task(_deliver(requests, to_upstream))]
        deliveries += [asyncio.create_task(_deliver(answers, to_client))]
        readings = [asyncio.create_task(self._read(client, requests, lambda: self.black_hole))]
        readings += [asyncio.create_task(self._read(upstream, answers, lambda: self.black_hole_answers))]
        try:
            # Kafka closes whole connections: the end of one direction is the end of both.
            await asyncio.wait(deliveries, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*deliveries, *readings):
                task.cancel()
            await asyncio.gather(*deliveries, *readings, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader, chunks: Chunks, is_lost: Callable[[], bool]) -> None:
        swallowing = False
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                swallowing = swallowing or is_lost()
                if not swallowing:
                    await chunks.put((self._loop.time() + self.delay_s, data))
        await chunks.put(None)


async def _deliver(chunks: Chunks, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while (chunk := await chunks.get()) is not None:
            due, data = chunk
            if (wait_s := due - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(wait_s)
            writer.write(data)
            await writer.drain()


def _listener() -> socket.socket:
    """A listening socket on a port below those that outgoing connections get."""
    for attempt in range(PORT_ATTEMPTS):
        (port,) = free_ports(["proxy"]).values()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            listener.close()
            if attempt + 1 == PORT_ATTEMPTS:
                raise
        else:
            return listener
    raise AssertionError("unreachable")
