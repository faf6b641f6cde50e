"""Bad surroundings, through the real commands: one clear sentence, the documented exit code, and soon."""

from __future__ import annotations

import copy
import json
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from driftline_process import (
    DRIFTLINE,
    OUTPUTS,
    PATIENCE_S,
    Place,
    create_topic,
    driftline,
    ends,
    events,
    running,
    soon_s,
)

from streamer.errors import BrokerError, GapError, InDoubtError, UsageError
from streamer.testing.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]

USAGE, BROKER, GAP, DOUBT = (kind.exit_code for kind in (UsageError, BrokerError, GapError, InDoubtError))


@dataclass
class World:
    """A broker with topics that fit, the configuration that names them, and places that something can be wrong with."""

    bootstrap: str
    folder: Path
    config: dict[str, Any]
    mute_port: int  # where somebody listens and says nothing

    def topic(self, partitions: int) -> str:
        """A fresh topic, with another for its dead letters."""
        name = f"clear.{uuid.uuid4().hex[:8]}"
        create_topic(self.bootstrap, name, partitions)
        create_topic(self.bootstrap, f"{name}-dlt", 1)
        return name

    def file(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return name

    def table(self, name: str, columns: dict[str, list[Any]]) -> str:
        pq.write_table(pa.table(columns), self.folder / name)
        return name

    def write(self, config: dict[str, Any]) -> str:
        path = self.folder / "driftline.yaml"
        path.write_text(json.dumps(config, indent=1))
        return str(path)


@pytest.fixture(scope="module")
def world(kafka_broker, tmp_path_factory) -> Iterator[World]:
    tag = uuid.uuid4().hex[:8]
    config = {
        "kafka": {"bootstrap": kafka_broker.bootstrap, "group": f"clear-{tag}"},
        "topics": {f"clear.events.{tag}": {"format": "json"}},
        "outputs": {what: f"clear.{what}.{tag}" for what in OUTPUTS},
        "metrics": {"port": 0},
    }
    with socket.create_server(("127.0.0.1", 0)) as mute:
        made = World(kafka_broker.bootstrap, tmp_path_factory.mktemp("clear"), config, mute.getsockname()[1])
        create_topic(made.bootstrap, f"clear.events.{tag}", 2)
        driftline("topics", "--config", made.write(config), "--create")
        yield made


@dataclass
class Case:
    """A change that makes a good configuration wrong, and what `driftline run` says then."""

    change: Callable[[dict[str, Any], World], None]
    exit_code: int
    says: tuple[str, ...]


def setting(path: str, value: Any) -> Callable[[dict[str, Any], World], None]:
    """Set one setting; a callable value is asked with the world."""

    def change(config: dict[str, Any], world: World) -> None:
        *sections, last = path.split(".")
        for section in sections:
            config = config.setdefault(section, {})
        config[last] = value(world) if callable(value) else value

    return change


def also_reads(partitions: int) -> Callable[[dict[str, Any], World], None]:
    return lambda config, world: config["topics"].update({world.topic(partitions): {"format": "json"}})


def misspells(config: dict[str, Any], world: World) -> None:
    (topic,) = config["topics"]
    config["topics"] = {topic[:-1] + "x": {"format": "json"}}


CASES = {
    "nothing listens": Case(
        setting("kafka.bootstrap", "127.0.0.1:1"), BROKER, ("127.0.0.1:1 refuses connections", "is Kafka running")
    ),
    "no such host": Case(
        setting("kafka.bootstrap", "kafka.invalid:9092"), BROKER, ("kafka.invalid does not resolve", "spelled right")
    ),
    "none of several": Case(
        setting("kafka.bootstrap", ["127.0.0.1:1", "kafka.invalid:9092"]),
        BROKER,
        ("No Kafka broker can be used", "127.0.0.1:1 refuses", "kafka.invalid does not resolve"),
    ),
    "somebody who says nothing": Case(
        setting("kafka.bootstrap", lambda world: f"127.0.0.1:{world.mute_port}"),
        BROKER,
        ("did not answer within", "is this the port of a Kafka broker"),
    ),
    "no host and port": Case(
        setting("kafka.bootstrap", "localhost"), USAGE, ("kafka.bootstrap: must be host:port", "driftline.yaml:3: ")
    ),
    "a misspelt setting": Case(
        setting("metrics.prot", 1), USAGE, ("metrics.prot: unknown setting; did you mean port?",)
    ),
    "a misspelt detector": Case(setting("detectors", {"adwim": {}}), USAGE, ("did you mean adwin?",)),
    "a value of a wrong type": Case(setting("commit.interval_s", "soon"), USAGE, ("commit.interval_s",)),
    "an event topic that does not exist": Case(
        misspells, BROKER, ("lacks the event topic clear.events.", "did you mean clear.events.", "start the producers")
    ),
    "an output topic that does not exist": Case(
        setting("outputs.watermarks", "clear.nowhere"),
        BROKER,
        ("lacks the output topics clear.nowhere, clear.nowhere-dlt", "`driftline topics --config FILE --create`"),
    ),
    "alerts in several partitions": Case(
        setting("outputs.alerts", lambda world: world.topic(3)),
        BROKER,
        ("has 3 partitions for topic clear.", "alerts need one order", "outputs.alerts"),
    ),
    "epochs in too few partitions": Case(
        setting("outputs.epochs", lambda world: world.topic(1)), BROKER, ("has 1 partitions for topic", "--create")
    ),
    "event topics of unequal partitions": Case(
        also_reads(3), BROKER, ("different partition counts (clear.events.", " has 2, ", " has 3)", "give all of them")
    ),
    "another group's epochs": Case(
        setting("kafka.group", "other"), USAGE, ("by group clear-", "which is group other", "outputs.prefix")
    ),
    "no reference file": Case(
        setting("references.file", "nowhere.parquet"), USAGE, ("references.file: there is no file", "nowhere.parquet")
    ),
    "a reference that is no Parquet": Case(
        setting("references.file", lambda world: world.file("text.parquet", b"hello")),
        USAGE,
        ("text.parquet: the training reference can't be read",),
    ),
    "a reference without models": Case(
        setting("references.file", lambda world: world.table("x.parquet", {"x": [1.0]})),
        USAGE,
        ("x.parquet: a training reference needs a column model_id", "it has x"),
    ),
    "no password": Case(
        setting(
            "kafka.security",
            {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "me", "password_env": "DRIFTLINE_NOT_SET"},
        ),
        USAGE,
        ("kafka.security.password_env: the variable DRIFTLINE_NOT_SET is not set",),
    ),
}


def adjusted(world: World, case: Case) -> dict[str, Any]:
    """The good configuration with the case's change."""
    config = copy.deepcopy(world.config)
    case.change(config, world)
    return config


@pytest.fixture(scope="module")
def begun(world):
    """The world's group has begun, on a topic that holds nothing: what the service said of it."""
    with running(Path(world.write(world.config))) as service:
        service.wait_until_done()
        started_s = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started_s < soon_s()
    return "".join(service.said)


def test_an_empty_topic_is_waited_for(begun):
    """On an empty topic the service waits, ready, and ends with 0 when it is asked to."""
    assert "stopped; all folded records are committed" in begun
    assert not re.search(r"WARNING driftline: \[(?!kafka)|ERROR|Traceback", begun), begun


@pytest.mark.parametrize("name", CASES)
def test_run_says_what_is_wrong(world, begun, name):
    """One sentence with what happened, where, and what to do next."""
    case = CASES[name]
    said = ends("run", "--config", world.write(adjusted(world, case)), exit_code=case.exit_code)
    assert len(said.splitlines()) == 1
    assert [words for words in case.says if words not in said] == []


def test_run_names_everything_that_is_missing(world):
    """On a cluster without any of the topics, both kinds are named, and `topics` says the same of them."""
    config = copy.deepcopy(world.config)
    config["topics"] = {"clear.none": {"format": "json"}}
    config["outputs"] = {what: f"clear.none.{what}" for what in OUTPUTS}
    file = world.write(config)
    said = ends("run", "--config", file, exit_code=BROKER)
    assert "the event topic clear.none" in said
    written = ", ".join(f"clear.none.{what}" for what in ("alerts", "control", "watermarks", "epochs", "incidents"))
    assert f"the output topics {written}, " in said
    assert "clear.none-dlt" in said
    assert ends("topics", "--config", file, exit_code=BROKER) == said


def test_a_taken_metrics_port_is_named(world):
    """Who can't serve metrics does not start at all: it would be taken for dead."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = ends("run", "--config", world.write(world.config | {"metrics": {"port": port}}), exit_code=USAGE)
    assert f"can't listen on 127.0.0.1:{port}" in said
    assert "metrics.port" in said


def test_a_wrong_password_is_called_so(world, tmp_path):
    """On a broker that asks for a password, the true cause is reported, and where to mend it."""
    (tmp_path / "password").write_text("wrong\n")
    security = {
        "protocol": "SASL_PLAINTEXT",
        "mechanism": Broker.mechanism,
        "username": Broker.username,
        "password_file": str(tmp_path / "password"),
    }
    with Broker(sasl=True) as broker:
        kafka = {"bootstrap": broker.secured_bootstrap, "group": "clear", "security": security}
        said = ends("run", "--config", world.write(world.config | {"kafka": kafka}), exit_code=BROKER)
        assert "wrong user name or password" in said
        assert "kafka.security" in said
        said = ends("record", "--bootstrap", broker.secured_bootstrap, "bus", "--out", "x", exit_code=BROKER)
        assert "asks for a login" in said


def test_record_refuses_what_it_can_not_do(world, tmp_path):
    """A missing topic, a closed port and a folder that does not exist are named; no file is left behind."""
    (topic,) = world.config["topics"]
    out = str(tmp_path / "recording.parquet")
    said = ends("record", "--bootstrap", world.bootstrap, "clear.none", "--out", out, exit_code=BROKER)
    assert "topic clear.none does not exist" in said
    said = ends("record", "--bootstrap", "127.0.0.1:1", topic, "--out", out, exit_code=BROKER)
    assert "refuses connections" in said
    nowhere = str(tmp_path / "nowhere" / "recording.parquet")
    said = ends("record", "--bootstrap", world.bootstrap, topic, "--out", nowhere, "--until-end", exit_code=USAGE)
    assert f"{nowhere}: No such file or directory. Name a file in a folder" in said
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_whole_at_the_end_and_after_ctrl_c(kafka_broker, tmp_path):
    """With --until-end all records are in the file; after Ctrl-C those that had been read, from the first on."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    place.produce({0: events(400)})
    whole, broken_off = tmp_path / "whole.parquet", tmp_path / "broken-off.parquet"
    driftline("record", "--config", str(place.config), "--until-end", "--out", str(whole))
    assert pq.read_table(whole)["value"].to_pylist() == events(400)
    command = [*DRIFTLINE, "record", "--config", str(place.config), "--out", str(broken_off)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as recording:
        deadline_s = time.monotonic() + PATIENCE_S
        while not list(tmp_path.glob(".broken-off*")) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        time.sleep(2)
        recording.send_signal(signal.SIGINT)
        _, said = recording.communicate(timeout=PATIENCE_S)
    assert recording.returncode == 0, said
    values = pq.read_table(broken_off)["value"].to_pylist()
    assert values == events(400)[: len(values)]
    assert f"broken-off.parquet: {len(values):,} records of {place.events}" in said
    assert list(tmp_path.glob(".broken-off*")) == []
