"""Publishing outputs and progress at least once: a crash may repeat an output, never change or lose one.

Order is everything. Epoch records go first, because they say how the log was cut; then the outputs, which a fresh
process that finds the epoch but not its committed offsets makes again, equal to the byte; then the offsets, which prove
both. Each step ends before the next begins, and every record is known to be in the log: flushing alone does not say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from streamer.epochs import encode_epoch
from streamer.errors import BrokerError, Doubt
from streamer.logs.base import Epoch, Output
from streamer.logs.deadline import Overrun, within

Spot = tuple[str, int]  # topic and partition

# Error codes of the Kafka protocol by which a broker (or the client itself) refuses a record for good.
REFUSALS: Final[Mapping[int, str]] = {
    10: "it is too large: raise max.message.bytes of the topic, or make the output smaller",
    17: "the topic's name is invalid: mend it in the config",
    18: "its batch is too large: raise max.message.bytes of the topic",
    29: "we are not allowed to write there: grant Write on the topic",
    31: "we are not allowed to: grant IdempotentWrite on the cluster",
    44: "the topic's policy forbids it: mend the topic's settings",
    87: "the topic takes records with a key only: choose another topic, or change its cleanup.policy",
}
# Stands for the null key of a record that has no value either, which the client refuses before it serializes the key.
NULL_KEY: Final = object()


class AtLeastOnce:
    """Commits in three steps, each under a deadline.

    `producer` is a client whose key serializer knows NULL_KEY; `commit_offsets` stores the group's offsets and returns
    when that is certain. `epochs_end` is up to where the epochs topic has been read, to be set before anything is
    committed: the next record of the topic must be ours.
    """

    def __init__(
        self,
        producer: Any,
        commit_offsets: Callable[[Mapping[Spot, int]], None],
        epochs_topic: str,
        deadline_s: float,
    ) -> None:
        self._producer = producer
        self._commit_offsets = commit_offsets
        self._epochs_topic = epochs_topic
        self.epochs_end = -1
        self._deadline_s = deadline_s

    def commit(self, epochs: Sequence[Epoch], outputs: Sequence[Output], offsets: Mapping[Spot, int]) -> None:
        """Epochs that are not in their topic yet, then all outputs, then the offsets that all this has reached.

        Raises Doubt, naming the step, when any of it is not certain, and BrokerError when a record is refused for good.
        """
        self.write_epochs([(epoch.unit, encode_epoch(epoch)) for epoch in epochs])
        if outputs:
            self._step("outputs", lambda: self._publish(outputs))
        if offsets:
            self._step("offsets", lambda: self._commit_offsets(offsets))

    def write_epochs(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Append (unit, value) records to the epochs topic. Raises Doubt, also when another process writes there."""
        outputs = [Output(self._epochs_topic, unit.encode(), value) for unit, value in records]
        # The first goes alone: a process that has been replaced learns by it, and leaves no later numbers behind.
        for part in (outputs[:1], outputs[1:]):
            if part:
                self._step("epochs", partial(self._publish_epochs, part))

    def _publish_epochs(self, outputs: Sequence[Output]) -> None:
        for offset in self._publish(outputs):
            if offset != self.epochs_end:
                raise Doubt(
                    f"Our epoch went to offset {offset} of topic {self._epochs_topic} and not to {self.epochs_end}, so "
                    "another process works for the same group. This one ends and publishes nothing of that epoch: see "
                    "that only one process runs for each kafka.group, then start it again"
                )
            self.epochs_end += 1

    def _publish(self, outputs: Sequence[Output]) -> list[int]:
        """Send, wait and look at every single result; the offsets the records got."""
        sent = [(output, self._send(output)) for output in outputs]
        self._producer.flush(self._deadline_s)
        for output, result in sent:
            if not result.succeeded():
                raise _refusal(output, result.exception) or result.exception or Overrun("no acknowledgement came")
        return [result.value.offset for _, result in sent]

    def _send(self, output: Output) -> Any:
        key = NULL_KEY if output.key is None and output.value is None else output.key
        headers = [(name, value or b"") for name, value in output.headers]  # the client can't write null headers
        try:
            return self._producer.send(output.topic, output.value, key, headers)
        except Exception as error:
            raise _refusal(output, error) or error from error

    def _step(self, name: str, work: Callable[[], object]) -> None:
        try:
            within(self._deadline_s, work)
        except (Doubt, BrokerError):
            raise
        except Exception as error:
            raise Doubt(
                f"The commit is in doubt: its step {name!r} failed ({type(error).__name__}: {error}). Start again: a "
                "fresh process finds out what the log holds and goes on from there"
            ) from error


def _refusal(output: Output, error: Exception | None) -> BrokerError | None:
    reason = REFUSALS.get(getattr(error, "errno", 0))
    if reason is None:
        return None
    size = len(output.key or b"") + len(output.value or b"") + sum(len(v or b"") for _, v in output.headers)
    return BrokerError(f"An output of {size:,} bytes for topic {output.topic} is refused, because {reason}")
