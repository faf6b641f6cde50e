"""kafka-python's consumer over the simulated cluster, with the client's order of events in a rebalance.

Between two polls the client's own thread goes on: it hears that the group is being rearranged, and once it has joined
again it knows the new generation while it still has the old partitions. Those change within a poll alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    IllegalStateError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownMemberIdError,
)
from kafka.structs import ConsumerGroupMetadata, MemberState, OffsetAndMetadata
from sim_cluster import Spot
from sim_host import Host

from streamer.eventlog.base import Records

WAIT_S = 0.1


@dataclass(slots=True)
class SpotState:
    """Where an assigned partition stands."""

    position: Any = None
    highwater: int | None = None
    paused: bool = False


class Membership:
    """The client's side of the group."""

    def __init__(self, host: Host, instance_id: str) -> None:
        self.instance_id = instance_id
        self.topics: list[str] = []
        self.listener: Any = None
        self.state = MemberState.UNJOINED
        self.generation = -1
        self.member_id = ""
        self.must_join = True
        self._host = host
        self._joining = False
        self._fenced = False

    def background(self) -> None:
        """What the client's own thread does at any time."""
        if not self.member_id or self._fenced:
            return
        try:
            if self._host.group.heartbeat(self.member_id):
                self.must_join = True
            elif self._joining and (generation := self._host.group.joined(self.member_id)) is not None:
                self.generation = generation
        except FencedInstanceIdError:
            self._fenced = True
        except UnknownMemberIdError:
            self.generation, self.member_id = -1, ""
            self.state, self.must_join, self._joining = MemberState.UNJOINED, True, False

    def ensure(self, assignment: dict[TopicPartition, SpotState]) -> bool:
        """What a poll does for it; false while the group is not there yet. Changes the assignment in place."""
        self.background()
        if self._fenced:
            raise FencedInstanceIdError
        if not self.must_join:
            return True
        self._join(assignment)
        if self._host.random.random() < 0.3:
            return False  # the answer is on its way
        generation = self._host.group.joined(self.member_id)
        if generation is None:
            return False
        self.generation = generation
        if self._host.random.random() < 0.3:
            return False  # the assignment is on its way
        self.state, self.must_join, self._joining = MemberState.STABLE, False, False
        assignment.clear()
        assigned = self._host.group.members[self.member_id].assigned
        assignment |= {TopicPartition(*spot): SpotState() for spot in assigned}
        self.listener.on_partitions_assigned(set(assignment))
        return True

    def _join(self, assignment: dict[TopicPartition, SpotState]) -> None:
        group = self._host.group
        if self._joining:
            if group.heartbeat(self.member_id):  # another rebalance has begun meanwhile
                group.join(self.instance_id, self.member_id, self.topics)
            return
        if not self.member_id and assignment:
            self.listener.on_partitions_lost(set(assignment))
            assignment.clear()
        else:
            self.listener.on_partitions_revoked(set(assignment))
        self.state, self._joining = MemberState.REBALANCING, True
        self.member_id = group.join(self.instance_id, self.member_id, self.topics)


class SimConsumer:
    """A reader of committed records, as a member of the group or on its own."""

    _fetcher = SimpleNamespace(_next_partition_records=None)  # nothing is ever parked here

    def __init__(self, host: Host, instance_id: str | None) -> None:
        self._host = host
        self._membership = Membership(host, instance_id) if instance_id else None
        self._assignment: dict[TopicPartition, SpotState] = {}
        self._subscription = SimpleNamespace(assignment=self._assignment)
        self._cluster = SimpleNamespace(
            topic_id=lambda topic: f"id-of-{topic}", partitions_for_topic=self._partitions, unauthorized_topics=()
        )
        self._coordinator = SimpleNamespace(fetch_committed_offsets=self._fetch_committed)
        if self._membership:
            host.members.append(self._membership)

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self._membership.topics, self._membership.listener = topics, listener

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        self._assignment.clear()
        self._assignment |= {tp: SpotState() for tp in tps}

    def assignment(self) -> set[TopicPartition]:
        return set(self._assignment)

    def group_metadata(self) -> ConsumerGroupMetadata:
        m = self._membership
        return ConsumerGroupMetadata("group", m.generation, m.member_id, m.instance_id, m.state)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self._host.call(lambda: self._partitions(topic), hangs=True)

    def topics(self) -> set[str]:
        return set(self._host.cluster.counts)

    def beginning_offsets(self, tps: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:  # noqa: ARG002
        return self._host.call(lambda: {tp: self._partition(tp).begin for tp in tps})

    def end_offsets(self, tps: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:  # noqa: ARG002
        return self._host.call(lambda: {tp: self._partition(tp).stable_end for tp in tps})

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp not in self._assignment:
            raise IllegalStateError(f"{tp} is not assigned")
        self._assignment[tp].position = SimpleNamespace(offset=offset)

    def pause(self, tp: TopicPartition) -> None:
        self._assignment[tp].paused = True

    def resume(self, tp: TopicPartition) -> None:
        self._assignment[tp].paused = False

    def poll(self, timeout_ms: int, max_records: int = 500) -> dict[TopicPartition, list[Records]]:
        found = self._host.call(lambda: self._poll(max_records), is_read=True)
        if not found:
            self._host.rest(timeout_ms / 1000)
        return found

    def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], timeout_ms: int) -> None:  # noqa: ARG002
        def commit() -> None:
            m = self._membership
            if m.state != MemberState.STABLE:
                raise CommitFailedError
            self._host.group.check(m.member_id, m.generation)
            self._host.cluster.offsets |= {(tp.topic, tp.partition): o.offset for tp, o in offsets.items()}

        self._host.call(commit)

    def close(self, autocommit: bool, timeout_ms: int) -> None:
        pass

    def _partitions(self, topic: str) -> set[int]:
        return set(range(self._host.cluster.counts.get(topic, 0)))

    def _partition(self, tp: TopicPartition) -> Any:
        return self._host.cluster.partitions[tp.topic, tp.partition]

    def _fetch_committed(self, tps: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, OffsetAndMetadata]:
        cluster, left_s = self._host.cluster, timeout_ms / 1000
        while any(cluster.pending((tp.topic, tp.partition)) for tp in tps):
            if left_s <= 0:
                raise KafkaTimeoutError("unstable offsets")
            self._host.rest(WAIT_S)
            left_s -= WAIT_S
        return self._host.call(
            lambda: {
                tp: OffsetAndMetadata(cluster.offsets[tp.topic, tp.partition], "", -1)
                for tp in tps
                if (tp.topic, tp.partition) in cluster.offsets
            }
        )

    def _poll(self, max_records: int) -> dict[TopicPartition, list[Records]]:
        if self._membership and not (self._membership.ensure(self._assignment) and self._placed()):
            return {}
        found = {}
        for tp, state in sorted(self._assignment.items()):
            if not state.paused and self._host.random.random() < 0.8:
                records = self._fetch(tp, state, self._host.random.choice([1, 20, max_records]))
                if records is not None:
                    found[tp] = [records]
        return found

    def _placed(self) -> bool:
        """Give a position to partitions that have none: what the group has committed."""
        missing = []
        for tp, state in self._assignment.items():
            spot: Spot = tp.topic, tp.partition
            if state.position is None:
                if self._host.cluster.pending(spot):
                    return False
                if spot in self._host.cluster.offsets:
                    state.position = SimpleNamespace(offset=self._host.cluster.offsets[spot])
                else:
                    missing.append(tp)
        if missing:
            raise NoOffsetForPartitionError(missing)
        return True

    def _fetch(self, tp: TopicPartition, state: SpotState, records_max: int) -> Records | None:
        partition, position = self._partition(tp), state.position.offset
        if not partition.begin <= position <= partition.end:
            raise OffsetOutOfRangeError({tp: position})
        rows = []
        for offset, entry in partition.visible(position):
            if len(rows) == records_max:
                break
            rows.append((offset, entry.timestamp_ms, entry.key, entry.value, entry.headers))
        else:  # what is left are markers: now or later it is moved over them
            if not rows or self._host.random.random() < 0.5:
                position = partition.stable_end
        if rows:
            position = max(position, rows[-1][0] + 1)
        state.position, state.highwater = SimpleNamespace(offset=position), partition.end
        return Records.build(tp.topic, tp.partition, rows, position) if rows else None
