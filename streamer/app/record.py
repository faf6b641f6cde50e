"""Records topics to a Parquet file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal

from streamer.app.replay import POLL_S
from streamer.eventlog.kafka.connection import KafkaConnection


def record(
    connection: KafkaConnection,
    topics: Sequence[str],
    out: str,
    *,
    start: Literal["earliest", "latest"],
    until_end: bool,
    records_max: int | None,
    stop: threading.Event,
    progress: Callable[[int, int | None], None],
) -> int:
    """Copy topics to a Parquet recording; returns the number of records.

    Ends at `stop`, after `records_max` records, or, with `until_end`, at the present end of the topics. Raises
    `BrokerError` when Kafka can't be read, `UsageError` when the file can't be written.
    """
    from streamer.eventlog.kafka.reader import KafkaReader
    from streamer.eventlog.recordings.recording import RecordingWriter

    done = 0
    with ExitStack() as opened:
        reader = KafkaReader(connection, topics, start)
        opened.callback(reader.close)
        writer = opened.enter_context(RecordingWriter(out))
        total = records_max or (reader.waiting if until_end else None)
        while not (stop.is_set() or done == records_max or (until_end and reader.at_end())):
            for records in reader.poll(POLL_S):
                part = records if records_max is None else records.part(0, records_max - done)
                writer.write(part)
                done += len(part)
            progress(done, total)
    return done
