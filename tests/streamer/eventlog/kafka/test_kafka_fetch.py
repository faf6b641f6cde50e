"""What a poll brought, put together by partition; and the client's insides that this relies on."""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka_kit import as_records, rows_of

from streamer.eventlog.base import Records
from streamer.eventlog.kafka.fetch import stretches

SPOT = ("t", 0)

rows_st = st.lists(
    st.tuples(
        st.integers(0, 2**40),
        st.none() | st.binary(max_size=9),
        st.none() | st.binary(max_size=9),
        st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=20,
)


def built(rows: list[Any], start: int) -> Records:
    return Records.build(*SPOT, [(start + i, *row) for i, row in enumerate(rows)])


@given(st.lists(rows_st, min_size=1, max_size=4))
def test_fetches_of_a_partition_are_joined(parts: list[list[Any]]) -> None:
    """However the client cut a partition's records, they come as one stretch with every part in its place."""
    whole = [row for part in parts for row in part]
    cut, at = [], 0
    for part in parts:
        cut.append(built(part, at))
        at += len(part)
    (joined,) = stretches({TopicPartition(*SPOT): cut}, {SPOT: 0}, {SPOT: at + 2})
    assert rows_of(joined) == rows_of(built(whole, 0))
    assert joined.next_offset == at + 2


@given(rows_st)
def test_plain_records_become_the_same(rows: list[Any]) -> None:
    """Records that the client made objects of, as the oracle of raw reading has them, give the same columns."""
    objects = [
        ConsumerRecord(*SPOT, 0, i, timestamp, 0, key, value, list(headers), None, 0, 0, 0)
        for i, (timestamp, key, value, headers) in enumerate(rows)
    ]
    tp = TopicPartition(*SPOT)
    parts = [as_records(tp, objects[:1]), as_records(tp, objects[1:])] if len(rows) > 1 else [as_records(tp, objects)]
    (found,) = stretches({tp: parts}, {SPOT: 0}, {SPOT: len(rows)})
    assert rows_of(found) == rows_of(built(rows, 0))


def test_partitions_that_moved_without_records() -> None:
    """Only a partition that moved is reported; one that is new in the assignment has not moved."""
    (moved,) = stretches({}, {("t", 0): 5, ("t", 1): 5}, {("t", 0): 7, ("t", 1): 5, ("t", 2): 9})
    assert (moved.topic, moved.partition, len(moved), moved.next_offset) == ("t", 0, 0, 7)


def test_the_client_is_as_we_know_it() -> None:
    """The parts of kafka-python that reading relies on are where they were, so that an upgrade fails here first."""
    parts = Fetcher.PartitionRecords
    assert list(inspect.signature(parts._unpack_records).parameters)[:3] == ["self", "tp", "records"]
    assert list(inspect.signature(parts.take).parameters) == ["self", "n"]
    source = inspect.getsource(Fetcher._append)
    assert "part.take(max_records)" in source
    assert "return len(part_records)" in source
    assert "self.PartitionRecords(fetch_offset, tp, records" in inspect.getsource(Fetcher._parse_fetched_data)
