"""Copies records of topics with other keys into event topics with the model as key: exactly once, in order of time.

Driftline watches each partition by itself, and joins labels to predictions of the same partition. So all records of a
model have to be in one. A copy has the value, the time and the headers of its record, and the place and the key that
the record had as further headers. A record with rows of models of several partitions has a copy in each of them, which
names its rows.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors.arrays.types import I64
from streamer.app.folds import codec_of
from streamer.clock import Clock
from streamer.codecs.base import Codec, DeadLetters, own_rows, rows_text
from streamer.config import Config
from streamer.contracts.dead_letters import dead_letter, set_aside_letter
from streamer.errors import BrokerError, GapError, UsageError
from streamer.eventlog.base import Output, Records
from streamer.eventlog.headers import KEY_HEADER, ORIGIN_HEADER, ROWS_HEADER
from streamer.eventlog.kafka.admin import check_topics, end_offsets, group_status
from streamer.eventlog.kafka.reader import POLL_S, KafkaReader
from streamer.eventlog.kafka.transfer import Copy, Transfer, partition_of_key
from streamer.eventlog.time_merge import Taken, TimeMerge
from streamer.events import EventBatch, Names
from streamer.logs import log_of

MODELS_MAX: Final = 1 << 31
SOURCE: Final = "source:"  # begins the name of a source in the table of models

Spot = tuple[str, int]

log = log_of("app")


@dataclass(slots=True)
class Rekeyed:
    """What was done since the start."""

    records: int = 0  # that were read
    copies: int = 0
    unreadable: Counter[tuple[str, str]] = field(default_factory=Counter)  # by topic and reason
    left_out: int = 0  # records without an event, such as tombstones that are skipped
    behind: Mapping[Spot, int] = field(default_factory=dict)  # records of each partition that wait to be copied


def rekey(
    config: Config,
    clock: Clock,
    *,
    until_end: bool,
    stop: threading.Event,
    progress: Callable[[Rekeyed], None],
) -> Rekeyed:
    """Copy records until `stop` is set, or with `until_end` up to the present ends of the topics.

    Calls `progress` in each round, of which one without records takes `POLL_S`.

    Each transaction holds copies, dead letters of what the mapping can't read, and the offsets of the group
    `<kafka.group>-rekey` up to which that is done.

    Raises `UsageError` when the configuration names no topics for it, `GapError` when a topic lost records that were
    not copied, or was replaced, and `BrokerError` when Kafka fails, topics differ in partitions, or it is not certain
    that the last records are in the log.
    """
    if not config.rekey:
        raise UsageError(
            "The configuration names no topics to copy with other keys: add `rekey: {TARGET: [SOURCE, ...]}`, where "
            "TARGET is one of `topics` (docs/keys.md)"
        )
    written = [*config.rekey, *map(config.outputs.dead_letters, config.rekeyed)]
    done = Rekeyed()
    with closing(Transfer(config.kafka.connection(), written, config.rekey_group)) as transfer:
        copier = Copier(config, _partitions(transfer, config))
        while _copy_while_unchanged(config, clock, transfer, copier, done, until_end, stop, progress):
            log.info("a topic has new partitions, which are read from now on")
    return done


def uncopied(config: Config) -> dict[str, int]:
    """How many offsets of each raw topic wait to be copied; transactions take some of them. Raises `BrokerError`."""
    connection = config.kafka.connection()
    found = check_topics(connection, list(config.rekeyed))
    ends = end_offsets(connection, [(topic, p) for topic in config.rekeyed for p in range(found[topic].partitions)])
    at = group_status(connection, config.rekey_group).offsets
    waiting = dict.fromkeys(config.rekeyed, 0)
    for (topic, partition), end in ends.items():
        waiting[topic] += max(end - at.get((topic, partition), 0), 0)
    return waiting


def _partitions(transfer: Transfer, config: Config) -> int:
    """The partitions of all event topics: they must have the same number. Raises BrokerError."""
    transfer.require(list(config.topics))
    counts = {name: transfer.partitions[name] for name in config.topics}
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise BrokerError(
            f"The event topics have different numbers of partitions ({counted}): a model would be in several. Give all "
            "of them the same number"
        )
    return next(iter(counts.values()))


def _copy_while_unchanged(
    config: Config, clock: Clock, transfer: Transfer, copier: Copier, done: Rekeyed,
    until_end: bool, stop: threading.Event, progress: Callable[[Rekeyed], None],
) -> bool:  # fmt: skip
    """Copy until the end; true: until a topic has got more partitions."""
    committed = transfer.committed()
    reader = KafkaReader(config.kafka.connection(), list(config.rekeyed), committed)
    try:
        _check_bounds(committed, reader)
        waiting = TimeMerge(clock, reader.hold)
        while not stop.is_set() and not (until_end and reader.at_end() and not waiting.records):
            if reader.has_grown():
                return True
            for records in reader.poll(POLL_S if not waiting.records else 0.01):
                waiting.add(records)
            while (taken := waiting.take(reader.lagging())) is not None:
                copies = copier.copies(taken, done)
                transfer.write(copies, {(one.topic, one.partition): one.next_offset for one in taken.parts})
                done.records += sum(map(len, taken.parts))
                done.copies += len(copies)
            done.behind = {spot: n + waiting.of(spot) for spot, n in reader.behind().items()}
            progress(done)
        return False
    finally:
        reader.close()


def _check_bounds(committed: Mapping[Spot, int], reader: KafkaReader) -> None:
    """Raises GapError where records were lost before they were copied."""
    for (topic, partition), at in committed.items():
        begin, end = (of.get((topic, partition), at) for of in (reader.begins, reader.ends))
        if begin <= at <= end:
            continue
        lost = f"has lost {begin - at:,} records that were not copied" if at < begin else "was replaced by another one"
        raise GapError(
            f"{topic}[{partition}] {lost} (it holds offsets {begin:,} to {end:,}, and {at:,} is next). To copy what is "
            "left, stop this command and set the offsets of its group with `kafka-consumer-groups.sh --reset-offsets`"
        )


class Copier:
    """Makes copies of records."""

    def __init__(self, config: Config, partitions: int) -> None:
        """`partitions`: of each event topic."""
        self._config, self._partitions = config, partitions
        self._codecs: dict[str, Codec] = {target: codec_of(config, target) for target in config.rekey}

    def copies(self, taken: Taken, done: Rekeyed) -> list[Copy]:
        """The copies and dead letters of these records, in their order; counts what is no copy."""
        made = [self._of_part(records, done) for records in taken.parts]
        places = zip(taken.part.tolist(), taken.at.tolist(), strict=True)
        return [copy for part, index in places for copy in made[part][index]]

    def _of_part(self, records: Records, done: Rekeyed) -> list[Sequence[Copy]]:
        """The copies of each record."""
        target = self._config.rekeyed[records.topic]
        names = Names.fresh(MODELS_MAX, MODELS_MAX, MODELS_MAX)
        batch, dead = self._codecs[target].decode(records, names)
        batch = own_rows(records, batch)
        found: list[Sequence[Copy]] = [()] * len(records)
        keys = [name.removeprefix(SOURCE).encode() for name in names.models.names]
        self._add_copies(found, records, batch, keys, target)
        for i, letter in self._letters(records, dead, done):
            found[i] = (Copy(letter.topic, None, None, letter.key, letter.value, letter.headers),)
        done.left_out += sum(not copies for copies in found)
        return found

    def _add_copies(
        self, found: list[Sequence[Copy]], records: Records, batch: EventBatch, keys: Sequence[bytes], target: str
    ) -> None:
        to = np.array([partition_of_key(key, self._partitions) for key in keys], np.int64)[batch.model]
        index = np.searchsorted(records.offset, batch.offset)
        first = np.flatnonzero(np.diff(index, prepend=-1))
        ends = np.append(first, len(batch))[1:]
        for a, b in zip(first.tolist(), ends.tolist(), strict=True):
            i = int(index[a])
            copy = _copy(records, i, target, int(to[a]), keys[batch.model[a]])
            found[i] = (copy,)
            if (b - a > 1 and (to[a:b] != to[a]).any()) or records.headers_with(ROWS_HEADER, i):
                rows = batch.row[a:b].astype(np.int64)
                found[i] = _split(copy, to[a:b], rows, [keys[model] for model in batch.model[a:b]])

    def _letters(self, records: Records, dead: DeadLetters, done: Rekeyed) -> Iterator[tuple[int, Output]]:
        topic = self._config.outputs.dead_letters(records.topic)
        for i, reason, detail in zip(dead.index, dead.reason, dead.detail, strict=True):
            if int(records.offset[i]) in records.oversize:
                reason, letter = set_aside_letter(records, i, topic)
            else:
                letter = dead_letter(records, i, reason, detail, topic)
            done.unreadable[records.topic, reason.value] += 1
            yield i, letter


def _copy(records: Records, i: int, target: str, partition: int, key: bytes) -> Copy:
    """A record with another key."""
    headers, before = records.headers_of(i), records.key_of(i)
    ours: dict[str, bytes | None] = {ORIGIN_HEADER: f"{records.topic}/{records.partition}/{records.offset[i]}".encode()}
    if ORIGIN_HEADER in (earlier := dict(headers)):
        before = earlier.get(KEY_HEADER)
    if before is not None:
        ours[KEY_HEADER] = before
    theirs = tuple(header for header in headers if header[0] not in (ORIGIN_HEADER, KEY_HEADER, ROWS_HEADER))
    time_ms = int(records.timestamp_ms[i])
    return Copy(target, partition, None if time_ms < 0 else time_ms, key, records.value_of(i), (*theirs, *ours.items()))


def _split(copy: Copy, to: I64, row: I64, keys: Sequence[bytes]) -> Sequence[Copy]:
    """A copy in each partition of `to` [rows], with the rows that count there. `keys` [rows] are those of the rows."""
    found = []
    for partition in dict.fromkeys(to.tolist()):
        own = np.flatnonzero(to == partition)
        headers = (*copy.headers, (ROWS_HEADER, rows_text(row[own])))
        found.append(copy._replace(partition=partition, key=keys[own[0]], headers=headers))
    return found
