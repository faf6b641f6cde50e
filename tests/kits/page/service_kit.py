"""A service that answers commands: the decide fold behind a broker that the test plays."""

from __future__ import annotations

import msgspec

from retrain.messages.control import Control
from retrain.policy.settings import RetrainSettings
from streamer.commands.console.json_lines import OutputLines
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Output, Records
from streamer.eventlog.kafka import reader as kafka_reader
from streamer.eventlog.kafka import transfer as kafka_transfer

TOPICS = OutputTopics()


class PlayedService:
    """Publishes what the decide fold makes of each record; with `is_running` false it reads nothing."""

    def __init__(self, **retrain) -> None:
        self.fold = DecideFold(RetrainSettings(**retrain))
        self.is_running = True
        self.held: dict[str, list[bytes | None, bytes]] = {}  # topic -> keys and values
        self.sent = []  # outputs of commands

    def publish(self, *records) -> None:
        """Alerts and control records."""
        for record in records:
            topic = TOPICS.control if isinstance(record, Control) else TOPICS.alerts
            self._append(topic, None, msgspec.json.encode(record))

    def _append(self, topic: str, key: bytes | None, value: bytes) -> None:
        self.held.setdefault(topic, []).append((key, value))
        if self.is_running and topic in (TOPICS.alerts, TOPICS.control):
            for output in self.fold.step([Records.build(topic, 0, [(len(self.held[topic]), -1, key, value, ())])]):
                self._append(output.topic, output.key, output.value)

    def records(self, topic: str, since: int = 0) -> Records:
        rows = [(i, -1, key, value, ()) for i, (key, value) in enumerate(self.held.get(topic, ())) if i >= since]
        return Records.build(topic, 0, rows)

    def read_to_end(self, _connection, topics):
        """In place of `read_to_end`."""
        return iter([self.records(topic) for topic in topics])

    def replayed(self, folder) -> str:
        """A file with all of it as `driftline replay` writes it."""
        path, lines = folder / "june.jsonl", OutputLines(TOPICS)
        with path.open("wb") as out:
            for topic, records in self.held.items():
                for key, value in records:
                    out.write(lines.line_of(Output(topic, key, value)) or b"")
        return str(path)

    def send(self, _connection, outputs) -> None:
        """In place of `send`."""
        self.sent += outputs
        for output in outputs:
            self._append(output.topic, output.key, output.value)

    def reader(self, _connection, topics, start):
        """In place of `KafkaReader`."""
        return _Reader(self, topics, start)

    def requested(self) -> str:
        """The id of the last request."""
        return msgspec.json.decode(self.held[TOPICS.requests][-1][1])["request_id"]


class _Reader:
    def __init__(self, service: PlayedService, topics, start: str) -> None:
        self._service = service
        self._ends = {topic: len(service.held.get(topic, ())) for topic in topics}
        self._read = dict(self._ends) if start == "latest" else dict.fromkeys(topics, 0)

    def at_end(self) -> bool:
        return all(self._read[topic] >= end for topic, end in self._ends.items())

    def poll(self, _timeout_s: float):
        found = [self._service.records(topic, since) for topic, since in self._read.items()]
        self._read = {topic: len(self._service.held.get(topic, ())) for topic in self._read}
        return [records for records in found if len(records)]

    def close(self) -> None:
        """Nothing to close."""


def play(monkeypatch, **retrain) -> PlayedService:
    """Put a played service in place of Kafka."""
    service = PlayedService(**retrain)
    monkeypatch.setattr(kafka_reader, "read_to_end", service.read_to_end)
    monkeypatch.setattr(kafka_reader, "KafkaReader", service.reader)
    monkeypatch.setattr(kafka_transfer, "send", service.send)
    return service
