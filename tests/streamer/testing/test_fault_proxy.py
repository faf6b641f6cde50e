"""The proxy, in front of a server that answers with what it was reported; and in front of a broker."""

import socket
import threading
import time

import pytest
from kafka import KafkaAdminClient

from streamer.errors import BrokerError
from streamer.testing.fault_proxy import FaultProxy
from streamer.testing.kafka import Broker
from streamer.testing.kafka_cluster import Cluster


class Echo:
    """A server that says everything back, and remembers what it heard."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = bytearray()
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            if not self.port:
                connection.close()
                return
            self.threads.append(threading.Thread(target=self.answer, args=(connection,)))
            self.threads[-1].start()

    def answer(self, connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    self.heard += data
                    connection.sendall(data)
            except OSError:
                return

    def close(self):
        port, self.port = self.port, 0
        socket.create_connection(("127.0.0.1", port)).close()
        for thread in self.threads:
            thread.join()
        self.listener.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo):
    between = FaultProxy()
    between.upstream_port = echo.port
    yield between
    between.close()


@pytest.fixture
def connect(proxy):
    opened = []

    def new():
        host, port = proxy.address.split(":")
        opened.append(socket.create_connection((host, int(port)), timeout=5))
        return opened[-1]

    yield new
    for connection in opened:
        connection.close()


def say(connection, data):
    """What comes back of `data`, or as much as came before the other end closed."""
    connection.sendall(data)
    return hear(connection, len(data))


def hear(connection, size):
    heard = bytearray()
    while len(heard) < size and (more := connection.recv(size)):
        heard += more
    return bytes(heard)


def is_dead(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def heard_by(echo, data, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while data not in echo.heard and time.monotonic() < deadline:
        time.sleep(0.01)
    return data in echo.heard


def test_without_faults_everything_passes(connect):
    """Bytes come through whole and in order, on several connections, more than fits under way at once."""
    first, second = connect(), connect()
    much = bytes(range(256)) * 100_000
    answers = []
    reader = threading.Thread(target=lambda: answers.append(hear(first, len(much))))
    reader.start()
    first.sendall(much)
    assert say(second, b"small") == b"small"
    reader.join()
    assert answers == [much]


def test_the_end_of_one_side_is_the_end_of_the_other(connect, echo, proxy):
    """A client that leaves is seen to leave upstream, where all it said before has arrived."""
    connection = connect()
    connection.sendall(b"last words")
    connection.close()
    assert heard_by(echo, b"last words")
    echo.threads[1].join(5)
    assert not echo.threads[1].is_alive()


def test_cut_resets_what_stands_and_refuse_what_comes(connect, proxy):
    """`cut` ends every connection and lets new ones in; with `refuse` new ones end at once and old ones go on."""
    first, second = connect(), connect()
    assert say(first, b"1") == say(second, b"1") == b"1"
    proxy.cut()
    assert is_dead(first)
    assert is_dead(second)
    third = connect()
    assert say(third, b"3") == b"3"
    proxy.refuse = True
    assert is_dead(connect())
    assert say(third, b"4") == b"4"
    proxy.heal()
    assert say(connect(), b"5") == b"5"


def test_a_delay_is_of_each_way_and_not_of_each_piece(connect, proxy):
    """An answer takes twice the delay, and many pieces at once no longer than one."""
    connection = connect()
    proxy.delay_s = 0.2
    began = time.monotonic()
    assert say(connection, b"once") == b"once"
    assert 0.4 <= time.monotonic() - began < 0.8
    began = time.monotonic()
    for _ in range(20):
        connection.sendall(b"piece")
        time.sleep(0.005)
    assert hear(connection, 100) == b"piece" * 20
    assert time.monotonic() - began < 1.2


def test_a_black_hole_swallows_requests_for_good(connect, echo, proxy):
    """What a client says is lost, and what it says later on the same connection too; on a new one all is well."""
    hurt, spared = connect(), connect()
    assert say(hurt, b"before") == say(spared, b"before") == b"before"
    proxy.black_hole = True
    hurt.sendall(b"swallowed")
    hurt.settimeout(0.3)
    with pytest.raises(TimeoutError):
        hurt.recv(1)
    proxy.heal()
    hurt.sendall(b"past the gap")
    with pytest.raises(TimeoutError):
        hurt.recv(1)
    assert say(spared, b"after") == say(connect(), b"after") == b"after"
    assert b"swallowed" not in echo.heard
    assert b"past the gap" not in echo.heard


def test_a_black_hole_for_answers_delivers_requests(connect, echo, proxy):
    """The request arrives upstream, and nothing comes back."""
    connection = connect()
    proxy.black_hole_answers = True
    connection.sendall(b"please")
    assert heard_by(echo, b"please")
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)


def test_nobody_upstream_is_a_connection_that_ends(proxy, connect):
    """A client of a proxy with nothing behind it is cut off, and served once there is something."""
    there = proxy.upstream_port
    with socket.socket() as bound:  # and not listening, so that it refuses
        bound.bind(("127.0.0.1", 0))
        proxy.upstream_port = bound.getsockname()[1]
        assert is_dead(connect())
    proxy.upstream_port = there
    assert say(connect(), b"hello") == b"hello"


def test_a_closed_proxy_gives_its_port_back(echo):
    """After `close`, which may be called twice, connections are dead and nobody listens."""
    proxy = FaultProxy()
    proxy.upstream_port = echo.port
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        assert say(connection, b"1") == b"1"
        proxy.close()
        proxy.close()
        assert is_dead(connection)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))


@pytest.mark.broker
def test_a_client_that_starts_at_the_proxy_never_goes_around_it():
    """The broker tells clients of the proxy to come back to the proxy, and others its own address, for good."""
    with Broker(proxied=True) as broker:
        for _ in range(2):
            reported = {}
            for bootstrap in (broker.proxied_bootstrap, broker.bootstrap):
                with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
                    (node,) = admin.describe_cluster()["brokers"]
                    reported[bootstrap] = f"{node['host']}:{node['port']}"
            assert reported == {address: address for address in (broker.proxied_bootstrap, broker.bootstrap)}
            broker.kill()
            broker.start()


@pytest.mark.broker
def test_each_broker_of_a_cluster_can_have_a_proxy():
    """A client that starts at the proxies of a cluster learns of proxies alone."""
    with Cluster(2, proxied=True) as cluster, KafkaAdminClient(bootstrap_servers=cluster.proxied_bootstrap) as admin:
        reported = {f"{node['host']}:{node['port']}" for node in admin.describe_cluster()["brokers"]}
        assert reported == set(cluster.proxied_bootstrap.split(","))
        assert reported.isdisjoint(cluster.bootstrap.split(","))


@pytest.mark.broker
def test_a_broker_without_a_proxy_says_how_to_get_one():
    """Asking for a proxy that was not ordered names the argument that orders it."""
    with Broker() as broker, pytest.raises(BrokerError, match="proxied=True"):
        _ = broker.proxy
