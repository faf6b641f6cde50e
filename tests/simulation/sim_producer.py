"""kafka-python's producer over the simulated cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kafka.errors import KafkaTimeoutError
from sim_cluster import Entry
from sim_host import Host

from streamer.eventlog.kafka.commit import NULL_KEY


@dataclass(slots=True)
class Future:
    """What became of a record."""

    value: Any = None
    exception: Exception | None = None
    is_done = True  # a flush waits for all results here

    def succeeded(self) -> bool:
        return self.value is not None and self.exception is None


class SimProducer:
    """Records go out when they are flushed, one after the other."""

    def __init__(self, host: Host, transactional_id: str | None) -> None:
        self._host = host
        self._id = transactional_id
        self._epoch = 0
        self._waiting: list[tuple[tuple[str, int], Entry, Future]] = []

    def init_transactions(self) -> None:
        self._epoch = self._host.call(lambda: self._host.cluster.init(str(self._id)), hangs=True)

    def begin_transaction(self) -> None:
        pass

    def send(
        self, topic: str, value: bytes | None, key: object, headers: Sequence[tuple[str, bytes]], partition: int | None
    ) -> Future:
        known = None if key is NULL_KEY else key
        entry = Entry(self._host.cluster.now_ms(), known, value, tuple(headers))
        self._waiting.append(((topic, partition or 0), entry, Future()))
        return self._waiting[-1][2]

    def flush(self, _timeout_s: float) -> None:
        waiting, self._waiting = self._waiting, []
        for spot, entry, future in waiting:
            try:
                offset = self._host.call(lambda spot=spot, entry=entry: self._write(spot, entry))
                future.value = SimpleNamespace(offset=offset)
            except Exception as error:
                future.exception = error
                raise KafkaTimeoutError("not flushed") if self._host.random.random() < 0.5 else error from error

    def send_offsets_to_transaction(self, offsets: Mapping[Any, Any], metadata: Any) -> None:
        def send() -> None:
            cluster = self._host.cluster
            one = cluster.begun(str(self._id), self._epoch)
            if not isinstance(metadata, str):  # a group's name alone is taken without any check
                self._host.group.check(metadata.member_id, metadata.generation_id)
            one.offsets |= {(tp.topic, tp.partition): offset.offset for tp, offset in offsets.items()}

        self._host.call(send, hangs=True)

    def commit_transaction(self) -> None:
        self._host.call(lambda: self._host.cluster.finish(str(self._id), self._epoch, True), hangs=True)

    def close(self, _timeout_s: float) -> None:
        pass

    def _write(self, spot: tuple[str, int], entry: Entry) -> int:
        cluster = self._host.cluster
        if self._id is None:
            return cluster.partitions[spot].append(entry)
        one = cluster.begun(self._id, self._epoch)
        return cluster.write(one, spot, Entry(entry.timestamp_ms, entry.key, entry.value, entry.headers, one))
