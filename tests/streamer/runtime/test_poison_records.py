"""Records that kill the process that folds them, in one unit of several."""

import json
import os

import pytest
from crash_kit import CrashingLog
from loop_kit import START_MS, service_over

from streamer.eventlog.base import RebalanceInProgress
from streamer.eventlog.history import Attempt

MAGIC = b"kills"


class Killed(BaseException):
    """The process is gone."""


def die_of_magic(fold):
    step = fold.step

    def step_or_die(stretch):
        if any(MAGIC in records.value_of(i) for records in stretch for i in range(len(records))):
            raise Killed
        return step(stretch)

    fold.step = step_or_die
    return fold


def started_until_done(log, starts_max=40):
    """Start service after service until one lives to the end."""
    for _ in range(starts_max):
        service, log = service_over(log), log.reopen()
        fresh = service._recovery.folds.fresh
        service._recovery.folds.fresh = lambda unit, text, fresh=fresh: die_of_magic(fresh(unit, text))
        try:
            return service.run(lambda: False)
        except Killed:
            pass
    raise AssertionError(f"still dying after {starts_max} starts")


def test_a_record_that_kills_brings_no_record_of_another_unit_under_suspicion():
    """Whichever unit it is of, it alone is set aside, though the process dies with all units in it."""
    log = CrashingLog(["predictions"], poll_records_max=200)
    deadly = log.store.append("predictions", None, MAGIC, partition=1)
    for i in range(300):
        event = {"model_id": f"m{i % 3}", "event_time": START_MS + i, "prediction": 1.0}
        log.store.append("predictions", None, json.dumps(event).encode(), partition=i % 3)
    log.end_input()
    started_until_done(log)
    aside = {
        (unit, topic, offset)
        for unit, epochs in log.store.epochs.items()
        for epoch in epochs
        for topic, offsets in epoch.set_aside.items()
        for offset in offsets
    }
    assert aside == {("detect-1", "predictions", deadly)}


class Attempted(BaseException):
    """Somebody outside kills the process while it folds."""


def killed_while_folding(log, kills):
    """Start service after service, each of which is killed at its first epoch; the log for the next one."""
    for _ in range(kills):
        service, log = service_over(log), log.reopen()
        fresh = service._recovery.folds.fresh
        service._recovery.folds.fresh = lambda unit, text, fresh=fresh: stopped_from_outside(fresh(unit, text))
        with pytest.raises(Attempted):
            service.run(lambda: False)
    return log


def stopped_from_outside(fold):
    """The fold in this very process is broken off; a copy of the process is not."""
    here, step = os.getpid(), fold.step

    def step_or_stop(stretch):
        if os.getpid() == here:
            raise Attempted
        return step(stretch)

    fold.step = step_or_stop
    return fold


@pytest.mark.parametrize("kills", [3, 8, 14])
def test_kills_from_outside_convict_no_record(kills):
    """However often processes are killed while they fold, all records are folded in the end."""
    log = CrashingLog(["predictions"], poll_records_max=200)
    for i in range(300):
        event = {"model_id": f"m{i % 3}", "event_time": START_MS + i, "prediction": 1.0}
        log.store.append("predictions", None, json.dumps(event).encode(), partition=0)
    log.end_input()
    service_over(killed_while_folding(log, kills)).run(lambda: False)
    (epochs,) = log.store.epochs.values()
    assert not any(epoch.set_aside for epoch in epochs)
    assert epochs[-1].ends == {"predictions": 300}


def test_a_suspect_is_tried_once_however_often_the_group_moves(monkeypatch):
    """A rebalance makes the loop come back to the epoch; what the trial found still holds."""
    tried = []
    monkeypatch.setattr("streamer.runtime.loop.dies_of", lambda work: bool(tried.append(work)))
    log = CrashingLog(["predictions"], poll_records_max=200)
    event = {"model_id": "m", "event_time": START_MS, "prediction": 1.0}
    log.store.append("predictions", None, json.dumps(event).encode())
    log.end_input()
    log = killed_while_folding(log, 4)
    tried.clear()
    service, note = service_over(log), log.note
    moves = iter([True] * 5)

    def note_or_move(unit, notes):
        if isinstance(notes[0], Attempt) and next(moves, False):
            raise RebalanceInProgress
        note(unit, notes)

    log.note = note_or_move
    service.run(lambda: False)
    assert next(moves, None) is None
    assert len(tried) == 1
