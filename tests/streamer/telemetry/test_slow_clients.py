"""The endpoint under clients that send slowly, say nothing, or are too many."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from time import monotonic, sleep

import pytest

from streamer.telemetry import http
from streamer.telemetry.http import Endpoint
from streamer.telemetry.metrics import Metrics

DRIPPING = 60  # about twice the connections that are served at once
DRIP_S = 0.2
UNDER_LOAD_S = 4.0
PROBE_TIMEOUT_S = 1.0  # the default of a Kubernetes probe


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(http, "REQUEST_DEADLINE_S", 1.0)
    endpoint = Metrics().serve(port=0)
    yield endpoint
    endpoint.stop()


def connected(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection((endpoint.host, endpoint.port), timeout=10)


def probe(endpoint: Endpoint, path: str = "/healthz") -> tuple[int, float]:
    """The status, and the seconds until it was here."""
    began_s = monotonic()
    connection = HTTPConnection(endpoint.host, endpoint.port, timeout=PROBE_TIMEOUT_S)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status, monotonic() - began_s


class DrippingClient:
    """Sends a request of endless length, a byte at a time, and connects again whenever it is cut off."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _drip(self) -> None:
        while not self._stopped.is_set():
            with suppress(OSError), connected(self._endpoint) as client:
                client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
                while not self._stopped.wait(DRIP_S):
                    client.sendall(b"a")


def test_probes_are_answered_beside_dripping_clients(endpoint, caplog, capfd):
    """Each probe gets its answer within a second, and the clients that are cut off take one log line together."""
    with ExitStack() as dripping, caplog.at_level(logging.INFO):
        for _ in range(DRIPPING):
            dripping.callback(DrippingClient(endpoint).stop)
        end_s, answers = monotonic() + UNDER_LOAD_S, []
        while monotonic() < end_s:
            answers.append(probe(endpoint))
            sleep(0.1)
    assert {status for status, _ in answers} == {200}
    assert max(seconds for _, seconds in answers) < PROBE_TIMEOUT_S
    assert capfd.readouterr().err == ""
    (line,) = caplog.messages
    assert "slow or surplus clients" in line


@pytest.mark.parametrize("first_bytes", [b"", b"GET /healthz HTTP/1.1\r\nX: "])
def test_a_request_has_one_deadline(endpoint, first_bytes):
    """Bytes that keep coming do not extend it: it ends the whole request."""
    began_s = monotonic()
    with connected(endpoint) as client:
        client.sendall(first_bytes)
        client.settimeout(DRIP_S)
        while monotonic() - began_s < 10:
            try:
                assert client.recv(1) == b""
                break
            except TimeoutError:
                client.sendall(b"a" if first_bytes else b"")
            except OSError:
                break
    assert monotonic() - began_s == pytest.approx(http.REQUEST_DEADLINE_S, abs=1.0)


def test_a_silent_client_does_not_block_the_others(endpoint):
    """Someone who connects and says nothing keeps nobody from scraping."""
    with connected(endpoint):
        assert probe(endpoint)[0] == 200


def test_clients_are_bounded(endpoint, monkeypatch):
    """Beyond the bound, the oldest connection is closed and the newest is served."""
    monkeypatch.setattr(http, "CLIENTS_MAX", 2)
    monkeypatch.setattr(http, "REQUEST_DEADLINE_S", 60.0)
    first, second = connected(endpoint), connected(endpoint)
    assert probe(endpoint)[0] == 200
    assert first.recv(1) == b""
    second.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
    assert second.recv(100).startswith(b"HTTP/1.0 503 ")
    first.close()
    second.close()


def test_threads_end_with_their_clients(endpoint):
    """No thread stays behind for a client that was cut off."""
    before = threading.active_count()
    clients = [connected(endpoint) for _ in range(DRIPPING)]
    end_s = monotonic() + 10
    while threading.active_count() > before:
        assert monotonic() < end_s, f"{threading.active_count() - before} threads stay"
        sleep(0.05)
    for client in clients:
        client.close()


def test_an_error_of_our_own_is_shown(capfd):
    """A page that fails is a 500, and its traceback is on standard error."""

    def fails(*_):
        raise ValueError("no such page")

    endpoint = Endpoint("127.0.0.1", 0, {"/page": fails})
    assert probe(endpoint, "/page")[0] == 500
    endpoint.stop()
    assert "ValueError: no such page" in capfd.readouterr().err
