"""Topics with other keys are copied to topics with the model as key: each record once, whatever ends the copying."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from driftline_process import DRIFTLINE, PATIENCE_S, Place, create_topic, messages

from streamer.app.rekey import rekey
from streamer.cli import main
from streamer.clock import SystemClock
from streamer.commands.service.record import rekeyed_text
from streamer.config import load_config
from streamer.errors import GapError
from streamer.eventlog.kafka.transfer import partition_of_key

pytestmark = [pytest.mark.broker, pytest.mark.slow]

NOW_MS = int(time.time() * 1000) // 60_000 * 60_000
MODELS = 7
PARTITIONS = 4
ORIGIN, KEY, ROWS = "__driftline.origin", "__driftline.key", "__driftline.rows"


def event(i: int, **fields: object) -> bytes:
    at = NOW_MS - 600_000 + i
    return json.dumps({"model_id": f"m{i % MODELS}", "event_time": at, "prediction_id": f"p{i}"} | fields).encode()


def command(*arguments: str, config: Path) -> str:
    """The output of a command in this process."""
    done = CliRunner().invoke(main, [*arguments, "--config", str(config)])
    assert done.exit_code in (0, None), done.output
    return done.output


class Raw(Place):
    """A place whose event topics are copies of raw topics."""

    def rekeyed(self) -> Raw:
        """Turn the event topics into copies of `raw.scores` and `raw.labels`, with 3 and 2 partitions."""
        self.scores, self.answers = f"scores.{self.tag}", f"answers.{self.tag}"
        create_topic(self.bootstrap, self.scores, 3)
        create_topic(self.bootstrap, self.answers, 2)
        with self.config.open("a") as file:
            file.write(f"rekey: {{{self.events}: [{self.scores}], {self.labels}: [{self.answers}]}}\n")
        command("topics", "--create", config=self.config)
        return self

    def send(self, topic: str, records: list[tuple[bytes | None, bytes | None, int]]) -> None:
        """Records of (key, value, number), in partitions that have nothing to do with their models."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "queue.buffering.max.messages": len(records) + 1})
        partitions = 3 if topic == self.scores else 2
        for key, value, i in records:
            producer.produce(topic, value, key, i % partitions, timestamp=NOW_MS - 600_000 + i, headers=[("n", str(i))])
        assert producer.flush(PATIENCE_S) == 0

    def copy(self) -> str:
        """Copy up to the present ends, and say what was done."""
        config, stop = load_config(str(self.config)), threading.Event()
        return rekeyed_text(rekey(config, SystemClock(), until_end=True, stop=stop, progress=lambda *_: None))


@pytest.fixture
def raw(kafka_broker, tmp_path) -> Raw:
    labels = f"labels.{tmp_path.name}-{time.monotonic_ns()}"
    return Raw(kafka_broker.bootstrap, tmp_path, partitions=PARTITIONS, labels=labels).rekeyed()


def test_records_get_the_model_as_key(raw):
    """Values, times and headers stay; key and partition are those of the model; the place and the key are headers."""
    raw.send(raw.scores, [(f"user-{i}".encode(), event(i, prediction=1.5), i) for i in range(60)])
    raw.send(raw.scores, [(None, event(60, prediction=1.5), 60)])
    assert "61 records read, 61 copies written" in raw.copy()
    copies = messages(raw.bootstrap, raw.events)
    originals = {(m.partition(), m.offset()): m for m in messages(raw.bootstrap, raw.scores)}
    assert len(copies) == 61
    for copy in copies:
        headers = dict(copy.headers())
        topic, partition, offset = headers[ORIGIN].decode().split("/")
        record = originals.pop((int(partition), int(offset)))
        model = json.loads(copy.value())["model_id"].encode()
        assert (topic, copy.value(), copy.timestamp()) == (raw.scores, record.value(), record.timestamp())
        assert (copy.key(), copy.partition()) == (model, partition_of_key(model, PARTITIONS))
        assert (headers["n"], headers.get(KEY)) == (dict(record.headers())["n"], record.key())
    assert originals == {}
    for partition in range(PARTITIONS):
        times = [m.timestamp()[1] for m in copies if m.partition() == partition]
        assert times == sorted(times), "records of several partitions come in order of time"
    assert "0 records read, 0 copies written" in raw.copy()


def test_labels_join_where_they_did_not(raw):
    """Labels whose keys lead to other partitions than their predictions join in the copies."""
    raw.send(raw.scores, [(None, event(i, prediction=float(i % 5)), i) for i in range(200)])
    raw.send(raw.answers, [(None, event(i, label=float(i % 5 + 1)), i) for i in range(199, -1, -1)])
    raw.copy()
    placed = {m.partition(): set() for m in messages(raw.bootstrap, raw.events)}
    for topic in (raw.events, raw.labels):
        for m in messages(raw.bootstrap, topic):
            placed[m.partition()].add(json.loads(m.value())["model_id"])
    assert sorted(model for models in placed.values() for model in models) == sorted(f"m{i}" for i in range(MODELS))
    finding = command("doctor", config=raw.config)
    assert f"has to copy at most 0 records of {raw.scores}, 0 records of {raw.answers}" in finding, finding
    assert f"each of {MODELS} models is on one partition" in finding
    assert "200 of 200 labels join a prediction" in finding


def test_a_record_of_several_models_has_a_copy_in_each_partition(raw):
    """Each copy holds the whole value and names its rows; the service folds each row once, in the model's partition."""
    rows = [json.loads(event(i, prediction=1.0)) for i in range(21)]
    raw.send(raw.scores, [(b"batch", json.dumps(rows).encode(), 1), (b"one", json.dumps(rows[:1]).encode(), 2)])
    to = {model: partition_of_key(f"m{model}".encode(), PARTITIONS) for model in range(MODELS)}
    copies = len(set(to.values()))
    assert copies > 1
    assert f"2 records read, {copies + 1} copies written" in raw.copy()
    found = [m for m in messages(raw.bootstrap, raw.events) if ROWS in dict(m.headers())]
    counted = Counter()
    for copy in found:
        assert json.loads(copy.value()) == rows
        for span in dict(copy.headers())[ROWS].decode().split(","):
            first, _, last = span.partition("-")
            for row in range(int(first), int(last or first) + 1):
                assert to[row % MODELS] == copy.partition()
                counted[row] += 1
    assert counted == Counter(range(21))
    shown = command("doctor", config=raw.config)
    assert f"give 22 events of {MODELS} models" in shown
    assert f"each of {MODELS} models is on one partition" in shown


def test_what_can_not_be_read_gets_back_once_it_can(raw):
    """Unreadable records are dead letters of the raw topic, and are copied after `dead-letters --replay`."""
    raw.send(
        raw.scores,
        [(b"u", event(1, prediction=1.0).replace(b"model_id", b"model"), 1), (b"u", event(2, prediction=1.0), 2)],
    )
    assert "2 records read, 1 copy written; 1 dead letter (1 missing_model)" in raw.copy()
    (letter,) = messages(raw.bootstrap, f"{raw.scores}-dlt")
    assert letter.key() == b"u"
    fields = "{format: json, fields: {model_id: $.model}}"
    raw.config.write_text(raw.config.read_text().replace(f"{raw.events}: {{format: json}}", f"{raw.events}: {fields}"))
    command("dead-letters", raw.scores, "--replay", config=raw.config)
    assert "1 record read, 1 copy written" in raw.copy()
    assert {m.key() for m in messages(raw.bootstrap, raw.events)} == {b"m1", b"m2"}


def test_fields_in_the_key_stay_readable(raw):
    """`$key` is the key that the record had before."""
    fields = "{format: json, fields: {prediction_id: $key}}"
    raw.config.write_text(raw.config.read_text().replace(f"{raw.events}: {{format: json}}", f"{raw.events}: {fields}"))
    raw.send(raw.scores, [(b"request-1", event(1, prediction=1.0), 1)])
    raw.send(raw.answers, [(b"request-1", event(1, prediction_id="request-1", label=1.0), 1)])
    raw.copy()
    assert "1 of 1 label join" in command("doctor", config=raw.config)


def test_kills_leave_no_gap_and_no_double(raw):
    """SIGKILL at any time, then a restart: each record is copied exactly once, in the order of its partition."""
    n, kills = 12_000, 3
    for kill in range(kills):
        raw.send(raw.scores, [(None, event(i, prediction=1.0), i) for i in range(kill * n, (kill + 1) * n)])
        before, deadline_s = raw.end(raw.events), time.monotonic() + PATIENCE_S
        with subprocess.Popen([*DRIFTLINE, "rekey", "--config", str(raw.config)], stderr=subprocess.DEVNULL) as process:
            while raw.end(raw.events) == before and process.poll() is None and time.monotonic() < deadline_s:
                time.sleep(0.01 * kill)
            process.kill()
        assert raw.end(raw.events) > before
    raw.copy()
    copies = messages(raw.bootstrap, raw.events)
    origins = [dict(m.headers())[ORIGIN] for m in copies]
    assert len(origins) == len(set(origins)) == kills * n
    for source in range(3):
        for partition in range(PARTITIONS):
            own = [m for m in copies if m.partition() == partition]
            places = [dict(m.headers())[ORIGIN].decode().split("/") for m in own]
            offsets = [int(offset) for _, of, offset in places if int(of) == source]
            assert offsets == sorted(offsets)


def test_new_partitions_of_a_raw_topic_are_copied_too(raw):
    """A topic that grows while it is copied is read whole."""
    from streamer.eventlog.kafka.admin import add_partitions
    from streamer.eventlog.kafka.connection import KafkaConnection

    raw.send(raw.scores, [(None, event(i, prediction=1.0), i) for i in range(6)])
    process = subprocess.Popen([*DRIFTLINE, "rekey", "--config", str(raw.config)], stderr=subprocess.PIPE, text=True)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        add_partitions(KafkaConnection(bootstrap=(raw.bootstrap,)), raw.scores, 5)
        raw.produce_at(raw.scores, 4, [(NOW_MS, event(99, prediction=1.0))])
        while len(messages(raw.bootstrap, raw.events)) < 7:
            assert time.monotonic() < deadline_s
            assert process.poll() is None
            time.sleep(0.5)
    finally:
        process.terminate()
        said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0
    assert "7 records read, 7 copies written" in said


def test_records_that_are_lost_before_they_are_copied_are_named(raw):
    """Where retention was faster than the copying, the command ends with exit code 4, and copies nothing."""
    raw.send(raw.scores, [(None, event(i, prediction=1.0), i) for i in range(30)])
    raw.copy()
    raw.send(raw.scores, [(None, event(i, prediction=1.0), i) for i in range(30, 60)])
    admin = AdminClient({"bootstrap.servers": raw.bootstrap})
    for deleted in admin.delete_records([TopicPartition(raw.scores, 1, 14)]).values():
        deleted.result(PATIENCE_S)
    with pytest.raises(GapError, match=r"\[1\] has lost 4 records that were not copied \(it holds offsets 14 to 20"):
        raw.copy()
    assert raw.end(raw.events) < 60
