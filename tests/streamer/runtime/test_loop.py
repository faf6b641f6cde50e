"""The loop over a log in memory: crashes, restarts and cuts."""

import json
import math
from collections import Counter
from contextlib import suppress

import msgspec
import pytest
from crash_kit import AfterFailure, CrashingLog
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_kit import PUBLISHED, START_MS, log_with_events, published, service_over
from test_unit import Nothing

from retrain.policy.settings import RetrainSettings
from streamer.decide import DecideFold
from streamer.errors import InDoubtError
from streamer.runtime.epoch_size import CommitSettings


@pytest.mark.parametrize("seed", range(3))
def test_an_uninterrupted_run_publishes_alerts_incidents_requests_and_dead_letters(seed):
    """Each kind of output comes, once each: ids never repeat."""
    log = log_with_events(seed)
    service_over(log).run(lambda: False)
    found = published(log)
    assert all(found.values())
    for topic in ("driftline.alerts", "driftline.retrain-requests"):
        assert max(Counter(value for _, value, _ in found[topic]).values()) == 1
    models = {json.loads(value)["model_id"] for _, value, _ in found["driftline.retrain-requests"]}
    assert models == {"m1", "m3"}


CRASHES = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(AfterFailure)), max_size=5)


@settings(max_examples=40)
@given(st.integers(0, 3), CRASHES)
def test_crashes_repeat_records_at_worst_and_change_or_lose_none(seed, crashes):
    """Killed at any commit, with any part of it kept, and started again, it publishes the same set of records."""
    golden = log_with_events(seed)
    service_over(golden).run(lambda: False)
    log = log_with_events(seed)
    for turns, kept in crashes:
        service, log = crash(log, turns, kept), log.reopen()
        assert service is not None
    service_over(log).run(lambda: False)
    expected, found = published(golden), published(log)
    for topic in PUBLISHED:
        assert set(found[topic]) == set(expected[topic])
    if not crashes:
        assert found == expected


def crash(log, turns, kept):
    """Let a service turn so often, then fail its next commit half way."""
    service = service_over(log)
    left = [turns]

    def stopped():
        left[0] -= 1
        if left[0] == 0:
            log.doubt_next_commit(kept)
        return left[0] < -20

    with suppress(InDoubtError):
        service.run(stopped)
    return service


def test_a_crash_that_keeps_the_outputs_repeats_them():
    """The property above can fail to mean anything unless crashes really repeat records: this one does."""
    golden, log = log_with_events(1), log_with_events(1)
    service_over(golden).run(lambda: False)
    for turns in range(1, 8):
        crash(log, turns, AfterFailure.OUTPUTS)
        log = log.reopen()
    service_over(log).run(lambda: False)
    assert len(published(log)["predictions-dlt"]) > len(published(golden)["predictions-dlt"])


@settings(max_examples=10)
@given(st.integers(1, 200), st.integers(10, 1000))
def test_one_topic_gives_the_same_outputs_however_commits_cut_it(poll_records, records_max):
    """With predictions alone, polls and commits of any size publish the same bytes in the same order."""
    found = []
    for size, limit in ((50, 100), (poll_records, records_max)):
        log = log_with_events(2, partitions=1)
        log.store.rows.pop(("labels", 0))
        log = CrashingLog(log.subscribed, log.store, size)
        service_over(log, records_max=limit).run(lambda: False)
        found.append(published(log))
    assert found[0] == found[1]


def test_units_commit_in_the_order_of_their_names():
    """Whichever partition gave its records first."""
    log = CrashingLog(["predictions"])
    event = json.dumps({"model_id": "m", "event_time": START_MS, "prediction": 1.0}).encode()
    service = service_over(log)
    for partition in (2, 0, 1):
        log.store.append("predictions", None, event, partition=partition)
        service.turn()
    reported = []
    log.commit = lambda outputs, epochs: reported.extend(e.unit for e in epochs) or epochs  # noqa: ARG005
    for partition in range(3):
        log.store.append("predictions", None, event, partition=partition)
    service.turn()
    assert reported == ["detect-0", "detect-1", "detect-2"]


def test_a_unit_that_comes_back_is_read_again_before_it_is_folded():
    """Another process had it meanwhile, and other units of the new assignment are taken over first."""
    event = json.dumps({"model_id": "m", "event_time": START_MS, "prediction": 1.0}).encode()
    log = CrashingLog(["predictions"])
    ours = service_over(log)
    log.store.append("predictions", None, event)
    ours.turn()
    other = service_over(log.reopen())
    for _ in range(3):  # the first turn takes over
        other.turn()
        log.store.append("predictions", None, event)
    log.assignment = iter([["decide", "detect-0"], *[None] * 9]).__next__
    for _ in range(3):
        ours.turn()
    log.store.append("predictions", None, event)
    ours.turn()
    assert [epoch.ends["predictions"] for epoch in log.store.epochs["detect-0"]] == [1, 2, 3, 4, 5]


def test_an_epoch_names_the_ends_of_all_topics_seen():
    """Also of those that had nothing new."""
    log = log_with_events(0, events=10, partitions=1)
    service = service_over(log)
    service.turn()
    log.store.append("predictions", None, b"{}")
    service.turn()
    first, second = log.store.epochs["detect-0"]
    assert second.ends == first.ends | {"predictions": first.ends["predictions"] + 1}
    assert set(first.ends) == {"predictions", "labels"}


def test_an_epoch_that_comes_out_differently_is_told(caplog):
    """Folded again under other settings, an epoch may give other outputs: the log says so, and the service goes on."""
    log = log_with_events(1)
    service_over(log).run(lambda: False)
    service_over(log.reopen()).run(lambda: False)
    assert caplog.messages == []
    again = service_over(log.reopen())
    again._recovery.folds.fresh = lambda unit, _: DecideFold(RetrainSettings()) if unit == "decide" else Nothing()
    again.run(lambda: False)
    assert any(message.endswith("of detect-1 gives other outputs than were published") for message in caplog.messages)


@pytest.mark.parametrize(
    "wrong", [{"interval_s": -1}, {"interval_s": math.nan}, {"output_s": -1}, {"records_max": 0}, {"deadline_s": 0}]
)
def test_commits_that_cannot_be_are_refused(wrong):
    """A setting out of its range is reported by name."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CommitSettings(**wrong)


def test_an_epoch_ends_when_its_time_has_come():
    """Between commits the loop only gathers; the interval of the clock ends an epoch."""
    log = log_with_events(0)
    service = service_over(log, interval_s=10)
    service.turn()
    assert log.store.epochs == {}
    service._clock.advance(11)
    service.turn()
    assert {unit: [e.number for e in epochs] for unit, epochs in log.store.epochs.items()} == {
        "detect-0": [1],
        "detect-1": [1],
    }


def test_outputs_are_committed_before_the_interval_ends_and_what_gives_none_waits_for_it():
    """As soon as no record waits in the log. The epoch without outputs grows until it is due, or until it has some."""
    log = CrashingLog(["predictions"])
    service = service_over(log, interval_s=10, output_s=0.1)
    event = json.dumps({"model_id": "m", "event_time": START_MS, "prediction": 1.0}).encode()

    def turn(value, seconds):
        log.store.append("predictions", None, value)
        service._clock.advance(seconds)
        service.turn()
        return [(e.ends["predictions"], e.outputs) for e in log.store.epochs.get("detect-0", ())]

    assert turn(event, 11) == [(1, 0)]  # the first epoch of a process stands alone
    assert turn(event, 1) == turn(event, 1) == [(1, 0)]
    assert turn(b"{broken", 1) == [(1, 0), (4, 1)]
    assert turn(b"{broken", 0.05) == [(1, 0), (4, 1)]
    assert turn(event, 0.05) == [(1, 0), (4, 1), (6, 1)]
    assert turn(event, 1) == [(1, 0), (4, 1), (6, 1)]
    assert turn(event, 8) == [(1, 0), (4, 1), (6, 1), (8, 0)]
    assert turn(event, 1) == [(1, 0), (4, 1), (6, 1), (8, 0)]
    service.run(lambda: True)
    assert [e.ends["predictions"] for e in log.store.epochs["detect-0"]] == [1, 4, 6, 8, 9]


def test_no_epoch_ends_early_while_records_wait_in_the_log():
    """Small epochs cost time, and a worker that catches up has none."""
    log = log_with_events(0)
    service = service_over(log, interval_s=10)
    for _ in range(3):
        service._clock.advance(1)
        service.turn()
        assert log.lagging()
    assert log.store.epochs == {}


PACES = st.lists(st.tuples(st.integers(0, 60), st.sampled_from([0.0, 0.03, 0.06, 0.5])), min_size=10, max_size=30)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 3), PACES, st.booleans())
def test_epochs_that_grew_are_replayed_to_the_same_outputs_and_state(seed, paces, has_labels):
    """Whatever the pace of records and turns."""
    source = log_with_events(seed)
    log = CrashingLog(source.subscribed)
    service = service_over(log, interval_s=1)
    topics = ("predictions", "labels")[: 1 + has_labels]
    rows = {
        place: [(offset, START_MS + offset, *rest) for offset, _, *rest in found]
        for place, found in sorted(source.store.rows.items())
        if place[0] in topics
    }
    for count, seconds in paces:
        for place, waiting in rows.items():
            log.store.rows.setdefault(place, []).extend(waiting[:count])
            del waiting[:count]
        service._clock.advance(seconds)
        service.turn()
    log.end_input()
    service.run(lambda: service._clock.advance(1))  # which is None: until nothing is left
    again = service_over(log.reopen())
    again.run(lambda: False)
    for name, unit in service.units.items():
        assert again.units[name].fold.tally["diverged",] == 0
        assert json_state(again.units[name].fold) == json_state(unit.fold)


def json_state(fold):
    snapshot = fold.dump()
    return msgspec.json.encode(snapshot.meta), {name: array.tobytes() for name, array in snapshot.arrays.items()}
