"""Settings by which one worker reads and writes Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamer.eventlog.kafka.clients import Member


@dataclass(frozen=True, slots=True)
class KafkaLogSettings:
    """Topics, group and bounds of a `KafkaLog`."""

    topics: tuple[str, ...]  # event topics in canonical order, then those that decide reads
    group_id: str  # consumer group: its members share the partitions
    worker: int = 0  # number of this process in the group, unique
    # At least once is for brokers without transactions.
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    epochs_topic: str = "driftline.epochs"  # one partition a unit; used by this group alone
    outputs: tuple[str, ...] = ()  # the other topics that the worker writes
    start: Literal["earliest", "latest"] = "earliest"  # first offset of a topic that was never read
    session_timeout_s: float = 30.0  # the group drops a member without a heartbeat for so long
    records_max: int = 100_000  # of one poll
    fetch_bytes_max: int = 32 << 20  # of one fetch response, compressed
    partition_fetch_bytes_max: int = 2 << 20  # of one partition in it
    request_bytes_max: int = 16 << 20  # the largest output
    commit_deadline_s: float = 30.0  # for each step of a commit; past it, the commit is in doubt
    metadata_age_s: float = 30.0  # how late a replaced topic is noticed

    def __post_init__(self) -> None:
        if not self.topics or not self.group_id:
            raise ValueError("topics and group_id must not be empty")
        if self.epochs_topic in self.topics:
            raise ValueError(f"the epochs topic {self.epochs_topic} can't be an input as well")
        for name in ("records_max", "fetch_bytes_max", "partition_fetch_bytes_max", "request_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("commit_deadline_s", "metadata_age_s", "session_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")

    @property
    def member(self) -> Member:
        return Member(self.group_id, f"{self.group_id}-{self.worker}", self.session_timeout_s)
