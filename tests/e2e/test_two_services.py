"""Two services on one cluster: the second is refused while it shares outputs, and runs with a prefix of its own."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from driftline_process import PATIENCE_S, create_topic, driftline, ends, events, messages, running

from streamer.config import load_config
from streamer.errors import GapError, UsageError

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@dataclass
class Cluster:
    """A topic of events, one of them unreadable, and the configurations of services that read it."""

    bootstrap: str
    folder: Path
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __post_init__(self) -> None:
        self.events = f"bus.{self.tag}"
        create_topic(self.bootstrap, self.events, 1)
        self.produce([*events(50), b"no event"])

    def produce(self, values: list[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for value in values:
            producer.produce(self.events, value)
        assert producer.flush(PATIENCE_S) == 0

    def config(self, name: str, kafka: dict[str, Any] | None = None, **outputs: str) -> Path:
        """A configuration, once its topics exist."""
        path = self.folder / f"{name}.yaml"
        sections = {
            "kafka": {"bootstrap": self.bootstrap, **(kafka or {})},
            "topics": {self.events: {"format": "json"}},
            "outputs": outputs,
            "commit": {"interval_s": 0.2},
            "checkpoints": {"url": str(self.folder / name)},
            "metrics": {"port": 0},
        }
        path.write_text(json.dumps(sections, indent=1))
        driftline("topics", "--config", str(path), "--create")
        return path

    def ends_of(self, config: Path) -> dict[str, int]:
        """The end of each output topic of a configuration, transactions that were aborted included."""
        loaded = load_config(str(config))
        names = [loaded.outputs.watermarks, loaded.outputs.alerts, loaded.outputs.epochs, loaded.outputs.incidents]
        names.append(loaded.outputs.dead_letters(self.events))
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"reader-{uuid.uuid4().hex}"})
        found = {}
        for name in names:
            partitions = consumer.list_topics(name, PATIENCE_S).topics[name].partitions
            found[name] = sum(
                consumer.get_watermark_offsets(TopicPartition(name, p), PATIENCE_S)[1] for p in partitions
            )
        consumer.close()
        return found


@pytest.fixture(scope="module")
def cluster(kafka_broker, tmp_path_factory) -> Cluster:
    return Cluster(kafka_broker.bootstrap, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def production(cluster) -> Path:
    """The configuration of a service that has run."""
    config = cluster.config("production", prefix=f"prod-{cluster.tag}.")
    with running(config) as service:
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    return config


def test_a_second_service_on_the_same_outputs_is_refused(cluster, production):
    """It ends with exit code 2 before it writes anything, and names each owned topic, its owner and the setting."""
    before = cluster.ends_of(production)
    prefix, second = f"prod-{cluster.tag}.", f"second-{cluster.tag}"
    config = cluster.config("same", {"group": second}, prefix=prefix)
    said = ends("run", "--no-supervise", "--config", str(config), exit_code=UsageError.exit_code)
    assert f"Another service owns outputs of this one, which is group {second}: " in said
    assert all(name in said for name in (f"{prefix}epochs", f"{prefix}watermarks", f"{prefix}{cluster.events}-dlt"))
    assert f"by group prod-{cluster.tag}. Two services in one topic publish everything twice" in said
    assert f"outputs.prefix, such as `{second}.`" in said
    assert cluster.ends_of(production) == before


def test_epochs_of_its_own_are_not_enough(cluster, production):
    """A second service with another epochs topic alone would fold and publish everything twice: it is refused too."""
    before = cluster.ends_of(production)
    prefix = f"prod-{cluster.tag}."
    config = cluster.config(
        "epochs", {"group": f"second-{cluster.tag}"}, prefix=prefix, epochs=f"second-{cluster.tag}.epochs"
    )
    said = ends("run", "--config", str(config), exit_code=UsageError.exit_code)
    assert f"{prefix}watermarks by group prod-{cluster.tag}" in said
    assert cluster.ends_of(production) == before


def test_a_second_service_in_the_same_group_is_refused(cluster, production):
    """With topics of its own and the group of another service, it ends with exit code 4 and hurts nobody."""
    config = cluster.config("group", {"group": f"prod-{cluster.tag}"}, prefix=f"third-{cluster.tag}.")
    with running(production) as service:
        service.wait_until_done()
        said = ends("run", "--no-supervise", "--config", str(config), exit_code=GapError.exit_code)
        assert "another service uses the group. Set kafka.group to a name of its own" in said
        cluster.produce(events(10))
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    assert not any(cluster.ends_of(config).values())


def test_a_prefix_is_enough_for_a_second_service(cluster, production):
    """With nothing but a prefix, it runs beside the first, restarts, and publishes into topics of its own."""
    config = cluster.config("staging", prefix=f"staging-{cluster.tag}.driftline.")
    loaded = load_config(str(config))
    assert loaded.kafka.group == f"staging-{cluster.tag}.driftline"
    letters = loaded.outputs.dead_letters(cluster.events)
    with running(production) as first:
        for _ in range(2):
            with running(config) as second:
                second.wait_until_done()
                assert second.stop() == 0, "".join(second.said)
        first.wait_until_done()
        assert first.stop() == 0, "".join(first.said)
    for topic in (letters, f"prod-{cluster.tag}.{cluster.events}-dlt"):
        assert [message.value() for message in messages(cluster.bootstrap, topic)] == [b"no event"]
    owners = {dict(message.headers())["__driftline.group"] for message in messages(cluster.bootstrap, letters)}
    assert owners == {loaded.kafka.group.encode()}
    assert cluster.ends_of(config)[loaded.outputs.watermarks]
