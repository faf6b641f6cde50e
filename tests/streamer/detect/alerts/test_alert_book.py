"""From alarms to alerts."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.series.offsets import Offsets
from retrain.messages.alert import AlertState
from streamer.detect.alarm import Alarm, Stretch
from streamer.detect.alerts.alert_book import AlertBook

FACTS = {
    "model_version": "1", "column": "x", "detector": "d", "statistic": 1.0, "threshold": 1.0, "effect": 1.0,
    "effect_unit": "sd", "before": 0.0, "after": 1.0, "n_reference": 5, "n_current": 5,
}  # fmt: skip


class Timeline:
    """Events of subjects in order, cut anywhere; alarms at given events, their onsets so many events ago."""

    def __init__(self, subjects, enough=10):
        self.subjects = np.array(subjects, np.int64)
        self.marks = Offsets()
        self.book = AlertBook(self.marks, enough)

    def fold(self, start, end, alarms=()):
        """`alarms`: (event, row, ago)."""
        subject = self.subjects[start:end]
        number = self.marks.count(subject)
        offset = np.arange(start, end)
        topic, rows = np.zeros(len(offset), np.int64), np.zeros(len(offset), np.int32)
        stretch = Stretch(["t"], topic, 0, offset, rows, offset * 1000, subject, number)
        made = []
        for event, row, ago in sorted(alarms):
            if start <= event < end and subject[event - start] >= 0:
                who, life = int(subject[event - start]), int(number[event - start])
                made.append(
                    Alarm(
                        event - start,
                        (row, "d"),
                        who,
                        "t",
                        max(life - ago, 0),
                        FACTS | {"model_id": f"m{who}", "column": f"x{row}"},
                    )
                )
        return [alert for _, alert in self.book.update(stretch, made)]


def summaries(alerts):
    return [(a.state.value, a.at.offset, a.onset.offset, a.ready_at.offset if a.ready_at else None) for a in alerts]


def test_ready_follows_at_the_event_that_makes_enough():
    """An alert with its onset 4 events ago, of which 10 are wanted, is ready with the sixth event from now on."""
    timeline = Timeline([0] * 100)
    assert summaries(timeline.fold(0, 51, [(50, 0, 4)])) == [("firing", 50, 46, None)]
    assert summaries(timeline.fold(51, 56)) == []
    assert summaries(timeline.fold(56, 100)) == [("ready", 50, 46, 56)]
    assert timeline.book.dump()["waiting"] == []
    assert len(timeline.book.pending._of) == 0


def test_a_firing_alert_holds_the_events_that_it_has_and_needs():
    """The events of its subject since the onset, and the number with which it becomes ready; the same in each state."""
    timeline = Timeline([0, 1] * 50)
    alerts = [*timeline.fold(0, 51, [(50, 0, 4)]), *timeline.fold(51, 100)]
    assert [(a.events_after_onset, a.min_events_after_onset) for a in alerts] == [(4, 10), (4, 10)]
    assert (alerts[1].ready_at.offset - alerts[0].onset.offset) // 2 == 10
    (fired, ready) = Timeline([0] * 100).fold(0, 51, [(50, 0, 20)])
    assert (fired.events_after_onset, ready.events_after_onset) == (20, 20)


def test_an_old_enough_onset_is_ready_at_once():
    """With enough events behind the onset already, firing and ready come together."""
    timeline = Timeline([0] * 100)
    assert summaries(timeline.fold(0, 100, [(50, 0, 20)])) == [("firing", 50, 30, None), ("ready", 50, 30, 50)]


def test_an_alarm_at_the_event_that_makes_ready_is_a_new_alert():
    """What was waited for has come, so what is seen now is another drift."""
    timeline = Timeline([0] * 100)
    assert summaries(timeline.fold(0, 60, [(50, 0, 4), (56, 0, 1)])) == [
        ("firing", 50, 46, None),
        ("ready", 50, 46, 56),
        ("firing", 56, 55, None),
    ]


@pytest.mark.parametrize("cut", [0, 17, 18])
def test_an_alarm_that_a_label_raised_waits_for_its_subjects_events(cut):
    """The alarm comes with a label, an event of no subject; ready is the subject's newest event or one to come."""
    by_onset = {}
    for onset in (7, 8):  # events 0 to 17 are the subject's, and 18 is the label
        timeline = Timeline([0] * 18 + [-1] + [0] * 9)
        timeline.fold(0, cut)
        numbers = timeline.marks.count(timeline.subjects[cut:])
        offset = np.arange(cut, 28)
        topic, rows = np.zeros(28 - cut, int), np.zeros(28 - cut, np.int32)
        stretch = Stretch(["t"], topic, 0, offset, rows, offset, timeline.subjects[cut:], numbers)
        alarm = Alarm(18 - cut, (0, "d"), 0, "t", onset, FACTS | {"model_id": "m"})
        by_onset[onset] = summaries([alert for _, alert in timeline.book.update(stretch, [alarm])])
    assert by_onset[7] == [("firing", 18, 7, None), ("ready", 18, 7, 17)]
    assert by_onset[8] == [("firing", 18, 8, None), ("ready", 18, 8, 19)]


def test_alarms_while_an_alert_waits_are_absorbed():
    """One drift, one alert; the alarm after `ready` is a new alert with an id of its own."""
    timeline = Timeline([0] * 100)
    alerts = timeline.fold(0, 100, [(50, 0, 4), (52, 0, 4), (55, 0, 4), (60, 0, 1)])
    assert summaries(alerts) == [
        ("firing", 50, 46, None),
        ("ready", 50, 46, 56),
        ("firing", 60, 59, None),
        ("ready", 60, 59, 69),
    ]
    assert alerts[0].alert_id == alerts[1].alert_id != alerts[2].alert_id


def test_only_the_subjects_own_events_count():
    """Another model's events, and labels, bring no alert closer to ready."""
    timeline = Timeline([0, 1, -1] * 100)
    assert summaries(timeline.fold(0, 300, [(150, 0, 0)])) == [("firing", 150, 150, None), ("ready", 150, 150, 180)]


def test_alerts_that_wait_cost_others_nothing():
    """Five thousand alerts that wait for silent models add no second to two thousand events of another one."""
    timeline = Timeline([*range(5000)] + [0] * 2000)
    timeline.fold(0, 5000, [(event, event, 0) for event in range(1, 5000)])
    started = time.perf_counter()
    for start in range(5000, 7000, 10):
        assert timeline.fold(start, start + 10) == []
    assert time.perf_counter() - started < 1


def test_what_waits_is_dumped_alike_however_events_were_cut():
    """A subject whose one alert is ready before its next one fires stands where it stands without a cut."""
    dumps = []
    for cut in (0, 21):
        timeline = Timeline([0, 1] * 20)
        for start, end in ((0, cut), (cut, 30)):
            timeline.fold(start, end, [(0, 0, 0), (15, 1, 0), (22, 4, 0)])
        dumps.append(timeline.book.dump())
    assert [row for _, row, *_ in dumps[0]["waiting"]] == [4, 1]
    assert dumps[0] == dumps[1]


ALARMS = st.lists(
    st.tuples(st.integers(0, 199), st.integers(0, 3), st.integers(0, 30)), max_size=12, unique_by=lambda a: a[:2]
)


@given(st.integers(0, 2**32), ALARMS, st.lists(st.integers(0, 200), max_size=4))
def test_alerts_never_depend_on_how_events_are_cut(seed, alarms, cuts):
    """Any cut, with the book dumped and loaded between the parts, gives the same alerts in the same order."""
    subjects = np.random.default_rng(seed).integers(-1, 3, 200).tolist()
    alarms = [(event, 4 * row + max(subjects[event], 0), ago) for event, row, ago in alarms]  # a row has one subject
    uncut = Timeline(subjects)
    whole = uncut.fold(0, 200, alarms)
    cut, parts = Timeline(subjects), []
    for start, end in pairwise([0, *sorted(cuts), 200]):
        parts += cut.fold(start, end, alarms)
        dumped, cut.book = cut.book.dump(), AlertBook(cut.marks, 10)
        cut.book.load(dumped)
    assert parts == whole
    assert cut.book.dump() == uncut.book.dump()
    firing = [a.alert_id for a in whole if a.state is AlertState.FIRING]
    assert len(set(firing)) == len(firing)
