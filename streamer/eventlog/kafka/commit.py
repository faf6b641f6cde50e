"""Publishing outputs and progress: exactly once by transactions, or at least once where brokers have none.

Every call to the client has a deadline, because several of them have none of their own and block for ever when a broker
dies at the wrong moment. Whatever is not certain is `InDoubtError`: the process ends, and a fresh one finds out what
the log
holds. Nothing is repaired in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from streamer.errors import BrokerError, GapError, InDoubtError
from streamer.eventlog.base import History, Output
from streamer.eventlog.kafka.deadline import DeadlineExceeded, within

START_AFRESH = "or start afresh: a new kafka.group and a new topic as outputs.epochs in the config"

Spot = tuple[str, int]  # topic and partition
Offsets = Mapping[Spot, int]

# Error codes of the Kafka protocol by which a broker (or the client itself) refuses a record for good.
REFUSALS: Final[Mapping[int, str]] = {
    10: "it is too large: raise max.message.bytes of the topic, or make the output smaller",
    17: "the topic's name is invalid: mend it in the config",
    18: "its batch is too large: raise max.message.bytes of the topic",
    29: "we are not allowed to write there: grant Write on the topic",
    31: "we are not allowed to: grant IdempotentWrite on the cluster",
    44: "the topic's policy forbids it: mend the topic's settings",
    53: "we are not allowed to: grant Write and Describe on the transactional id",
    87: "the topic takes records with a key only: choose another topic, or change its cleanup.policy",
}
# Stands for the null key of a record that has no value either, which the client refuses before it serializes the key.
NULL_KEY: Final = object()


@dataclass(frozen=True, slots=True)
class PendingSend:
    """A record of a unit's history: an epoch or a note."""

    partition: int  # of the epochs topic
    unit: str
    value: bytes


class Group(Protocol):
    """What a committer needs of the consumer and its group."""

    def fence(self) -> Any:
        """The group's metadata. Raises `Unsettled` while the group is being rearranged."""
        ...

    def commit_offsets(self, offsets: Offsets) -> None:
        """Commit offsets outside a transaction, and return when that is certain."""
        ...

    def committed(self, spots: Sequence[Spot]) -> Offsets:
        """What is committed, once no transaction has anything to say about it any more."""
        ...


class Committer(Protocol):
    """A way to make outputs and progress durable."""

    def proven(self, partition: int, past: History, end: int, committed: Mapping[str, int]) -> Mapping[str, int]:
        """Say in `past` up to which epoch outputs are in the log; returns what offsets (by topic) prove that.

        `end` is up to where the history was read in its partition. Raises GapError when offsets and history can't both
        be true.
        """
        ...

    def commit(self, entries: Sequence[PendingSend], outputs: Sequence[Output], offsets: Offsets) -> list[int]:
        """Publish all; returns where in their partitions the entries stand.

        Raises `Unsettled` before anything is done, `InDoubtError`, naming the step, when any of it is not certain, and
        BrokerError when a record is refused for good.
        """
        ...


class Sender:
    """Sends records and looks at every single result; steps under a deadline."""

    def __init__(self, producer: Any, epochs_topic: str, deadline_s: float) -> None:
        """`producer` is a client whose key serializer knows NULL_KEY."""
        self.producer = producer
        self.epochs_topic = epochs_topic
        self.deadline_s = deadline_s

    def publish(self, outputs: Sequence[Output]) -> None:
        self._settle([(output, self._send(output)) for output in outputs])

    def publish_entries(self, entries: Sequence[PendingSend]) -> list[int]:
        """Where in their partitions they stand."""
        return self._settle([self._send_entry(entry) for entry in entries])

    def publish_all(self, entries: Sequence[PendingSend], outputs: Sequence[Output]) -> list[int]:
        """Both in one flush; where the entries stand."""
        sent = [(output, self._send(output)) for output in outputs]
        return self._settle([*sent, *(self._send_entry(entry) for entry in entries)])[len(sent) :]

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """What `work` returns. Raises `InDoubtError` when that fails or does not come in time."""
        try:
            return within(self.deadline_s, work)
        except (InDoubtError, BrokerError):
            raise
        except Exception as error:
            raise InDoubtError(
                f"The commit is in doubt: its step {name!r} failed ({type(error).__name__}: {error}). Start again: a "
                "fresh process finds out what the log holds and goes on from there"
            ) from error

    def _settle(self, sent: Sequence[tuple[Output, Any]]) -> list[int]:
        # A flush that returns does not say that all is in the log, and a record that expired in a transaction does not
        # fail its commit: only the results tell.
        self.producer.flush(self.deadline_s)
        for output, result in sent:
            if not result.succeeded():
                raise (
                    _refusal(output, result.exception)
                    or result.exception
                    or DeadlineExceeded("no acknowledgement came")
                )
        return [result.value.offset for _, result in sent]

    def _send_entry(self, entry: PendingSend) -> tuple[Output, Any]:
        output = Output(self.epochs_topic, entry.unit.encode(), entry.value)
        return output, self._send(output, entry.partition)

    def _send(self, output: Output, partition: int | None = None) -> Any:
        key = NULL_KEY if output.key is None and output.value is None else output.key
        headers = [(name, value or b"") for name, value in output.headers]  # the client can't write null headers
        try:
            return self.producer.send(output.topic, output.value, key, headers, partition)
        except Exception as error:
            raise _refusal(output, error) or error from error


class ExactlyOnce:
    """Commits in one transaction, and then reads back that it is there.

    No transaction is open across a poll, so none is open in a rebalance. All records are in the log before offsets are
    sent, because a record that fails later would be left out of a transaction that commits; and what is committed is
    read back, because the client reports success for a transaction that the broker has aborted.
    """

    def __init__(self, sender: Sender, group: Group) -> None:
        """Fences whoever has worked under the same transactional id, and waits until what that has begun is over.

        Raises `InDoubtError` when the brokers don't answer in time.
        """
        self._sender = sender
        self._group = group
        sender.step("init_transactions", sender.producer.init_transactions)

    def proven(self, partition: int, past: History, end: int, committed: Mapping[str, int]) -> Mapping[str, int]:  # noqa: ARG002
        past.committed = past.last
        at = past.positions()
        for topic, offset in committed.items():
            if offset < at.get(topic, offset):
                raise GapError(
                    f"The group's offset of {topic} was set back to {offset} by somebody, and the epochs say that "
                    f"{at[topic]} is folded and published. Set it to {at[topic]} again, {START_AFRESH}"
                )
        return {**committed, **at}  # the brokers forget the offsets of a group that was away for long

    def commit(self, entries: Sequence[PendingSend], outputs: Sequence[Output], offsets: Offsets) -> list[int]:
        fence, producer = self._group.fence(), self._sender.producer
        wanted = {TopicPartition(*spot): OffsetAndMetadata(offset, "", -1) for spot, offset in offsets.items()}
        step = self._sender.step
        step("begin", producer.begin_transaction)
        places: list[int] = step("outputs", partial(self._sender.publish_all, entries, outputs))
        step("offsets", partial(producer.send_offsets_to_transaction, wanted, fence))
        step("commit", producer.commit_transaction)
        found = step("witness", partial(self._group.committed, list(offsets)))
        if dict(found) != dict(offsets):
            raise InDoubtError(
                f"The commit is in doubt: offsets {dict(offsets)} were committed and {dict(found)} are there. Start "
                "again: a fresh process finds out what the log holds and goes on from there"
            )
        return places


class AtLeastOnce:
    """Commits in three steps: a crash may repeat an output, never change or lose one.

    Order is everything. Epoch records go first, because they say how the log was cut; then the outputs, which a fresh
    process that finds the epoch but not its committed offsets makes again, equal to the byte; then the offsets, which
    prove both.
    """

    def __init__(self, sender: Sender, group: Group) -> None:
        self._sender = sender
        self._group = group
        self._ends: dict[int, int] = {}

    def proven(self, partition: int, past: History, end: int, committed: Mapping[str, int]) -> Mapping[str, int]:
        self._ends[partition] = end  # the next record there must be ours
        past.committed = published(past, committed)
        return committed

    def commit(self, entries: Sequence[PendingSend], outputs: Sequence[Output], offsets: Offsets) -> list[int]:
        self._group.fence()
        step = self._sender.step
        places: list[int] = []
        # One by one: a process that has been replaced learns by the first, and leaves no later numbers behind.
        for entry in entries:
            places += step("epochs", partial(self._publish_entry, entry))
        if outputs:
            step("outputs", partial(self._sender.publish, outputs))
        if offsets:
            step("offsets", partial(self._group.commit_offsets, offsets))
        return places

    def _publish_entry(self, entry: PendingSend) -> list[int]:
        (offset,) = self._sender.publish_entries([entry])
        if offset != self._ends[entry.partition]:
            raise InDoubtError(
                f"Our epoch of {entry.unit} went to offset {offset} of {self._sender.epochs_topic}-{entry.partition} "
                f"and not to {self._ends[entry.partition]}, so another process works on the same unit. This one ends "
                "and publishes nothing of that epoch: see that only one service runs for each kafka.group and worker, "
                "then start it again"
            )
        self._ends[entry.partition] = offset + 1
        return [offset]


def published(past: History, committed: Mapping[str, int]) -> int:
    """Up to which of these epochs the group's committed offsets (by topic) prove the outputs published."""
    number = past.base
    for epoch in past.epochs:
        if any(end > committed.get(topic, 0) for topic, end in epoch.ends.items()):
            break
        number = epoch.number
    return number


def _refusal(output: Output, error: Exception | None) -> BrokerError | None:
    reason = REFUSALS.get(getattr(error, "errno", 0))
    if reason is None:
        return None
    size = len(output.key or b"") + len(output.value or b"") + sum(len(v or b"") for _, v in output.headers)
    return BrokerError(f"An output of {size:,} bytes for topic {output.topic} is refused, because {reason}")
