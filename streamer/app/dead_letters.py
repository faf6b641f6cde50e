"""Dead letters of a topic: what they are, and how they get back into the topic once its mapping is mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from streamer.app.folds import codec_of, read_by_decide
from streamer.config import Config
from streamer.contracts.dead_letters import DeadLetter, read_dead_letter
from streamer.errors import NotUnderstoodError, UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.admin import describe_topics, end_offsets
from streamer.eventlog.kafka.reader import POLL_S, KafkaReader, read_to_end
from streamer.eventlog.kafka.transfer import Copy, Transfer
from streamer.events import Names

ROUND_MAX: Final = 20_000  # dead letters of one transaction, which are sent in order of their time
REPLAYED: Final = "__driftline.replayed"  # header of a record that is sent again: its first place


@dataclass(slots=True)
class ReasonCount:
    """The dead letters of one reason."""

    reason: str
    records: int = 0
    first_ms: int = -1  # record times, since 1970; -1: unknown
    last_ms: int = -1
    samples: list[DeadLetter] = field(default_factory=list)  # the newest, in order


def counts_by_reason(config: Config, topic: str, samples: int = 1) -> list[ReasonCount]:
    """What the dead-letter topic of an event topic holds, by reason, the most frequent first.

    Raises `UsageError` for a topic that is not configured, `BrokerError` when Kafka can't be read.
    """
    found: dict[str, ReasonCount] = {}
    for letter in letters_of(config, topic):
        one = found.setdefault(letter.reason, ReasonCount(letter.reason))
        one.records += 1
        if letter.timestamp_ms >= 0:
            one.first_ms = letter.timestamp_ms if one.first_ms < 0 else min(one.first_ms, letter.timestamp_ms)
            one.last_ms = max(one.last_ms, letter.timestamp_ms)
        one.samples.append(letter)
        del one.samples[: len(one.samples) - samples]
    return sorted(found.values(), key=lambda one: (-one.records, one.reason))


def letters_of(config: Config, topic: str) -> Iterator[DeadLetter]:
    """All dead letters of an event topic that are there now. Raises as `counts_by_reason` does."""
    _check_topic(config, topic)
    yield from _letters(read_to_end(config.kafka.connection(), [config.outputs.dead_letters(topic)]))


def letter_ends(config: Config) -> dict[tuple[str, int], int]:
    """The end of each partition with dead letters, those of our own topics included. Raises `BrokerError`."""
    names = {config.outputs.dead_letters(one) for one in (*config.topics, *config.rekeyed, *read_by_decide(config))}
    found = describe_topics(config.kafka.connection(), names)
    spots = [(topic.name, partition) for topic in found.values() for partition in range(topic.partitions)]
    return end_offsets(config.kafka.connection(), spots)


def newest_letters(config: Config, ends: Mapping[tuple[str, int], int], offsets_max: int) -> Iterator[DeadLetter]:
    """The dead letters in the last offsets of each partition before these ends. Raises `BrokerError`."""
    spots = [spot for spot, end in ends.items() if end > 0]
    if not spots:
        return
    topics = sorted({topic for topic, _ in spots})
    start = {spot: ends[spot] - offsets_max for spot in spots}
    yield from _letters(read_to_end(config.kafka.connection(), topics, start, spots))


def _letters(stretches: Iterable[Records]) -> Iterator[DeadLetter]:
    for records in stretches:
        yield from filter(None, (read_dead_letter(records, i) for i in range(len(records))))


@dataclass(slots=True)
class Resent:
    """What a replay of dead letters did."""

    sent: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)  # by reason, under the present mapping
    cut: int = 0  # records of which a part is missing
    foreign: int = 0  # records that are no dead letters of this topic


def resend(config: Config, topic: str, *, skip_unreadable: bool, progress: Callable[[int, int | None], None]) -> Resent:
    """Send the dead letters of a topic again, to the partitions they came from, with their own times.

    Each is sent once: its transaction holds the offset of the dead-letter topic up to which that is done. Dead letters
    of a round are sent in order of their record time. Records that the present mapping can't read end the replay before
    anything of their round is sent, unless `skip_unreadable` passes over them; those that were cut are passed over.

    Raises `UsageError` for a topic that is not configured, `NotUnderstoodError` for records that still can't be read,
    and `BrokerError` when Kafka fails, or it is not certain that all was sent.
    """
    _check_topic(config, topic)
    group, source = f"{config.kafka.group}-dead-letters-{topic}", config.outputs.dead_letters(topic)
    connection, total = config.kafka.connection(), Resent()
    transfer = Transfer(connection, [topic, source], group)
    try:
        reader = KafkaReader(connection, [source], transfer.committed())
        try:
            for stretches in _rounds(reader):
                copies = _copies(config, topic, stretches, total, skip_unreadable)
                transfer.write(copies, {(source, one.partition): one.next_offset for one in stretches})
                total.sent += len(copies)
                progress(total.sent, None)
        finally:
            reader.close()
    finally:
        transfer.close()
    return total


def _rounds(reader: KafkaReader) -> Iterator[Sequence[Records]]:
    """Stretches of the dead-letter topic, with `ROUND_MAX` records or more together but for the last."""
    held: list[Records] = []
    while not reader.at_end():
        held += reader.poll(POLL_S)
        if sum(map(len, held)) >= ROUND_MAX:
            yield held
            held = []
    if held:
        yield held


def _copies(
    config: Config, topic: str, stretches: Sequence[Records], total: Resent, skip_unreadable: bool
) -> list[Copy]:
    """The records of a round that are sent, in order of time."""
    read = [read_dead_letter(records, i) for records in stretches for i in range(len(records))]
    letters = [one for one in read if one is not None and one.topic == topic]
    total.foreign += len(read) - len(letters)
    whole = [one for one in letters if one.is_whole]
    total.cut += len(letters) - len(whole)
    readable, unreadable = _decoded(config, topic, whole)
    if unreadable and not skip_unreadable:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in unreadable.most_common())
        raise NotUnderstoodError(
            f"{unreadable.total():,} of {len(whole):,} dead letters of {topic} still can't be read ({reasons}), so "
            f"none of them was sent{f' after the first {total.sent:,}' if total.sent else ''}. Correct the mapping, or "
            "pass over them for good with --skip-unreadable"
        )
    total.unreadable += unreadable
    in_time = sorted(readable, key=lambda one: (one.timestamp_ms, one.partition, one.offset))
    return [_copy(one) for one in in_time]


def _decoded(config: Config, topic: str, letters: Sequence[DeadLetter]) -> tuple[list[DeadLetter], Counter[str]]:
    """Those that the present mapping can read, and how many it can't, by reason."""
    codec, names = codec_of(config, config.rekeyed.get(topic, topic)), Names.fresh()
    readable, unreadable = list[DeadLetter](), Counter[str]()
    in_order = sorted(letters, key=lambda one: (one.partition, one.offset))
    for partition, group in groupby(in_order, key=lambda one: one.partition):
        theirs = list({one.offset: one for one in group}.values())
        rows = [(one.offset, one.timestamp_ms, one.key, one.value, one.headers) for one in theirs]
        _, dead = codec.decode(Records.build(topic, partition, rows), names)
        unreadable.update(reason.value for reason in dead.reason)
        refused = set(dead.index)
        readable += [one for i, one in enumerate(theirs) if i not in refused]
    return readable, unreadable


def _copy(letter: DeadLetter) -> Copy:
    place = f"{letter.topic}/{letter.partition}/{letter.offset}".encode()
    time_ms = letter.timestamp_ms if letter.timestamp_ms >= 0 else None
    headers = (*letter.headers, (REPLAYED, place))
    return Copy(letter.topic, letter.partition, time_ms, letter.key, letter.value, headers)


def _check_topic(config: Config, topic: str) -> None:
    from streamer.config.problems import near

    known = [*config.topics, *config.rekeyed]
    if topic not in known:
        suffix = config.outputs.dead_letter_suffix
        guess = near(topic.removesuffix(suffix), known)
        hint = f"; did you mean {guess}?" if guess else f"; there are {', '.join(known)}"
        raise UsageError(f"{topic} is no event topic of the configuration{hint}")
