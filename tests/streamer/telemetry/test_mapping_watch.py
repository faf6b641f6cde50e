"""A topic that is read without being understood shows in the log and in the metrics."""

import logging
from collections import Counter
from types import SimpleNamespace

import pytest

from streamer.clock import ManualClock
from streamer.telemetry.mapping_watch import (
    RECORDS_MIN,
    MappingFault,
    MappingWatch,
    TopicCounts,
    counts_by_topic,
    fault_of,
    sentence_of,
)
from streamer.telemetry.metrics import Metrics


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        (TopicCounts(), None),
        (TopicCounts(10, 30), None),
        (TopicCounts(10, 0, 10), None),
        (TopicCounts(100, 3, 0, {"not_json": 98}), None),
        (TopicCounts(100, 3, 0, {"not_json": 90, "missing_model": 9}), MappingFault.UNREADABLE),
        (TopicCounts(100, 0, 0, {"not_json": 9}), MappingFault.UNWATCHED),
    ],
)
def test_a_topic_is_understood_if_a_hundredth_of_it_holds_something(counts, fault):
    """Values and labels count; a fault needs 99 dead letters in 100 records, or no usable value at all."""
    assert fault_of(counts) is fault


def test_a_fault_has_its_numbers_and_the_next_step():
    """The most frequent reasons stand first."""
    dead = {"missing_model": 4, "not_json": 2_000, "bad_event_time": 4, "event_too_large": 1}
    assert sentence_of("orders", TopicCounts(2_009, 0, 0, dead), MappingFault.UNREADABLE) == (
        "orders: 2,009 of 2,009 records are dead letters (2,000 not_json, 4 bad_event_time, 4 missing_model, 1 more "
        "reason): check the codec and the `fields` of the topic; `driftline dead-letters orders` shows some"
    )
    assert sentence_of("orders", TopicCounts(7, 0, 0), MappingFault.UNWATCHED).startswith("orders: all values of 7 re")


class Folding:
    """A service whose folds have counted so much."""

    def __init__(self) -> None:
        self.tally = Counter()
        self.units = {"detect-0": SimpleNamespace(fold=SimpleNamespace(tally=self.tally))}

    def read(self, n, topic="orders", dead=0, usable=0):
        self.tally.update({("records", topic): n, ("usable", topic): usable, ("dead_letters", topic, "not_json"): dead})


def shown(metrics, fault):
    line = f'driftline_mapping_fault{{fault="{fault}",topic="orders"}} '
    return next(row for row in metrics.expose().decode().splitlines() if row.startswith(line)).removeprefix(line)


def test_a_fault_is_logged_once_and_shown_as_long_as_it_lasts(caplog):
    """It begins after `RECORDS_MIN` records, and ends when the next ones are understood."""
    caplog.set_level(logging.INFO, logger="driftline")
    metrics, service = Metrics(), Folding()
    watch = MappingWatch(metrics, ["orders", "rides"])
    assert shown(metrics, "unreadable") == "0.0"
    service.read(RECORDS_MIN - 1, dead=RECORDS_MIN - 1)
    watch.on_turn(service)
    assert [one.getMessage().split(" (")[0] for one in caplog.records] == [
        "orders: 999 of 999 new records became dead letters"
    ]
    caplog.clear()
    service.read(1, dead=1)
    for _ in range(3):
        watch.on_turn(service)
        service.read(RECORDS_MIN, dead=RECORDS_MIN)
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert "orders: 1,000 of 1,000 records are dead letters (1,000 not_json)" in caplog.text
    assert (shown(metrics, "unreadable"), shown(metrics, "unwatched")) == ("1.0", "0.0")
    watch.on_turn(service)
    service.read(RECORDS_MIN, usable=1)
    watch.on_turn(service)
    assert [one.levelname for one in caplog.records] == ["WARNING", "INFO"]
    assert shown(metrics, "unreadable") == "0.0"


def test_a_unit_that_leaves_begins_the_count_again():
    """Counts that fall are of another set of units, so nothing is judged by their difference."""
    metrics, service = Metrics(), Folding()
    watch = MappingWatch(metrics, ["orders"])
    service.read(5_000, usable=5_000)
    watch.on_turn(service)
    service.tally.clear()
    service.read(500, dead=500)
    watch.on_turn(service)
    assert shown(metrics, "unreadable") == "0.0"
    service.read(RECORDS_MIN, dead=RECORDS_MIN)
    watch.on_turn(service)
    assert shown(metrics, "unreadable") == "1.0"


def test_dead_letters_are_logged_when_they_begin_and_then_rarely(caplog):
    """The first ones at once, later ones together after five minutes, with their numbers and reasons."""
    clock, service = ManualClock(), Folding()
    watch = MappingWatch(Metrics(clock), ["orders"])
    for seconds in (0, 10, 10, 290, 10):
        clock.advance(seconds)
        service.read(500, dead=2, usable=498)
        watch.on_turn(service)
    assert [one.getMessage() for one in caplog.records] == [
        "orders: 2 of 500 new records became dead letters (2 not_json); `driftline dead-letters orders` shows some",
        "orders: 6 of 1,500 new records became dead letters (6 not_json); `driftline dead-letters orders` shows some",
    ]


def test_a_topic_that_is_not_understood_is_not_ready():
    """The page of readiness says which and why, until records are understood again; few records take a minute."""
    clock, service = ManualClock(), Folding()
    metrics = Metrics(clock)
    watch = MappingWatch(metrics, ["orders"])
    metrics.ready(True)
    service.read(30, dead=30)
    watch.on_turn(service)
    assert metrics.health.readiness() == (True, "ready")
    clock.advance(61)
    watch.on_turn(service)
    is_ready, line = metrics.health.readiness()
    assert not is_ready
    assert line.startswith("not ready: orders: 30 of 30 records are dead letters (30 not_json): check the codec")
    service.read(1_000, usable=1_000)
    watch.on_turn(service)
    assert metrics.health.readiness() == (True, "ready")


def test_only_event_topics_count():
    """Dead letters and records of the topics that decide reads are not those of a mapping."""
    tally = {("records", "driftline.alerts"): 5, ("dead_letters", "driftline.alerts", "not_json"): 5, ("dropped",): 1}
    assert counts_by_topic(tally, ["orders"]) == {"orders": TopicCounts()}
