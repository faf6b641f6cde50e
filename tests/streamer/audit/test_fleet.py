"""What fires now, which incidents are open: from the published records alone."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from retrain.messages.alert import AlertKind, AlertState, Resolution
from retrain.messages.control import Control
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from streamer.audit import fleet as audit_fleet
from streamer.audit.fleet import Fleet, Wanted
from streamer.audit.source import kinds_of
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.testing.alerts import firing, moment, place, ready, said

TOPICS = OutputTopics()
NOW = Wanted()


def published(*story, **retrain):
    """The records about incidents, requests and decisions, and those of alerts."""
    fold, records, alerts = DecideFold(RetrainSettings(**retrain)), [], []
    for i, record in enumerate(story):
        value = msgspec.json.encode(record)
        topic = TOPICS.control if isinstance(record, Control) else TOPICS.alerts
        if topic == TOPICS.alerts:
            alerts.append(("alert", value))
        for output in fold.step([Records.build(topic, 0, [(i, -1, None, value, ())])]):
            records.append((kinds_of(TOPICS)[output.topic], output.value))
    return records, alerts


def listed(*story, wanted=NOW, **retrain):
    """Id without its model's name, state and decision of each alert that is listed."""
    records, alerts = published(*story, **retrain)
    return [(one.alert.alert_id, one.decision) for one in Fleet(TOPICS, records).alerts(alerts, wanted)]


def resolved(fired, time, *args, **changes):
    """The end of an alert that fired at `fired`."""
    ended = {"state": AlertState.RESOLVED, "resolved_at": place(time), "resolution": Resolution.BACK_TO_NORMAL}
    return firing(fired, *args, **ended, **changes)


def test_an_alert_is_listed_once_with_its_newest_decision():
    """Firing and ready are states of one alert."""
    assert listed(firing("1h")) == [("bus-099:7:headway_s:1h", "waiting_for_data")]
    assert listed(firing("1h"), ready("2h", "1h")) == [("bus-099:7:headway_s:1h", "request_made")]


def test_a_weaker_alert_of_a_column_is_listed_with_its_own_decision():
    """The incident shows the stronger one only."""
    assert listed(firing("1h"), firing("2h", effect=0.1))[1] == ("bus-099:7:headway_s:2h", "effect_too_small")


@pytest.mark.parametrize(
    "end",
    [
        [resolved("1h", "5h")],
        [firing("9d", column="dwell_s")],  # the incident has become quiet
        [firing("5h", column="dwell_s", version="8")],
    ],
)
def test_an_alert_that_has_ended_is_listed_on_request_only(end):
    """It has recovered, its incident has closed, or a newer version serves."""
    story = [firing("1h"), *end]
    assert "bus-099:7:headway_s:1h" not in [name for name, _ in listed(*story)]
    assert "bus-099:7:headway_s:1h" in [name for name, _ in listed(*story, wanted=Wanted(ended=True))]


def test_a_promotion_ends_the_alerts_before_it():
    """Also those that fired before it but are published later, and so join no incident."""
    records, _ = published(firing("1h"), ready("2h", "1h"))
    request_id = next(msgspec.json.decode(value)["request_id"] for kind, value in records if kind == "request")
    late = firing("2h 30m", column="dwell_s")
    story = [said("trained", request_id, "3h"), said("promote", request_id, "4h"), late]
    assert listed(firing("1h"), ready("2h", "1h"), *story) == []


def test_silenced_and_held_alerts_are_named_so():
    """They fire, but join no incident."""
    silence = said("silence", "s-1", "1h", matcher=Matcher("bus-*"), until=moment("9h"))
    assert listed(silence, firing("2h")) == [("bus-099:7:headway_s:2h", "silenced")]
    storm = listed(*(firing("1h", name) for name in "abcd"), storm_models_min=3)
    assert dict(storm)["d:7:headway_s:1h"] == "held_by_storm"
    assert len(storm) == 4


def test_an_alert_that_the_service_has_not_read_is_not_decided():
    """Its records come later."""
    _, alerts = published(firing("1h"))
    (one,) = Fleet(TOPICS, []).alerts(alerts, Wanted())
    assert (one.decision, one.incident_id, one.is_active) == ("not_decided", "", True)


def test_filters_select_by_pattern_kind_and_time():
    """A duration counts back from the newest alert, so a replay of last year works as well."""
    story = [
        firing("1h", "bus-1"),
        firing("2h", "bus-2", "dwell_s", kind=AlertKind.MISSING, detector="rate", effect_unit="rate"),
        firing("9h", "tram-1"),
    ]

    def names(**wanted):
        return [name.split(":")[0] for name, _ in listed(*story, wanted=Wanted(**wanted))]

    assert names(model="bus-*") == ["bus-1", "bus-2"]
    assert names(column="dwell_s") == names(kind="missing") == ["bus-2"]
    assert names(since=timedelta(hours=8)) == names(since=moment("1h")) == ["bus-1", "bus-2", "tram-1"]
    assert names(since=timedelta(hours=7)) == names(since=moment("1h 1s")) == ["bus-2", "tram-1"]


def test_open_incidents_are_listed_in_order_of_their_opening():
    """Closed ones on request; a filter by column looks at all that moved."""
    records, _ = published(firing("1h", "bus-2"), firing("2h", "bus-1"), firing("3h", "bus-1", "dwell_s"))
    fleet = Fleet(TOPICS, records)
    assert [one.model_id for one in fleet.incidents(Wanted())] == ["bus-2", "bus-1"]
    assert [one.model_id for one in fleet.incidents(Wanted(column="dwell_s"))] == ["bus-1"]
    assert [one.model_id for one in fleet.incidents(Wanted(since=timedelta(minutes=90)))] == ["bus-1"]
    closed, _ = published(firing("1h"), resolved("1h", "5h"))
    assert Fleet(TOPICS, closed).incidents(Wanted()) == []
    (one,) = Fleet(TOPICS, closed).incidents(Wanted(ended=True))
    assert one.reason == "back_to_normal"


def test_what_is_kept_is_bounded(monkeypatch):
    """Of too many alerts the newest are listed, and the fleet says so; ended ones take no room."""
    monkeypatch.setattr(audit_fleet, "ALERTS_MAX", 2)
    story = [firing("1h", name) for name in ("bus-1", "bus-2", "bus-3")]
    records, alerts = published(*story)
    fleet = Fleet(TOPICS, records)
    assert [one.alert.model_id for one in fleet.alerts(alerts, Wanted())] == ["bus-2", "bus-3"]
    assert fleet.is_cut
    monkeypatch.setattr(audit_fleet, "ALERTS_MAX", 1)
    records, alerts = published(*story, *(resolved("1h", "2h", name) for name in ("bus-1", "bus-2")))
    fleet = Fleet(TOPICS, records)
    assert [one.alert.model_id for one in fleet.alerts(alerts, Wanted())] == ["bus-3"]
    assert not fleet.is_cut
