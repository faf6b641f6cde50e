"""A first configuration from a sample: reads topics or files, recognises them, and writes it with what it saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from streamer.app.recognition import NAMES, Recognised, Sample
from streamer.app.recorded_tables import open_recordings
from streamer.audit.reasons import many
from streamer.codecs.field_paths import FieldMap
from streamer.config import Config
from streamer.config.models import topic_settings
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.connection import KafkaConnection

SAMPLED: Final = 1_000  # records of a topic
POLL_S: Final = 0.2
COLUMNS_SHOWN: Final = 12


def sample_of_files(paths: Sequence[str], topic: str | None) -> list[Sample]:
    """The first records of each topic in recordings and tables. Raises `UsageError` for a file that can't be read."""
    held: dict[str, list[Records]] = {}
    # Rows of tables as they are: without a mapping, their columns would stand below `features`.
    as_they_are = topic_settings("json")(fields=FieldMap(features="$"))
    names = [topic or Path(path).name.lstrip(".").partition(".")[0] for path in paths]
    config = Config().model_copy(update={"topics": dict.fromkeys(names, as_they_are)})
    with ExitStack() as opened:
        for file in map(opened.enter_context, open_recordings(list(paths), topic, config)[0]):
            for chunk in file.chunks(SAMPLED):
                for records in chunk.split():
                    _add(held, records)
                if all(sum(map(len, parts)) >= SAMPLED for parts in held.values()):
                    break
    return [Sample(name, parts) for name, parts in held.items()]


def sample_of_topics(connection: KafkaConnection, topics: Sequence[str]) -> list[Sample]:
    """The newest records of each topic, about as many of each partition.

    Raises `BrokerError` when Kafka can't be reached or lacks a topic.
    """
    from streamer.eventlog.kafka.admin import check_topics, end_offsets, preflight
    from streamer.eventlog.kafka.reader import KafkaReader

    preflight(connection)
    found = check_topics(connection, topics)
    spots = [(topic, partition) for topic in topics for partition in range(found[topic].partitions)]
    each = {spot: SAMPLED // found[spot[0]].partitions + 1 for spot in spots}
    starts = {spot: max(end - each[spot], 0) for spot, end in end_offsets(connection, spots).items()}
    held: dict[str, list[Records]] = {topic: [] for topic in topics}
    reader = KafkaReader(connection, topics, starts)
    try:
        while not reader.at_end():
            for records in reader.poll(POLL_S):
                _add(held, records)
    finally:
        reader.close()
    return [Sample(topic, parts) for topic, parts in held.items()]


def _add(held: dict[str, list[Records]], records: Records) -> None:
    parts = held.setdefault(records.topic, [])
    room = SAMPLED - sum(map(len, parts))
    if room > 0 and len(records):
        parts.append(records.part(0, min(room, len(records))))


def configuration(bootstrap: str, found: Sequence[Recognised]) -> str:
    """The configuration as commented YAML."""
    lines = [
        "# Written by `driftline init` from a sample of the records. Each comment says what was seen.",
        "# `driftline check-config` checks it, `driftline doctor` tries it on the cluster.",
        f"kafka: {{bootstrap: {_scalar(bootstrap)}}}",
        "topics:",
    ]
    for one in found:
        lines += _topic(one)
    return "\n".join(lines) + "\n"


def _topic(one: Recognised) -> Iterator[str]:
    yield f"  {_scalar(one.topic)}:{'' if one.settings else ' {}  # canonical events'}"
    for text in one.unsure:
        yield f"    # UNSURE: {text}"
    for name, value in one.settings.items():
        if name != "fields":
            yield f"    {name}: {_scalar(value)}{_comment(one.seen.get(name))}"
    fields = one.settings.get("fields")
    if fields:
        yield "    fields:"
        for name, value in fields.items():
            if isinstance(value, dict):
                yield f"      {name}:"
                yield from (f"        {_scalar(column)}: {_scalar(path)}" for column, path in value.items())
            else:
                yield f"      {name}: {_scalar(value)}{_comment(one.seen.get(name))}"


def _comment(text: str | None) -> str:
    return f"  # {text}" if text else ""


def _scalar(value: Any) -> str:
    """A text as YAML: plain where that is the same text, else in double quotes as JSON."""
    import json
    import re

    text = str(value)
    return text if re.fullmatch(r"\$|(?:\$\.?)?[A-Za-z_][\w.:/-]*", text) else json.dumps(text, ensure_ascii=False)


def report(one: Recognised) -> Iterator[str]:
    """What was recognised of a topic, and what its settings make of the sample."""
    yield f"{one.topic}: {one.records:,} records, format {one.settings.get('format', 'json')}"
    if one.records == 0:
        yield "  there are no records to look at; the settings are the defaults"
        return
    for name in ("rows", *NAMES):
        if name in one.seen:
            yield f"  {name:13} {one.settings.get('fields', {}).get(name, f'$.{name}'):24} {one.seen[name]}"
    dead = ", ".join(f"{n:,} {reason}" for reason, n in one.dead_letters.most_common())
    yield (
        f"  so {many(one.events, 'event')} of {many(len(one.models), 'model')} with {many(len(one.columns), 'column')}"
        f"{_some(one.columns)}, {many(one.dead_letters.total(), 'dead letter')}{f' ({dead})' if dead else ''}"
    )
    for text in one.unsure:
        yield f"  unsure: {text}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - COLUMNS_SHOWN
    text = ", ".join(names[:COLUMNS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f" ({text})" if text else ""
