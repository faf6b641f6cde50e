"""Commits of outputs and progress: exactly once by transactions, or at least once for brokers without them.

Every call of the client has a deadline, because several calls block for ever when a broker dies at the wrong moment. An
outcome that is not certain raises `InDoubtError`: the process ends, and a fresh one reads the outcome from the log.
Nothing is repaired in place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from kafka import TopicPartition
from kafka.errors import UnknownError
from kafka.structs import OffsetAndMetadata

from streamer.errors import BrokerError, GapError, InDoubtError, OutputsInDoubtError
from streamer.eventlog.base import History, Output
from streamer.eventlog.headers import OWNER_HEADER
from streamer.eventlog.kafka.access.rights import Client
from streamer.eventlog.kafka.deadline import DeadlineExceeded, within
from streamer.eventlog.kafka.fetch import abandon
from streamer.eventlog.size_limits import SizeLimits, TooLargeError, size_of

START_AFRESH = "or start afresh: a new kafka.group and a new outputs.prefix in the config"

OUTPUTS: Final = "outputs"  # the step of a commit that takes the longer the more outputs there are
PORTION: Final = 1_000  # outputs that get a deadline of their own, at least once

Spot = tuple[str, int]  # topic and partition
Offsets = Mapping[Spot, int]

# Error codes of the Kafka protocol by which a broker, or the client itself, refuses a record permanently.
REFUSALS: Final[Mapping[int, str]] = {
    10: "it is too large: raise max.message.bytes of the topic, or make the output smaller",
    17: "the topic's name is invalid: correct it in the config",
    18: "its batch is too large: raise max.message.bytes of the topic",
    44: "the topic's policy forbids it: change the topic's settings",
    87: "the topic takes records with a key only: choose another topic, or change its cleanup.policy",
}
OPERATIONS: Final = {"offsets": "Read", "witness": "Describe"}  # of a step, on topics; the others write
TOO_LARGE: Final = frozenset({10, 18})
# The null key of a record without a value: the client refuses a plain None there before it serializes the key.
NULL_KEY: Final = object()


def owner_header(group_id: str) -> tuple[str, bytes]:
    """The header by which an output names the group of its service."""
    return OWNER_HEADER, group_id.encode()


@dataclass(frozen=True, slots=True)
class PendingSend:
    """A record of a unit's history: an epoch or a note."""

    partition: int  # of the epochs topic
    unit: str
    value: bytes


class Group(Protocol):
    """The consumer and its group, as a committer uses them."""

    def fence(self) -> Any:
        """The group's metadata. Raises `RebalanceInProgress` during a rebalance."""
        ...

    def commit_offsets(self, offsets: Offsets) -> None:
        """Commit offsets outside a transaction; returns when that is certain."""
        ...

    def committed(self, spots: Sequence[Spot]) -> Offsets:
        """The committed offsets, after all transactions on them have ended."""
        ...


class Sender:
    """Sends records and checks every result; each step has a deadline."""

    def __init__(
        self,
        new_producer: Callable[[], Any],
        epochs_topic: str,
        deadline_s: float,
        limits: SizeLimits | None = None,
        client: Client | None = None,
    ) -> None:
        """`new_producer` makes a client whose key serializer knows NULL_KEY; outputs are cut to `limits`.

        `client` is named where a right is missing.
        """
        self._new_producer = new_producer
        self._client = client or Client("the brokers")
        self.limits = limits or SizeLimits({})
        self.producer = new_producer()
        self.epochs_topic = epochs_topic
        self.deadline_s = deadline_s

    def renew(self) -> None:
        """Go on with another client, because the state of one is unknown once a record was refused."""
        self.abandon()
        self.producer = self._new_producer()

    def abandon(self) -> None:
        """Let the client go, whatever its state; nothing is sent any more."""
        abandon(self.producer)

    def publish(self, outputs: Sequence[Output]) -> None:
        self._settle([(output, self._send(output)) for output in map(self.limits.fitted, outputs)])

    def publish_entries(self, entries: Sequence[PendingSend]) -> list[int]:
        """Returns the offsets of the entries in their partitions."""
        return self._settle([self._send_entry(entry) for entry in entries])

    def publish_all(self, entries: Sequence[PendingSend], outputs: Sequence[Output]) -> list[int]:
        """Both in one flush; returns the offsets of the entries."""
        sent = [(output, self._send(output)) for output in map(self.limits.fitted, outputs)]
        return self._settle([*sent, *(self._send_entry(entry) for entry in entries)])[len(sent) :]

    def step(self, name: str, work: Callable[[], Any], topics: Collection[str] = ()) -> Any:
        """The result of `work`. Raises `InDoubtError` when it fails or exceeds the deadline.

        For the step `OUTPUTS`, that is an `OutputsInDoubtError`. A missing right is a `MissingRightError`, on one of
        `topics` if the client does not name it.
        """
        try:
            return within(self.deadline_s, work)
        except (InDoubtError, BrokerError):
            raise
        except Exception as error:
            if missing := self._client.refusal(error, OPERATIONS.get(name, "Write"), topics):
                raise missing from error
            kind = OutputsInDoubtError if name == OUTPUTS else InDoubtError
            raise kind(
                f"The commit is in doubt: its step {name!r} failed ({type(error).__name__}: {error}). Restart: a fresh "
                "process reads the outcome from the log and continues from there"
            ) from error

    def _settle(self, sent: Sequence[tuple[Output, Any]]) -> list[int]:
        # A flush may return although a record is not in the log, and a record that expired in a transaction does not
        # fail its commit. Only the results are certain.
        with suppress(UnknownError):  # the client splits a batch that is too large, and its flush fails on that
            self.producer.flush(self.deadline_s)
        for _, result in sent:
            if not result.is_done:  # a part of a split batch
                with suppress(Exception):
                    result.get(self.deadline_s)
        failed = [(output, result.exception) for output, result in sent if not result.succeeded()]
        for output, error in failed:  # after one refusal, other records fail for other reasons
            if refusal := self._refusal(output, error):
                raise refusal
        if failed:
            raise failed[0][1] or DeadlineExceeded("no acknowledgement came")
        return [result.value.offset for _, result in sent]

    def _send_entry(self, entry: PendingSend) -> tuple[Output, Any]:
        output = Output(self.epochs_topic, entry.unit.encode(), entry.value)
        return output, self._send(output, entry.partition)

    def _send(self, output: Output, partition: int | None = None) -> Any:
        key = NULL_KEY if output.key is None and output.value is None else output.key
        headers = [(name, value or b"") for name, value in output.headers]  # the client can't write null headers
        if partition is None and self._client.group_id:
            headers.append(owner_header(self._client.group_id))
        try:
            return self.producer.send(output.topic, output.value, key, headers, partition)
        except Exception as error:
            raise self._refusal(output, error) or error from error

    def _refusal(self, output: Output, error: Exception | None) -> BrokerError | None:
        return self._client.refusal(error, "Write", [output.topic]) or _refusal(output, error)


class ExactlyOnce:
    """Commits in one transaction, and reads the committed offsets back.

    No transaction is open across a poll, so none is open in a rebalance. All records are in the log before offsets are
    sent, because a record that fails later would be missing from a transaction that commits. The offsets are read back,
    because the client reports success for a transaction that the broker has aborted.
    """

    def __init__(self, sender: Sender, group: Group) -> None:
        """Fence earlier producers of the same transactional id, and wait for the end of their transactions.

        Raises `InDoubtError` when the brokers do not answer in time.
        """
        self._sender = sender
        self._group = group
        sender.step("init_transactions", sender.producer.init_transactions)

    def _renew(self) -> None:
        self._sender.step("renew", self._sender.renew)
        self._sender.step("init_transactions", self._sender.producer.init_transactions)

    def proven(self, partition: int, past: History, end: int, committed: Mapping[str, int]) -> Mapping[str, int]:  # noqa: ARG002
        """Set in `past` the last epoch whose outputs are in the log; returns the offsets (by topic) that prove it.

        `end` is the offset up to which the history was read in its partition. Raises GapError when offsets and history
        contradict each other.
        """
        past.committed = past.last
        at = past.positions()
        for topic, offset in committed.items():
            if offset < at.get(topic, offset):
                raise GapError(
                    f"The group's offset of {topic} was set back to {offset}, but by the epochs all records before "
                    f"{at[topic]} are folded and published. Set it to {at[topic]} again, {START_AFRESH}"
                )
        return {**committed, **at}  # brokers delete the offsets of a group that was inactive for long

    def commit(self, entries: Sequence[PendingSend], outputs: Sequence[Output], offsets: Offsets) -> list[int]:
        """Publish all; returns the offsets of the entries in their partitions.

        Raises `RebalanceInProgress` before anything is done, `InDoubtError`, which names the step, when any of it is
        not certain, and BrokerError when a broker refuses a record for good.
        """
        fence, step = self._group.fence(), self._sender.step
        wanted = {TopicPartition(*spot): OffsetAndMetadata(offset, "", -1) for spot, offset in offsets.items()}
        places = self._publish(entries, outputs)
        producer = self._sender.producer
        read = {topic for topic, _ in offsets}
        step("offsets", partial(producer.send_offsets_to_transaction, wanted, fence), read)
        step("commit", producer.commit_transaction)
        found = step("witness", partial(self._group.committed, list(offsets)), read)
        if dict(found) != dict(offsets):
            raise InDoubtError(
                f"The commit is in doubt: offsets {dict(offsets)} were committed and {dict(found)} are there. "
                "Restart: a fresh process reads the outcome from the log and continues from there"
            )
        return places

    def _publish(self, entries: Sequence[PendingSend], outputs: Sequence[Output]) -> list[int]:
        """All of it within a transaction, which stays open; where the entries stand."""
        step = self._sender.step
        while True:
            step("begin", self._sender.producer.begin_transaction)
            try:
                places: list[int] = step(OUTPUTS, partial(self._sender.publish_all, entries, outputs))
                return places
            except TooLargeError as refusal:
                if not self._sender.limits.lower(refusal.output):
                    raise
                self._renew()  # which ends the transaction


class AtLeastOnce:
    """Commits in three steps: a crash may repeat an output, never change or lose one.

    The order matters. Epochs go first, because they state the cuts of the log. Then the outputs: a fresh process that
    finds an epoch without its committed offsets makes its outputs again, equal to the byte. Then the offsets, which
    prove both.
    """

    def __init__(self, sender: Sender, group: Group) -> None:
        self._sender = sender
        self._group = group
        self._ends: dict[int, int] = {}

    def proven(self, partition: int, past: History, end: int, committed: Mapping[str, int]) -> Mapping[str, int]:
        """See `ExactlyOnce`."""
        self._ends[partition] = end  # the next record there must be from this process
        past.committed = published(past, committed)
        return committed

    def commit(self, entries: Sequence[PendingSend], outputs: Sequence[Output], offsets: Offsets) -> list[int]:
        """See `ExactlyOnce`."""
        self._group.fence()
        step = self._sender.step
        places: list[int] = []
        # One by one: a process that has been replaced fails at the first, and leaves no later numbers behind.
        for entry in entries:
            places += step("epochs", partial(self._publish_entry, entry))
        for start in range(0, len(outputs), PORTION):  # the epochs are fixed by now: no other can be smaller
            self._publish(outputs[start : start + PORTION])
        if offsets:
            step("offsets", partial(self._group.commit_offsets, offsets), {topic for topic, _ in offsets})
        return places

    def _publish(self, outputs: Sequence[Output]) -> None:
        while True:
            try:
                self._sender.step(OUTPUTS, partial(self._sender.publish, outputs))
                return
            except TooLargeError as refusal:
                if not self._sender.limits.lower(refusal.output):
                    raise
                self._sender.step("renew", self._sender.renew)

    def _publish_entry(self, entry: PendingSend) -> list[int]:
        (offset,) = self._sender.publish_entries([entry])
        if offset != self._ends[entry.partition]:
            raise InDoubtError(
                f"The epoch of {entry.unit} went to offset {offset} of {self._sender.epochs_topic}-{entry.partition} "
                f"and not to {self._ends[entry.partition]}, so another process works on the same unit. This one ends "
                "and publishes nothing of that epoch. Run one service for each kafka.group and worker, then restart it"
            )
        self._ends[entry.partition] = offset + 1
        return [offset]


def published(past: History, committed: Mapping[str, int]) -> int:
    """Number of the last epoch whose outputs the group's committed offsets (by topic) prove published."""
    number = past.base
    for epoch in past.epochs:
        if any(end > committed.get(topic, 0) for topic, end in epoch.ends.items()):
            break
        number = epoch.number
    return number


def _refusal(output: Output, error: Exception | None) -> BrokerError | None:
    number = getattr(error, "errno", 0)
    if (reason := REFUSALS.get(number)) is None:
        return None
    said = f"An output of {size_of(output):,} bytes for topic {output.topic} is refused, because {reason}"
    return TooLargeError(said, output) if number in TOO_LARGE else BrokerError(said)
