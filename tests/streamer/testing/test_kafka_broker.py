import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streamer.errors import BrokerError
from streamer.testing import kafka_config
from streamer.testing.kafka import Broker

pytestmark = pytest.mark.broker


def produce(bootstrap, topic, values):
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def consume(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


def java_processes_of(folder):
    """The pids of all processes that name `folder` in their command, as the broker and its supervisor do."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                pids.append(int(entry.parent.name))
        except OSError:
            continue
    return pids


def wait_until(condition, timeout_s=15.0):
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture(scope="module")
def own_broker():
    with Broker() as broker:
        yield broker


def test_a_foreign_client_writes_and_reads(kafka_broker, unique_topic):
    """What confluent-kafka writes to the session's broker, confluent-kafka reads back."""
    topic = unique_topic("events")
    kafka_broker.create_topics({topic: 1})
    produce(kafka_broker.bootstrap, topic, [b"one", b"two"])
    assert consume(kafka_broker.bootstrap, topic, 2) == [b"one", b"two"]


def test_data_survives_a_kill_and_a_restart(own_broker):
    """Records acknowledged before SIGKILL, and before an orderly restart, are there afterwards at the same address."""
    address = own_broker.bootstrap
    own_broker.create_topics({"kept": 1})
    produce(address, "kept", [b"one"])
    own_broker.kill()
    assert own_broker.pid is None
    own_broker.start()
    produce(address, "kept", [b"two"])
    own_broker.restart()
    assert own_broker.bootstrap == address
    assert consume(address, "kept", 2) == [b"one", b"two"]


def test_records_with_old_timestamps_are_kept(own_broker):
    """The broker has no retention, so a recorded stream keeps its own, old times."""
    own_broker.create_topics({"old": 1}, {"segment.ms": "1000"})
    producer = Producer({"bootstrap.servers": own_broker.bootstrap})
    producer.produce("old", b"ancient", timestamp=1_000)
    producer.flush(20)
    assert consume(own_broker.bootstrap, "old", 1) == [b"ancient"]
    assert "log.retention.ms=-1" in own_broker._home.properties.read_text()


def test_a_broker_not_yet_started_has_no_address():
    """Asking too early is reported what to do; stopping what does not run is nothing."""
    broker = Broker()
    broker.close()
    with pytest.raises(BrokerError, match=r"has not been started: call start\(\)"):
        _ = broker.bootstrap


def test_a_broker_that_does_not_start_says_why():
    """The error quotes the end of the broker's log, and nothing stays behind."""
    broker = Broker(settings={"log.segment.bytes": "not a number"})
    with pytest.raises(BrokerError, match=r"not.a.number"):
        broker.start()
    assert broker.pid is None


def test_a_port_taken_meanwhile_is_replaced(monkeypatch):
    """When the chosen port is taken before Kafka binds it, the broker comes up on another."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        choose, calls = kafka_config.free_ports, []

        def choose_badly_once(listeners):
            calls.append(1)
            ports = choose(listeners)
            return ports | {kafka_config.PLAIN: taken} if len(calls) == 1 else ports

        monkeypatch.setattr(kafka_config, "free_ports", choose_badly_once)
        with Broker() as broker:
            assert broker.bootstrap != f"127.0.0.1:{taken}"
            broker.create_topics({"up": 1})
    assert len(calls) == 2


def test_no_java_survives_the_sigkill_of_its_asker(tmp_path):
    """SIGKILL of the process that started a broker ends it and removes its data, though a forked child lives."""
    script = textwrap.dedent("""
        import os, time
        from streamer.testing.kafka import Broker
        broker = Broker()
        broker.start()
        child = os.fork()
        if child:
            print(broker.ca_file.parent, child, flush=True)
        time.sleep(60)
    """)
    asker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with asker:
        folder, child = asker.stdout.readline().split()
        try:
            assert len(java_processes_of(folder)) == 2
            asker.kill()
            asker.wait()
            assert wait_until(lambda: not java_processes_of(folder))
            assert wait_until(lambda: not Path(folder).exists())
        finally:
            os.kill(int(child), signal.SIGKILL)


def test_no_java_survives_the_sigkill_of_its_supervisor():
    """When the supervisor itself is killed, the kernel ends the broker."""
    with Broker() as broker:
        folder, java = broker.ca_file.parent, broker.pid
        (supervisor,) = set(java_processes_of(folder)) - {java}
        os.kill(supervisor, signal.SIGKILL)
        assert wait_until(lambda: not java_processes_of(folder))
        broker.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_the_address_and_stops(tmp_path, number):
    """`python -m streamer.testing.kafka` prints one line, serves, and on a signal ends with 0 and leaves nothing."""
    with subprocess.Popen(
        # As a shell script starts its background commands: with SIGINT ignored.
        ["sh", "-c", f"trap '' INT; exec {sys.executable} -m streamer.testing.kafka"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as command:
        address = command.stdout.readline().strip()
        host, port = address.split(":")
        socket.create_connection((host, int(port)), 5).close()
        command.send_signal(number)
        rest, errors = command.communicate(timeout=30)
    assert command.returncode == 0, errors
    assert rest == ""
    assert errors == ""
    assert list(tmp_path.iterdir()) == []
    assert java_processes_of(tmp_path) == []
