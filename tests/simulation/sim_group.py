"""The broker's side of a consumer group of the classic protocol: members, generations, and the range assignor.

A member that joins or leaves makes all others join again; until the last of them has, the old generation stands and its
commits are taken. A static member that comes back takes its own place, and its former self is fenced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka.errors import FencedInstanceIdError, IllegalGenerationError, UnknownMemberIdError

from streamer.clock import ManualClock

Spot = tuple[str, int]  # topic and partition
SESSION_TIMEOUT_S = 30.0
REBALANCE_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Member:
    """One member as the broker knows it."""

    instance_id: str
    heard_s: float
    joined: bool = True  # in the rebalance that is going on
    assigned: list[Spot] = field(default_factory=list)


class Group:
    """One consumer group."""

    def __init__(self, clock: ManualClock, counts: Mapping[str, int]) -> None:
        """`counts` are the partitions of each topic."""
        self.generation = 0
        self.rebalancing = False
        self.members: dict[str, Member] = {}  # by member id
        self._clock = clock
        self._counts = counts
        self._topics: list[str] = []
        self._began_s = 0.0
        self._ids = 0
        self._fenced: set[str] = set()

    def join(self, instance_id: str, member_id: str, topics: list[str]) -> str:
        """Join, or join again; returns the member id. The answer is there once `joined` says so."""
        self._topics = topics
        if member_id:
            self.check(member_id)
            self.members[member_id].joined = True
        else:
            member_id = self._enter(instance_id)
        self._complete()
        return member_id

    def joined(self, member_id: str) -> int | None:
        """The generation of the assignment that is there for this member; None while others are waited for."""
        self.check(member_id)
        return None if self.rebalancing else self.generation

    def heartbeat(self, member_id: str) -> bool:
        """Whether the member is to join again."""
        self.check(member_id)
        self.members[member_id].heard_s = self._clock.monotonic_s()
        return self.rebalancing and not self.members[member_id].joined

    def check(self, member_id: str, generation: int | None = None) -> None:
        """Raises what the broker answers to one that is not, or not any more, of the group."""
        if member_id in self._fenced:
            raise FencedInstanceIdError
        if member_id not in self.members:
            raise UnknownMemberIdError
        if generation is not None and generation != self.generation:
            raise IllegalGenerationError

    def expire(self) -> None:
        """Members that were silent for too long are dead to the group, and so are those that don't join again."""
        now_s = self._clock.monotonic_s()
        for member_id, member in list(self.members.items()):
            if now_s - member.heard_s > SESSION_TIMEOUT_S or (
                self.rebalancing and not member.joined and now_s - self._began_s > REBALANCE_TIMEOUT_S
            ):
                self._remove(member_id)

    def _remove(self, member_id: str) -> None:
        del self.members[member_id]
        if not self.rebalancing:
            self._rebalance(None)
        self._complete()

    def _enter(self, instance_id: str) -> str:
        self._ids += 1
        member_id = f"{instance_id}-{self._ids}"
        now_s = self._clock.monotonic_s()
        former = next((m for m, member in self.members.items() if member.instance_id == instance_id), None)
        if former is None:
            self.members[member_id] = Member(instance_id, now_s)
            if not self.rebalancing:
                self._rebalance(self.members[member_id])
        else:
            self._fenced.add(former)
            self.members[member_id] = self.members.pop(former)
            self.members[member_id].heard_s = now_s
            self.members[member_id].joined = True
        return member_id

    def _rebalance(self, first: Member | None) -> None:
        self.rebalancing = True
        self._began_s = self._clock.monotonic_s()
        for member in self.members.values():
            member.joined = member is first

    def _complete(self) -> None:
        """A new generation, once everybody has joined."""
        if not self.rebalancing or not all(member.joined for member in self.members.values()):
            return
        self.rebalancing = False
        self.generation += 1
        ranked = sorted(self.members.values(), key=lambda member: member.instance_id)
        for member in ranked:
            member.assigned = []
        for topic in self._topics if ranked else ():
            each, more = divmod(self._counts[topic], len(ranked))
            at = 0
            for i, member in enumerate(ranked):
                n = each + (i < more)
                member.assigned += [(topic, partition) for partition in range(at, at + n)]
                at += n
