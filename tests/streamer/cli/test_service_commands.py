"""`record`, `check-config` and `topics`, with the application and the broker played by the test."""

from __future__ import annotations

from uuid import UUID

import pytest
from cli_kit import cli

from streamer.app.record import Extent
from streamer.errors import BrokerError
from streamer.eventlog.kafka import admin as kafka_admin
from streamer.eventlog.kafka.admin import Topic


def test_check_config_says_what_will_be_done(config):
    """One line: what is read, watched and published."""
    ran = cli("check-config")
    assert ran.exit_code == 0
    (line,) = ran.stdout.splitlines()
    assert line.startswith("driftline.yaml: ok; reads bus and tram from localhost:9092 as group driftline, ")
    assert "shiryaev_roberts" in line
    assert line.endswith(
        "publishes to driftline.alerts, driftline.incidents, driftline.retrain-requests, driftline.decisions and "
        "driftline.profiles"
    )


def test_check_config_says_everything_that_is_wrong(config):
    """One line a problem, as editors understand them, and exit code 2."""
    config.write_text("kafka:\n  bootstrap: a:1\ntopics: {bus: }\ndetectors:\n  adwim:\nmetrics:\n  prot: 1\n")
    ran = cli("check-config")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        "driftline.yaml:5: detectors.adwim: unknown detector; did you mean adwin?",
        "driftline.yaml:7: metrics.prot: unknown setting; did you mean port?",
    ]


def test_check_config_takes_the_file_by_position(config):
    """FILE and `--config FILE` are the same; both at once are an error, as one of them would go unchecked."""
    config.with_name("other.yaml").write_text("kafka: {bootstrap: a:1}\ntopics: {rail: }\n")
    assert cli("check-config", "other.yaml").stdout == cli("check-config", "--config", "other.yaml").stdout
    assert "reads rail from" in cli("check-config", "other.yaml").stdout
    both = cli("check-config", "other.yaml", "--config", "driftline.yaml")
    assert (both.exit_code, both.stdout) == (2, "")
    assert "Name one file: other.yaml, or --config driftline.yaml." in both.stderr


def test_check_config_names_the_default_detectors_that_are_off(config):
    """Naming one detector drops the default ones, so the summary says it, and how to have both."""
    text = config.read_text()
    config.write_text(text + "\ndetectors: {ks_window: }\n")
    assert cli("check-config").stdout.splitlines()[1] == (
        "  detectors: only ks_window runs; the defaults shiryaev_roberts, category_rates and rate are off; "
        "write +ks_window to add to the defaults"
    )
    config.write_text(text + "\ndetectors: {+ks_window: }\n")
    (line,) = cli("check-config").stdout.splitlines()
    assert "by shiryaev_roberts, category_rates, rate and ks_window, publishes" in line


def test_check_config_names_a_missing_file(config):
    """A wrong path is one line too."""
    ran = cli("check-config", "--config", "other.yaml")
    assert (ran.exit_code, ran.stderr) == (2, "other.yaml: no such file; name one with --config\n")


def test_record_takes_brokers_and_topics_from_the_command_line(config, fake_app):
    """Everything asked for reaches the application."""
    ran = cli("record", "--bootstrap", "a:1, b:2", "bus", "--out", "x.parquet", "--records", "9", "--from", "latest")
    assert ran.exit_code == 0
    assert fake_app.calls["connection"].bootstrap == ("a:1", "b:2")
    assert fake_app.calls["topics"] == ("bus",)
    assert str(fake_app.calls["out"].path) == "x.parquet"
    assert fake_app.calls["extent"] == Extent("latest", until_end=False, records_max=9)
    assert "x.parquet: 1,000 records of bus" in ran.stderr


def test_record_takes_them_from_the_configuration(config, fake_app):
    """Its topics are recorded, unless others are named."""
    cli("record", "--config", "driftline.yaml", "--out", "x.parquet", "--until-end")
    assert fake_app.calls["topics"] == ("bus", "tram")
    assert fake_app.calls["extent"].until_end
    cli("record", "--config", "driftline.yaml", "other", "--out", "x.parquet")
    assert fake_app.calls["topics"] == ("other",)


@pytest.mark.parametrize(
    "arguments", [("bus",), ("--bootstrap", "a:1"), ("--bootstrap", "a:1", "--config", "c", "bus")]
)
def test_record_wants_one_source_of_brokers_and_a_topic(config, fake_app, arguments):
    """Neither, both, or no topic is a usage error."""
    assert cli("record", *arguments, "--out", "x.parquet").exit_code == 2
    assert fake_app.calls == {}


def test_record_makes_parts_in_a_folder(config, fake_app):
    """--out with a slash at its end; a part is 1 GB unless --rotate says another size."""
    cli("record", "--bootstrap", "a:1", "bus", "--out", "june/")
    assert fake_app.calls["out"]._part_bytes == 10**9
    cli("record", "--bootstrap", "a:1", "bus", "--out", "june/", "--rotate", "1.5 mb")
    assert (str(fake_app.calls["out"].path), fake_app.calls["out"]._part_bytes) == ("june/", 1_500_000)
    fake_app.calls.clear()
    ran = cli("record", "--bootstrap", "a:1", "bus", "--out", "june.parquet", "--rotate", "1MB")
    assert (ran.exit_code, ran.stderr) == (2, "driftline: --rotate makes parts in a folder; write --out june/\n")
    ran = cli("record", "--bootstrap", "a:1", "bus", "--out", "june/", "--rotate", "much")
    assert (ran.exit_code, ran.stderr) == (2, "driftline: --rotate 'much': write a size, as in 500MB or 2GB\n")
    assert fake_app.calls == {}


def test_record_hashes_with_a_secret(config, fake_app, monkeypatch):
    """Without one, ids could be guessed from their hashes."""
    command = ("record", "--bootstrap", "a:1", "bus", "--out", "x.parquet", "--redact", "id=hash")
    monkeypatch.delenv("DRIFTLINE_SALT", raising=False)
    ran = cli(*command)
    assert (ran.exit_code, fake_app.calls) == (2, {})
    assert "set DRIFTLINE_SALT" in ran.stderr
    monkeypatch.setenv("DRIFTLINE_SALT", "pepper")
    assert cli(*command, "--keys", "bus-*", "--sample", ".1").exit_code == 0
    chosen = fake_app.calls["chosen"]
    assert (chosen.keys, chosen.share, chosen.salt) == (("bus-*",), 0.1, b"pepper")


class FakeCluster:
    """Remembers the topics it has, and with what settings they were made."""

    def __init__(self, *names: str) -> None:
        self.topics = {name: Topic(name, UUID(int=1), 4) for name in names}
        self.made: dict[str, tuple[int, dict[str, str]]] = {}

    def describe(self, _connection, names):
        return {name: self.topics[name] for name in names if name in self.topics}

    def names(self, _connection):
        return {*self.topics, "trams"}

    def grow(self, connection, name, partitions):  # noqa: ARG002
        self.topics[name] = Topic(name, UUID(int=1), partitions)

    def create(self, _connection, partitions, *, settings=None):
        for name, count in partitions.items():
            self.topics[name] = Topic(name, UUID(int=2), count)
            self.made[name] = (count, dict(settings or {}))


@pytest.fixture
def cluster(monkeypatch):
    def with_topics(*names: str) -> FakeCluster:
        cluster = FakeCluster(*names)
        monkeypatch.setattr(kafka_admin, "preflight", lambda _: None)
        monkeypatch.setattr(kafka_admin, "describe_topics", cluster.describe)
        monkeypatch.setattr(kafka_admin, "topic_names", cluster.names)
        monkeypatch.setattr(kafka_admin, "create_topics", cluster.create)
        monkeypatch.setattr(kafka_admin, "add_partitions", cluster.grow)
        return cluster

    return with_topics


def test_topics_lists_what_is_needed_and_what_is_missing(config, cluster):
    """Every topic with its use and state; exit code 3 while one is missing, and the cure for each kind."""
    known = cluster("bus", "driftline.alerts")
    ran = cli("topics")
    assert ran.exit_code == 3
    lines = [line.split(maxsplit=2) for line in ran.stdout.splitlines()]
    assert ["bus", "events", "exists, 4 partitions"] in lines
    assert ["tram", "events", "missing"] in lines
    assert ["driftline.epochs", "epochs", "missing"] in lines
    assert len(lines) == 2 + 8 + 5
    assert ran.stderr.startswith(
        "driftline: Kafka at localhost:9092 lacks the event topic tram, did you mean trams (correct the names under "
    )
    assert (
        "the output topics driftline.control, driftline.watermarks, driftline.epochs, driftline.incidents, "
        in ran.stderr
    )
    assert "(`driftline topics --config FILE --create` creates them)\n" in ran.stderr
    assert known.made == {}


def test_topics_creates_outputs_as_they_must_be(config, cluster):
    """Alerts and control have one partition, epochs one a unit, decisions as many as asked for, all kept.

    Incidents are compacted after a month, and event topics are not made.
    """
    known = cluster("bus", "tram")
    ran = cli("topics", "--create", "--partitions", "6")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert known.made["driftline.alerts"] == (1, {"retention.ms": "-1", "retention.bytes": "-1"})
    assert known.made["driftline.control"] == known.made["driftline.alerts"]
    assert known.made["driftline.epochs"] == (5, {"retention.ms": "-1", "retention.bytes": "-1"})
    assert known.made["driftline.incidents"] == (
        6,
        {"cleanup.policy": "compact", "min.compaction.lag.ms": "2592000000"},
    )
    assert known.made["driftline.decisions"] == (6, {"retention.ms": "-1", "retention.bytes": "-1"})
    assert known.made["driftline.retrain-requests"] == known.made["driftline.decisions"]
    assert known.made["bus-dlt"] == (6, {})
    assert "created, 6 partitions" in ran.stdout
    assert "created, 1 partition\n" in ran.stdout


def test_topics_never_creates_event_topics(config, cluster):
    """They are their producers' own, so they stay missing."""
    known = cluster("bus")
    ran = cli("topics", "--create")
    assert ran.exit_code == 3
    assert "tram" not in known.made
    assert "lacks the event topic tram" in ran.stderr
    assert "output" not in ran.stderr


def test_topics_says_which_partitions_do_not_fit(config, cluster):
    """Alerts need one order, and a label its prediction in the same partition: exit code 3, and what to do."""
    known = cluster("bus", "tram")
    cli("topics", "--create")
    known.topics["tram"] = Topic("tram", UUID(int=1), 6)
    ran = cli("topics")
    assert ran.exit_code == 3
    assert "has event topics of different partition counts (bus has 4, tram has 6)" in ran.stderr
    known.topics["driftline.alerts"] = Topic("driftline.alerts", UUID(int=1), 3)
    ran = cli("topics")
    assert ran.exit_code == 3
    assert "has 3 partitions for topic driftline.alerts, but alerts need one order" in ran.stderr


def test_topics_adds_the_partitions_that_epochs_lack(config, cluster):
    """Event topics that have grown have more units: said without --create, and mended with it."""
    known = cluster("bus", "tram")
    cli("topics", "--create")
    for topic in ("bus", "tram"):
        known.topics[topic] = Topic(topic, UUID(int=1), 6)
    ran = cli("topics")
    assert ran.exit_code == 3
    assert "has 5 partitions for topic driftline.epochs" in ran.stderr
    assert "--create` adds the missing ones" in ran.stderr
    ran = cli("topics", "--create")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "extended, 7 partitions" in ran.stdout


def test_topics_says_why_the_broker_can_not_be_reached(config, monkeypatch):
    """The preflight's sentence is all that is said."""

    def preflight(connection):
        raise BrokerError("localhost:9092 refuses connections")

    monkeypatch.setattr(kafka_admin, "preflight", preflight)
    ran = cli("topics")
    assert (ran.exit_code, ran.stderr) == (3, "driftline: localhost:9092 refuses connections\n")
