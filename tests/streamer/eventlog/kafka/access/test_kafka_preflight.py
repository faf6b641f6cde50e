import dataclasses
import os
import random
import socket
import socketserver
import threading
import time

import pytest

from streamer.errors import BrokerError, UsageError
from streamer.eventlog.kafka.admin import preflight
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing.kafka import Broker


def login(broker, **changes):
    """A connection that the secured listener of `broker` accepts, with `changes`."""
    port = broker.secured_bootstrap.split(":")[1]
    right = {
        "bootstrap": (f"localhost:{port}",),
        "protocol": broker.secured_protocol,
        "mechanism": broker.mechanism,
        "username": broker.username,
        "password": broker.password,
        "ca_file": str(broker.ca_file) if broker.ca_file.exists() else None,
    }
    return KafkaConnection(**right | changes)


SOON_S = 7  # longer by as much as this process waits for a core


def cause(connection):
    """The one sentence with which the preflight refuses, which never holds the password."""
    began = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        preflight(connection)
    assert time.monotonic() - began < SOON_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert connection.password is None or connection.password not in sentence
    return sentence


@pytest.fixture(scope="module")
def secured():
    """A broker whose second listener asks for TLS and a password."""
    with Broker(sasl=True, tls=True) as broker:
        yield broker


@pytest.fixture
def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def serve(handle):
    """A TCP server on loopback that treats each connection with `handle`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            handle(self.request)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def test_a_closed_port_is_named(closed_port):
    """Where nothing listens, the sentence says that connections are refused."""
    sentence = cause(KafkaConnection(bootstrap=(f"127.0.0.1:{closed_port}",)))
    assert sentence.startswith(f"Kafka at 127.0.0.1:{closed_port} refuses connections")


@pytest.mark.parametrize("host", ["no-such-broker.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_does_not_resolve_is_named(host):
    """A host name that nobody knows, or that can't be one, is said not to resolve."""
    assert f"the host name {host} does not resolve" in cause(KafkaConnection(bootstrap=(f"{host}:9092",)))


def test_all_bootstrap_servers_are_named_when_all_fail(closed_port):
    """With several servers every one gets its own cause."""
    sentence = cause(KafkaConnection(bootstrap=(f"127.0.0.1:{closed_port}", "no-such-broker.invalid:9092")))
    assert f"127.0.0.1:{closed_port} refuses" in sentence
    assert "no-such-broker.invalid:9092 can't be found" in sentence


def test_a_port_that_speaks_something_else_is_named():
    """An HTTP server is not taken for a broker."""

    def answer(request):
        request.recv(1000)
        request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serve(answer) as server:
        sentence = cause(KafkaConnection(bootstrap=(f"127.0.0.1:{server.server_address[1]}",)))
        server.shutdown()
    assert "answers, but not in the Kafka protocol" in sentence


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\5\0\0\0\0\1", b"\0\0\0\2\0\0", random.Random(1).randbytes(40)])
def test_garbage_is_a_sentence_too(answer):
    """Whatever bytes come back, the outcome is a BrokerError and nothing else."""

    def respond(request):
        request.recv(1000)
        request.sendall(answer)

    with serve(respond) as server:
        cause(KafkaConnection(bootstrap=(f"127.0.0.1:{server.server_address[1]}",)))
        server.shutdown()


def test_silence_ends_in_time():
    """A server that accepts and says nothing is given up within seconds."""
    ended = threading.Event()
    with serve(lambda _: ended.wait(20)) as server:
        sentence = cause(KafkaConnection(bootstrap=(f"127.0.0.1:{server.server_address[1]}",)))
        ended.set()
        server.shutdown()
    assert "did not answer within 4 s" in sentence


@pytest.mark.broker
def test_the_right_connections_pass(secured):
    """Plaintext, TLS with a password, and one good server among bad ones are all fine."""
    preflight(KafkaConnection(bootstrap=(secured.bootstrap,)))
    preflight(KafkaConnection(bootstrap=("no-such-broker.invalid:9092", secured.bootstrap)))
    preflight(login(secured))


@pytest.mark.broker
@pytest.mark.parametrize("changes", [{"password": "not-the-password"}, {"username": "nobody"}])
def test_a_wrong_password_is_named(secured, changes):
    """A wrong password or user is said to be that, within a second and not as a timeout."""
    connection = login(secured, **changes)
    assert f"refuses the user '{connection.username}': wrong user name or password" in cause(connection)


@pytest.mark.broker
def test_a_wrong_password_without_tls_is_named():
    """The same holds for a listener without TLS."""
    with Broker(sasl=True) as broker:
        preflight(login(broker))
        assert "wrong user name or password" in cause(login(broker, password="not-the-password"))
        plain = KafkaConnection(bootstrap=(broker.secured_bootstrap,))
        assert "asks for a login (SASL, it offers SCRAM-SHA-512)" in cause(plain)


@pytest.mark.broker
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_mechanism_that_is_not_offered_is_named(secured, mechanism):
    """The sentence lists the mechanisms there are."""
    sentence = cause(login(secured, mechanism=mechanism))
    assert f"does not offer the SASL mechanism {mechanism}; it offers SCRAM-SHA-512" in sentence


@pytest.mark.broker
def test_a_missing_login_is_named(secured):
    """A client without credentials is reported that the port asks for them, inside TLS too."""
    connection = KafkaConnection(bootstrap=login(secured).bootstrap, protocol="SSL", ca_file=str(secured.ca_file))
    assert "asks for a login (SASL, it offers SCRAM-SHA-512), but the protocol is SSL" in cause(connection)


@pytest.mark.broker
def test_a_protocol_that_does_not_fit_the_port_is_named(secured):
    """TLS on a plain port, plaintext on a TLS port and a login nobody asked for each have their own sentence."""
    plain, guarded = (secured.bootstrap,), login(secured).bootstrap
    assert "does not speak TLS, but the protocol is SASL_SSL" in cause(login(secured, bootstrap=plain))
    assert "speaks TLS, but the protocol is PLAINTEXT" in cause(KafkaConnection(bootstrap=guarded))
    in_the_clear = login(secured, bootstrap=plain, protocol="SASL_PLAINTEXT", ca_file=None)
    assert "asks for no login, but the protocol is SASL_PLAINTEXT: use PLAINTEXT" in cause(in_the_clear)


@pytest.mark.broker
def test_a_certificate_that_is_refused_is_named(secured, tmp_path):
    """An unknown CA is distinguished from a CA file that can't be read."""
    assert "shows a certificate that is refused (self-signed certificate)" in cause(login(secured, ca_file=None))
    assert "nowhere.pem can't be used" in cause(login(secured, ca_file="nowhere.pem"))
    (tmp_path / "empty.pem").write_text("no certificate")
    assert "empty.pem can't be used" in cause(login(secured, ca_file=str(tmp_path / "empty.pem")))


@pytest.mark.broker
def test_advertised_brokers_out_of_reach_are_named(closed_port):
    """A broker that sends its clients to an address they can't reach is found out before they hang."""
    listeners = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{closed_port},CONTROLLER://127.0.0.1:{closed_port}"}
    with Broker(settings=listeners) as broker:
        sentence = cause(KafkaConnection(bootstrap=(broker.bootstrap,)))
    assert "its advertised.listeners" in sentence
    assert f"127.0.0.1:{closed_port} refuses connections" in sentence


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"bootstrap": ()}, "No bootstrap server"),
        ({"bootstrap": ("broker",)}, "not of the form host:port"),
        ({"bootstrap": ("broker:0",)}, "not of the form host:port"),
        ({"bootstrap": ("kafka://broker:9092",)}, "not of the form host:port"),
        ({"protocol": "TLS"}, "is not one of PLAINTEXT, SSL"),
        ({"protocol": "SASL_SSL"}, "needs a mechanism"),
        ({"password": "hush"}, "sends no credentials"),
        ({"ca_file": "ca.pem"}, "uses no certificates"),
        ({"protocol": "SSL", "key_file": "key.pem"}, "without its cert_file"),
        (
            {"protocol": "SASL_SSL", "mechanism": "SCRAM", "username": "me", "password": "hush"},
            "is not one of PLAIN, SCRAM-SHA-256",
        ),
    ],
)
def test_a_connection_that_can_not_be_is_refused(parts, words):
    """Parts that don't fit together are a UsageError before anything is tried."""
    with pytest.raises(UsageError, match=words) as caught:
        KafkaConnection(**{"bootstrap": ("broker:9092",)} | parts)
    assert "hush" not in str(caught.value)


def test_the_password_is_not_shown():
    """The password reaches the client's arguments and no text form of the connection."""
    connection = KafkaConnection(
        bootstrap=("[::1]:9092", "broker:9093"),
        protocol="SASL_SSL",
        mechanism="PLAIN",
        username="me",
        password="hush",
    )
    assert "hush" not in f"{connection} {connection!r}"
    assert connection.addresses == (("::1", 9092), ("broker", 9093))
    assert connection.client_arguments() == {
        "bootstrap_servers": ["[::1]:9092", "broker:9093"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": "hush",
    }
    assert dataclasses.replace(connection, password="other") != connection
