"""Membership in a consumer group: the assigned partitions, and whether they are still valid.

Rebalances happen in the client's own thread, between two polls or within one. Its listener only records that one began
or ended; the assignment is read after a poll. A generation is *settled* once the group is stable and its assignment
was read. Only then may a commit use it: during a rebalance the client has the new generation with the old partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka.structs import MemberState

from streamer.eventlog.base import RebalanceInProgress
from streamer.eventlog.kafka.fetch import Spot

NONE = -1


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """One consumer's membership."""

    def __init__(self, consumer: Any, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._moved = True
        self._generation = NONE
        consumer.subscribe(list(topics), listener=self)

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002
        self._moved = True

    def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002
        self._moved = True

    def on_partitions_lost(self, lost: Any) -> None:  # noqa: ARG002
        self._moved = True

    @property
    def moved(self) -> bool:
        """Whether the assignment may have changed since the last `look`."""
        return self._moved or self._consumer.group_metadata().generation_id != self._generation

    def look(self) -> list[Spot] | None:
        """The assigned partitions, which settles a stable generation; None while the group is not stable."""
        self._moved = False
        before = self._consumer.group_metadata()
        spots = sorted((tp.topic, tp.partition) for tp in self._consumer.assignment())
        now = self._consumer.group_metadata()
        if self._moved or before != now or now.state != MemberState.STABLE:
            self._moved = True
            return None
        self._generation = now.generation_id
        return spots

    def fence(self) -> Any:
        """The group metadata of the settled generation, by which the broker fences a commit.

        Raises `RebalanceInProgress` if the generation is not settled.
        """
        metadata = self._consumer.group_metadata()
        if self._moved or metadata.state != MemberState.STABLE or metadata.generation_id != self._generation:
            raise RebalanceInProgress("the group rebalances")
        return metadata
