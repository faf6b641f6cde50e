"""Who waits for whom: topics of a unit for each other, and fetching for folding."""

import json

import pytest
from crash_kit import CrashingLog
from loop_kit import START_MS, log_with_events, service_over


def test_a_unit_that_is_far_ahead_of_its_script_is_held():
    """While one topic of a recovering unit is behind, the other is not buffered without bound."""
    log = log_with_events(0, partitions=1)
    service_over(log).run(lambda: False)
    log = log.reopen()
    held = []
    hold = log.hold

    def spy(topic, partition, is_held):
        held.append((topic, is_held))
        hold(topic, partition, is_held)

    log.hold = spy
    service = service_over(log, records_max=60)
    service.run(lambda: False)
    assert not service.recovering
    assert all(sum(1 if is_held else -1 for t, is_held in held if t == topic) == 0 for topic, _ in held)


class UnevenLog(CrashingLog):
    """A log of which a poll brings only so many labels."""

    labels_a_poll = 0

    def poll(self, timeout_s=0.0):
        stretches = super().poll(timeout_s)
        for i, records in enumerate(stretches):
            if records.topic == "labels":
                stretches[i] = records.part(0, self.labels_a_poll)
                self._position["labels", 0] = stretches[i].next_offset
        return stretches


def catching_up(labels_a_poll, ahead=lambda _topic, _i: 0):
    """A backlog of predictions an hour apart, each with its label a second later; some are dated ahead, in ms."""
    log = UnevenLog(["predictions", "labels", "driftline.alerts"], poll_records_max=100)
    log.labels_a_poll = labels_a_poll
    for i in range(2000):
        time_ms = START_MS + 3_600_000 * i
        of = {"model_id": "m", "prediction_id": str(i), "event_time": time_ms}
        for topic, written_ms, value in (("predictions", 0, {"prediction": 1.0}), ("labels", 1000, {"label": 2.0})):
            record_ms = time_ms + written_ms + ahead(topic, i)
            log.store.append(topic, None, json.dumps(of | value).encode(), timestamp_ms=record_ms)
    log.end_input()
    return log


@pytest.mark.parametrize("labels_a_poll", [100, 30, 7])
def test_labels_meet_their_predictions_however_fast_their_topics_are_read(labels_a_poll):
    """Catching up with weeks of backlog, a topic that is read faster waits for the one that is read slower."""
    log = catching_up(labels_a_poll)
    service = service_over(log)
    service.run(lambda: False)
    counts = service.units["detect-0"].fold.labels.counts
    assert counts == {"matched": 2000, "unmatched": 0, "early": 0, "expired": 0, "evicted": 0}


@pytest.mark.parametrize("ahead_ms", [3_600_000_000, 3650 * 86_400_000])
@pytest.mark.parametrize("topic", ["predictions", "labels"])
def test_records_dated_ahead_keep_no_label_from_its_prediction(topic, ahead_ms):
    """While a service catches up, one record in ten is dated ahead: all labels but its own meet their predictions."""
    log = catching_up(30, ahead=lambda of, i: ahead_ms * (of == topic and i % 10 == 9))
    service = service_over(log)
    service.run(lambda: False)
    assert service.units["detect-0"].fold.labels.counts["matched"] >= 1800


def test_a_topic_that_gives_nothing_is_waited_for_and_then_left_behind():
    """A partition that can't be read stops its unit for a while, not for ever."""
    log = catching_up(100)
    log.hold("labels", 0, True)
    service = service_over(log)
    service.turn()
    service.turn()
    assert service.units["detect-0"].number == 0
    service._clock.advance(31)
    service.turn()
    assert service.units["detect-0"].number == 1
    log.hold("labels", 0, False)
    service.turn()
    log.hold("labels", 0, True)
    before = service.units["detect-0"].number
    service.turn()
    service.turn()
    assert service.units["detect-0"].number == before  # it is waited for again


def test_a_slow_topic_is_never_held_for_what_fast_ones_have_buffered():
    """With buffers far smaller than the backlog, the topic that all wait for goes on being read."""
    log = catching_up(7)
    service = service_over(log, records_max=150)
    for _ in range(1000):
        service.turn()
    assert service.units["detect-0"].fold.labels.counts["matched"] == 2000
    assert service._held == set()


def test_an_epoch_larger_than_the_buffers_is_folded_again_all_the_same():
    """What the script needs next is read however full the buffers are."""
    log = catching_up(100)
    first = service_over(log, interval_s=10, records_max=10_000)
    for _ in range(50):
        first.turn()
    first._clock.advance(11)
    first.turn()
    assert [e.ends for e in log.store.epochs["detect-0"]] == [{"predictions": 2000, "labels": 2000}]
    again = service_over(log.reopen(), records_max=60)
    for _ in range(100):
        again.turn()
    assert not again.recovering
    assert again.units["detect-0"].ends == first.units["detect-0"].ends


def test_what_gives_nothing_is_left_behind_alone():
    """While one topic can't be read, the others still wait for each other, and no label runs ahead."""
    log = catching_up(7)
    log.subscribed = (*log.subscribed, "broken")
    log.store.append("broken", None, b"{}", timestamp_ms=START_MS)
    log.hold("broken", 0, True)
    service = service_over(log)
    service.turn()
    service._clock.advance(31)
    for _ in range(400):
        service.turn()
    counts = service.units["detect-0"].fold.labels.counts
    assert counts == {"matched": 2000, "unmatched": 0, "early": 0, "expired": 0, "evicted": 0}


def test_all_partitions_together_are_buffered_within_the_bound():
    """With one partition of each unit unreadable, the others are held once their buffers add up to the bound."""
    log = CrashingLog(["predictions", "labels"], poll_records_max=10)
    event = {"model_id": "m", "event_time": START_MS, "prediction": 1.0}
    for partition in range(8):
        log.store.append("labels", None, b"{}", partition=partition)
        log.hold("labels", partition, True)
        for _ in range(100):
            log.store.append("predictions", None, json.dumps(event).encode(), partition=partition)
    service = service_over(log, records_max=200)
    for _ in range(20):
        service.turn()
        assert sum(unit.buffered() for unit in service.units.values()) <= 200 + 8 * 10


def test_full_buffers_of_one_unit_do_not_stop_another():
    """While one unit waits with all the buffers there are, another catches up on its two topics."""
    log = catching_up(7)
    log.store.append("labels", None, b"{}", partition=1)
    log.hold("labels", 1, True)
    for i in range(500):
        log.store.append("predictions", None, b"{}", timestamp_ms=START_MS + i, partition=1)
    service = service_over(log, records_max=100)
    for _ in range(1000):
        service.turn()
    assert service.units["detect-1"].buffered() >= 100
    assert service.units["detect-0"].fold.labels.counts["matched"] == 2000
