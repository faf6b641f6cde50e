"""Sources of records for an audit: the topics of a service, or the output of a replay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from streamer.contracts.topics import OutputTopics
from streamer.errors import UsageError
from streamer.eventlog.base import Records

if TYPE_CHECKING:
    from streamer.eventlog.kafka.connection import KafkaConnection
    from streamer.eventlog.recordings.recording import Recording

RawRecord = tuple[str, bytes]  # one of KINDS, and the record: JSON, but Arrow for the profiles of a topic
Source = Callable[[], Iterator[RawRecord]]  # all records, those of one kind in the order of publication

KINDS = ("alert", "incident", "request", "decision")
PROFILE = "profile"
DEAD_LETTER = "dead_letter"  # of the output of a replay


class _Line(msgspec.Struct):
    type: str = ""


def of_service(connection: KafkaConnection, outputs: OutputTopics, kinds: Collection[str] = KINDS) -> Source:
    """The topics of a service with these kinds, read at each call of the source, which may raise `BrokerError`."""
    from streamer.eventlog.kafka.reader import read_to_end

    topics = {topic: kind for topic, kind in kinds_of(outputs).items() if kind in kinds}
    return lambda: _raw(read_to_end(connection, list(topics)), topics)


def of_file(path: str, outputs: OutputTopics) -> Source:
    """Standard output of a replay as a file, or a Parquet recording of Driftline's topics.

    Of a replay it also gives dead letters. A call of the source raises `UsageError` if the file can't be read or is
    something else.
    """
    return lambda: _of_file(path, kinds_of(outputs))


def kinds_of(outputs: OutputTopics) -> dict[str, str]:
    """Topic -> the kind of its records."""
    found = dict(zip((outputs.alerts, outputs.incidents, outputs.requests, outputs.decisions), KINDS, strict=True))
    return found | {outputs.profiles: PROFILE}


def _of_file(path: str, topics: dict[str, str]) -> Iterator[RawRecord]:
    from streamer.eventlog.recordings.recording import open_recording

    with open_recording(path, "lines") as recording:
        for records in _stretches(recording):
            if records.topic in topics:
                yield from _raw([records], topics)
            elif records.topic == "lines":
                yield from _lines(path, records)


def _stretches(recording: Recording) -> Iterator[Records]:
    for chunk in recording.chunks():
        yield from chunk.split()


def _raw(stretches: Iterable[Records], topics: dict[str, str]) -> Iterator[RawRecord]:
    for records in stretches:
        for i in range(len(records)):
            value = records.value_of(i)
            if value is not None:
                yield topics[records.topic], value


def _lines(path: str, records: Records) -> Iterator[RawRecord]:
    for i in range(len(records)):
        value = records.value_of(i) or b""
        try:
            kind = msgspec.json.decode(value, type=_Line).type
        except msgspec.MsgspecError:
            kind = ""
        if kind in KINDS or kind in (PROFILE, DEAD_LETTER):
            yield kind, value
        else:
            raise UsageError(
                f"{path}: line {i + 1} is no output of `driftline replay`. Replay recordings of events first: "
                "`driftline replay june.parquet > june.jsonl`"
            )
