"""Epochs whose outputs take too long to publish get smaller until they are published."""

import json

import pytest
from crash_kit import AfterFailure, CrashingLog
from loop_kit import START_MS, service_over

from streamer.errors import InDoubtError, OutputsInDoubtError
from streamer.eventlog.memory import MemoryLog
from streamer.runtime.epoch_size import OUTPUTS_MAX, RECORDS_MAX, CommitSettings, EpochSize

RECORDS = 3_000
FEW_ENOUGH = 200  # outputs that a commit can publish in time
STARTS_MAX = 12


class SlowLog(CrashingLog):
    """A log whose commits take their time, and do not get more than a few outputs into it by their deadline."""

    clock = None

    def reopen(self):
        return SlowLog(self.subscribed, self.store, self._poll_records_max)

    def commit(self, outputs, epochs):
        self.clock.advance(CommitSettings().deadline_s * len(outputs) / FEW_ENOUGH)
        if len(outputs) > FEW_ENOUGH:
            raise OutputsInDoubtError("the outputs did not get into the log in time")
        return super().commit(outputs, epochs)


def unreadable(log):
    """As many unreadable records, and an event behind them."""
    for i in range(RECORDS):
        log.store.append("predictions", None, b"garbage %d" % i)
    event = {"model_id": "m", "event_time": START_MS, "prediction": 1.0}
    log.store.append("predictions", None, json.dumps(event).encode())
    log.end_input()
    return log


def starts_until_done(log):
    for starts in range(1, STARTS_MAX + 1):
        service = service_over(log)
        log.clock = service._clock
        try:
            service.run(lambda: False)
        except InDoubtError:
            log = log.reopen()
            continue
        return starts
    raise AssertionError(f"not published after {STARTS_MAX} starts")


def test_a_commit_that_takes_too_long_gets_smaller_until_it_goes_through():
    """Each start halves the epoch; all dead letters come once, and no record is set aside for it."""
    log = unreadable(SlowLog(["predictions"], poll_records_max=10_000))
    starts = starts_until_done(log)
    letters = log.store.read("predictions-dlt")
    assert [letters.value_of(i) for i in range(len(letters))] == [b"garbage %d" % i for i in range(RECORDS)]
    (epochs,) = log.store.epochs.values()
    assert not any(epoch.set_aside for epoch in epochs)
    assert max(epoch.outputs for epoch in epochs) <= FEW_ENOUGH
    assert starts > 4  # 3,001 records, halved four times, are 187


def test_a_doubt_about_something_else_makes_nothing_smaller():
    """A coordinator that went away says nothing about the size of a commit."""
    log = unreadable(CrashingLog(["predictions"], poll_records_max=10_000))
    log.doubt_next_commit(AfterFailure.NOTHING)
    assert starts_until_done(log) == 2
    (epochs,) = log.store.epochs.values()
    assert [epoch.outputs for epoch in epochs] == [RECORDS]


def test_epochs_of_several_units_are_committed_in_transactions_of_bounded_size(monkeypatch):
    """What many units have folded in one turn does not become one transaction."""
    sizes = []

    class Watched(MemoryLog):
        def commit(self, outputs, epochs):
            sizes.append(len(outputs))
            return super().commit(outputs, epochs)

    monkeypatch.setattr("streamer.runtime.loop.OUTPUTS_MAX", 250)
    log = Watched(["predictions"], poll_records_max=50)
    for i in range(600):
        log.store.append("predictions", None, b"garbage", partition=i % 6)
    log.end_input()
    service_over(log).run(lambda: False)
    assert sizes == [50] * 6 + [250, 50]  # the first epoch of each unit is committed alone


@pytest.mark.parametrize(
    ("bound", "records", "outputs", "part", "then"),
    [
        (None, 200_000, 100, 0.1, None),
        (None, 200_000, 4 * OUTPUTS_MAX, 0.1, 50_000),
        (None, 8_000, 8_000, 0.9, 4_000),
        (100, 100, 100, 0.1, 200),
        (100, 100, 100, 0.3, 100),
        (8_000, 8_000, 8_000, 0.1, 8_000),
        (RECORDS_MAX // 2, 9, 9, 0.1, None),
        (100, 0, 0, 0.1, 200),
    ],
)
def test_the_bound_follows_what_commits_take(bound, records, outputs, part, then):
    """Outputs and time make it smaller; quick commits of few outputs make it larger, until it is none."""
    size = EpochSize(bound)
    size.published(records, outputs, part)
    assert size.records_max == then
