import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from streamer.errors import BrokerError
from streamer.testing import kafka_config
from streamer.testing.kafka_cluster import Cluster

pytestmark = pytest.mark.broker


def write(bootstrap, topic, values):
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", retry_backoff_ms=50)
    try:
        futures = [producer.send(topic, value, partition=0) for value in values]
        for future in futures:
            future.get(30)
    finally:
        producer.close(5)


def read(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        spot = TopicPartition(topic, 0)
        consumer.assign([spot])
        consumer.seek_to_beginning(spot)
        end, values = consumer.end_offsets([spot])[spot], []
        while consumer.position(spot) < end:
            values += [record.value for record in consumer.poll(500).get(spot, [])]
        return values
    finally:
        consumer.close(autocommit=False)


def the_partition(bootstrap, topic):
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        ((partition,),) = [answer["partitions"] for answer in admin.describe_topics([topic])]
        return partition


def test_a_ready_cluster_keeps_everything_three_times(kafka_cluster, unique_topic):
    """A topic's partition is on all three brokers, which are all in step, and two must have a record."""
    topic = unique_topic("kept")
    kafka_cluster.create_topics({topic: 1})
    kafka_cluster.wait_until_ready()
    partition = the_partition(kafka_cluster.bootstrap, topic)
    assert sorted(partition["replica_nodes"]) == sorted(partition["isr_nodes"]) == [1, 2, 3]
    assert len(kafka_cluster.bootstrap.split(",")) == 3
    assert "min.insync.replicas=2" in kafka_cluster.brokers[0].home.properties.read_text()


def test_the_death_of_the_leader_loses_nothing_and_stops_nobody(kafka_cluster, unique_topic):
    """With the leader of a partition killed, what was acknowledged is there and more can be written; it comes back."""
    topic = unique_topic("kept")
    kafka_cluster.create_topics({topic: 1})
    write(kafka_cluster.bootstrap, topic, [b"one"])
    address = kafka_cluster.bootstrap
    leader = kafka_cluster.brokers[the_partition(address, topic)["leader_id"] - 1]
    leader.kill()
    assert not leader.running
    write(address, topic, [b"two"])
    with pytest.raises(BrokerError, match=rf"2 of 3 brokers run; start\(\) broker \[{leader.node_id}\]"):
        kafka_cluster.wait_until_ready()
    leader.start()
    kafka_cluster.wait_until_ready()
    assert sorted(the_partition(address, topic)["isr_nodes"]) == [1, 2, 3]
    assert kafka_cluster.bootstrap == address
    assert read(address, topic) == [b"one", b"two"]


@pytest.mark.slow
def test_a_frozen_broker_is_missed_until_it_goes_on(kafka_cluster, unique_topic):
    """A broker paused for longer than its session is not ready, and is again after it was resumed."""
    topic = unique_topic("kept")
    kafka_cluster.create_topics({topic: 1})
    frozen = kafka_cluster.brokers[the_partition(kafka_cluster.bootstrap, topic)["leader_id"] % 3]
    frozen.pause()
    try:
        assert missed_within(kafka_cluster, timeout_s=20 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
    finally:
        frozen.resume()
    kafka_cluster.wait_until_ready()
    write(kafka_cluster.bootstrap, topic, [b"one"])


def missed_within(cluster, timeout_s):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            cluster.wait_until_ready(timeout_s=0)
        except BrokerError as error:
            # That it did not answer may be said of any broker, before the cluster has noticed anything.
            if "not registered" in str(error) or "in step" in str(error):
                return True
    return False


@pytest.mark.slow
def test_all_come_back_after_all_were_killed_or_stopped(kafka_cluster, unique_topic):
    """Data and addresses survive the SIGKILL of all brokers at once, and an orderly stop, which is over in seconds."""
    topic = unique_topic("kept")
    kafka_cluster.create_topics({topic: 1})
    write(kafka_cluster.bootstrap, topic, [b"one"])
    for broker in kafka_cluster.brokers:
        broker.kill()
    kafka_cluster.start()
    write(kafka_cluster.bootstrap, topic, [b"two"])
    began = time.monotonic()
    kafka_cluster.stop()
    assert time.monotonic() - began < 10
    assert [broker.pid for broker in kafka_cluster.brokers] == [None, None, None]
    kafka_cluster.start()
    assert read(kafka_cluster.bootstrap, topic) == [b"one", b"two"]


@pytest.mark.slow
def test_a_port_taken_meanwhile_gives_all_other_ports(monkeypatch):
    """When one of the chosen ports is taken before Kafka binds it, the whole cluster comes up on others."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        choose, calls = kafka_config.free_ports, []

        def choose_badly_once(listeners):
            calls.append(1)
            ports = choose(listeners)
            return ports | {kafka_config.PLAIN: taken} if len(calls) == 2 else ports

        monkeypatch.setattr(kafka_config, "free_ports", choose_badly_once)
        with Cluster() as cluster:
            assert f"127.0.0.1:{taken}" not in cluster.bootstrap
            cluster.create_topics({"up": 1})
    assert len(calls) == 6


def test_a_cluster_that_does_not_start_says_why_and_leaves_nothing(monkeypatch, tmp_path):
    """The error quotes the end of a broker's log; processes and folders are gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cluster = Cluster(settings={"log.segment.bytes": "not a number"})
    with pytest.raises(BrokerError, match=r"not.a.number"):
        cluster.start()
    assert not any(broker.running for broker in cluster.brokers)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BrokerError, match=r"has not been started: call start\(\)"):
        _ = cluster.bootstrap


def test_no_broker_survives_the_sigkill_of_its_asker(tmp_path):
    """SIGKILL of the process that started a cluster ends all brokers and removes their data."""
    script = textwrap.dedent("""
        import time
        from streamer.testing.kafka_cluster import Cluster
        cluster = Cluster()
        cluster.start()
        print("up", flush=True)
        time.sleep(60)
    """)
    asker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with asker:
        assert asker.stdout.readline() == "up\n"
        assert len(processes_of(tmp_path)) == 6
        asker.send_signal(signal.SIGKILL)
        asker.wait()
    deadline = time.monotonic() + 15
    while (processes_of(tmp_path) or list(tmp_path.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def processes_of(folder):
    """The pids of all processes that name `folder` in their command, as brokers and their supervisors do."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found
