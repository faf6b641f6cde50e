"""The decide fold: records of the alerts topic in, records of three topics out."""

from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.messages.control import Control
from retrain.policy.settings import RetrainSettings
from streamer.codecs.base import Reason
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot
from streamer.testing.alerts import firing, random_alerts, ready, said

SETTINGS = RetrainSettings(cooldown_s=0, expires_after_s=5 * 86_400)
WRITTEN_MS = 1_798_761_600_000  # 2027-01-01: when the first alert was written, behind all event times
STORY = [firing("1h"), ready("2h", fired="1h"), firing("3h", column="dwell_s")]


def records_of(values, start=0, topic="driftline.alerts"):
    """These values as a stretch of the alerts topic."""
    rows = [
        (start + i, WRITTEN_MS + start + i, b"bus-099", value, (("trace", b"x"),)) for i, value in enumerate(values)
    ]
    return Records.build(topic, 0, rows)


def encoded(alerts):
    """The alerts as the detect fold writes them."""
    return [msgspec.json.encode(alert) for alert in alerts]


def by_topic(outputs):
    """Topic -> its outputs."""
    topics = defaultdict(list)
    for output in outputs:
        topics[output.topic].append(output)
    return topics


def test_alerts_become_incidents_and_requests(conforms):
    """Each change of an incident is a record under its id, and the request one under its model's."""
    topics = by_topic(DecideFold(SETTINGS).step([records_of(encoded(STORY))]))
    assert set(topics) == {"driftline.incidents", "driftline.retrain-requests"}
    incidents = [conforms("incident.v1", output.value) for output in topics["driftline.incidents"]]
    assert [output.key.decode() for output in topics["driftline.incidents"]] == [incidents[0]["incident_id"]] * 3
    assert [incident["alerts"] for incident in incidents] == [1, 1, 2]
    (output,) = topics["driftline.retrain-requests"]
    request = conforms("retrain-request.v1", output.value)
    assert output.key == b"bus-099"
    assert request["requested_at"] == "2026-01-01T02:00:00Z"


def test_a_request_is_a_cloud_event():
    """Its headers are the attributes of a CloudEvent in the Kafka binding's binary mode."""
    topics = by_topic(DecideFold(SETTINGS).step([records_of(encoded([ready("2h", "1h", "bus-ü")]))]))
    (output,) = topics["driftline.retrain-requests"]
    request = msgspec.json.decode(output.value)
    assert {name: value.decode() for name, value in output.headers} == {
        "ce_specversion": "1.0",
        "ce_id": request["request_id"],
        "ce_source": "/driftline/decide",
        "ce_type": "io.driftline.retrain.requested.v1",
        "ce_subject": "bus-ü",
        "ce_time": "2026-01-01T02:00:00Z",
        "ce_partitionkey": output.key.decode(),
        "ce_dataschema": "urn:driftline:schema:retrain-request.v1",
        "content-type": "application/json",
    }


def test_each_change_of_an_incident_is_a_cloud_event():
    """Its id tells changes of one incident apart, and its key is the incident."""
    outputs = by_topic(DecideFold(SETTINGS).step([records_of(encoded(STORY))]))["driftline.incidents"]
    headers = [{name: value.decode() for name, value in output.headers} for output in outputs]
    incidents = [msgspec.json.decode(output.value) for output in outputs]
    assert len({one.pop("ce_id").rpartition("-")[0] for one in headers}) == 1
    assert len({dict(output.headers)["ce_id"] for output in outputs}) == len(outputs)
    assert headers[0] == {
        "ce_specversion": "1.0",
        "ce_source": "/driftline/decide",
        "ce_type": "io.driftline.incident.open.v1",
        "ce_subject": "bus-099",
        "ce_time": incidents[0]["last_alert_at"],
        "ce_partitionkey": incidents[0]["incident_id"],
        "ce_dataschema": "urn:driftline:schema:incident.v1",
        "content-type": "application/json",
    }
    assert {one["schema_version"] for one in incidents} == {1}


def test_a_decision_is_a_cloud_event():
    """Its subject is the model, where that is known."""
    fold = DecideFold(SETTINGS)
    fold.step([records_of(encoded([ready("2h", "1h")]))])
    command = msgspec.json.encode(said("approve", "no-such-request", "3h"))
    ((output,),) = by_topic(fold.step([records_of([command], topic="driftline.control")])).values()
    headers = {name: value.decode() for name, value in output.headers}
    assert headers.pop("ce_id").startswith("no-such-request-")
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "/driftline/decide",
        "ce_type": "io.driftline.decision.v1",
        "ce_time": "2026-01-01T03:00:00Z",
        "ce_partitionkey": "no-such-request",
        "ce_dataschema": "urn:driftline:schema:decision.v1",
        "content-type": "application/json",
    }
    assert msgspec.json.decode(output.value)["schema_version"] == 1


@given(st.text(min_size=1))
def test_any_name_of_a_model_makes_a_valid_request(conforms, name):
    """Whatever producers call a model, the request meets its schema and carries the name unharmed."""
    alert = ready("2h", "1h", f"model {name}")
    topics = by_topic(DecideFold(SETTINGS).step([records_of(encoded([alert]))]))
    (output,) = topics["driftline.retrain-requests"]
    assert conforms("retrain-request.v1", output.value)["model_id"] == output.key.decode() == f"model {name}"


@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_whatever_is_published_meets_its_schema(conforms, random, n):
    """Alerts as they come, incidents and requests as they go: all are as the committed schemas say."""
    values = encoded(random_alerts(random, n))
    for value in values:
        conforms("alert.v1", value)
    topics = by_topic(DecideFold(SETTINGS).step([records_of(values)]))
    for output in topics["driftline.incidents"]:
        conforms("incident.v1", output.value)
    for output in topics["driftline.retrain-requests"]:
        conforms("retrain-request.v1", output.value)
    for output in topics["driftline.decisions"]:
        assert conforms("decision.v1", output.value)["request_id"] == output.key.decode()
    assert set(topics) <= {"driftline.incidents", "driftline.retrain-requests", "driftline.decisions"}


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.lists(st.integers(0, 40), max_size=4))
def test_cuts_and_restarts_do_not_show(random, n, cuts):
    """Folding in pieces, each by a fold made from the last one's dump, gives the bytes of folding in one go."""
    values = [*encoded(random_alerts(random, n)), b"no alert"]
    whole = DecideFold(SETTINGS)
    expected = whole.step([records_of(values)])

    outputs, fold = [], DecideFold(SETTINGS)
    bounds = [0, *sorted(min(cut, n) for cut in cuts), len(values)]
    for start, end in pairwise(bounds):
        outputs += fold.step([records_of(values[start:end], start)])
        resumed = DecideFold(SETTINGS)
        resumed.load(Snapshot.from_bytes(fold.dump().to_bytes()))
        assert resumed.dump().to_bytes() == fold.dump().to_bytes()
        fold = resumed
    assert outputs == expected
    assert fold.dump().to_bytes() == whole.dump().to_bytes()
    assert fold.newest_event_time_ms == whole.newest_event_time_ms


def words(*said_of, start=0, timestamps=None):
    """These control records as a stretch of their topic."""
    rows = [
        (start + i, timestamps[i] if timestamps else -1, b"", value, ())
        for i, value in enumerate(msgspec.json.encode(word) if isinstance(word, Control) else word for word in said_of)
    ]
    return Records.build("driftline.control", 0, rows)


def the_request():
    """The id of the request that the story makes."""
    (output,) = by_topic(DecideFold(SETTINGS).step([records_of(encoded(STORY))]))["driftline.retrain-requests"]
    return msgspec.json.decode(output.value)["request_id"]


def test_what_is_said_becomes_decisions(conforms):
    """Each control record is answered under the id of its request, and a promotion closes the incident."""
    fold, request_id = DecideFold(SETTINGS), the_request()
    fold.step([records_of(encoded(STORY))])
    trained = said("trained", request_id, "4h", "trainer", challenger={"mae": 48.5})
    topics = by_topic(fold.step([words(trained, said("promote", request_id, "5h"), said("approve", "?", "6h"))]))
    decisions = [conforms("decision.v1", output.value) for output in topics["driftline.decisions"]]
    assert [output.key.decode() for output in topics["driftline.decisions"]] == [request_id, request_id, "?"]
    assert [d["state"] for d in decisions] == ["trained", "watching", None]
    assert [d["reason"] for d in decisions] == ["trained", "promoted", "unknown_request"]
    assert decisions[0]["challenger"] == {"mae": 48.5}
    (incident,) = [conforms("incident.v1", output.value) for output in topics["driftline.incidents"]]
    assert (incident["state"], incident["reason"]) == ("closed", "promoted")
    assert fold.tally["outcomes", "promoted"] == 2


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("late_ms", "reason"), [(0, "unknown_request"), (1, "training"), (2, "training")])
def test_both_topics_are_folded_in_order_of_time(swapped, late_ms, reason):
    """A word is folded behind the alerts written before it or with it, however stretches are handed over."""
    alerts = records_of(encoded(STORY))  # written 0, 1 and 2 ms late; the second makes the request
    word = words(
        said("started", the_request(), "0s", at=datetime(1970, 1, 1, tzinfo=UTC)), timestamps=[WRITTEN_MS + late_ms]
    )
    outputs = DecideFold(SETTINGS).step([word, alerts] if swapped else [alerts, word])
    (answer,) = by_topic(outputs)["driftline.decisions"]
    assert msgspec.json.decode(answer.value)["reason"] == reason


@pytest.mark.parametrize(
    "meta", [{}, {"decide": []}, {"decide": {"newest_event_time_ms": 1, "newest_mark_ms": 1, "engine": {"models": 2}}}]
)
def test_a_state_of_something_else_is_refused(meta):
    """What is no dumped state raises an error for the user, and the fold stays as it was."""
    fold = DecideFold(SETTINGS)
    with pytest.raises(UsageError, match="not a state"):
        fold.load(Snapshot(meta, {}))
    assert fold.dump().to_bytes() == DecideFold(SETTINGS).dump().to_bytes()


GOOD = encoded([firing("1h")])[0]

UNREADABLE = [
    (None, Reason.NULL_VALUE),
    (b"", Reason.NOT_JSON),
    (b"{", Reason.NOT_JSON),
    (b"\xff", Reason.NOT_JSON),
    (GOOD.replace(b"adwin", b"\xff"), Reason.NOT_UTF8),
    (GOOD.replace(b"adwin", rb"\ud800"), Reason.NOT_JSON),
    (b"[]", Reason.NOT_AN_OBJECT),
    (b'"text"', Reason.NOT_AN_OBJECT),
    (b"{}", Reason.WRONG_TYPE),
    (b'{"a":' * 9000, Reason.TOO_DEEP),
    (b'{"a":' * 401, Reason.TOO_DEEP),
    (b'{"a":' * 400, Reason.NOT_JSON),
    (GOOD + b" " * 65_536, Reason.TOO_LARGE),
    (GOOD.replace(b'"bus-099"', b'""'), Reason.MISSING_MODEL),
    (GOOD.replace(b'"firing"', b'"resolved"'), Reason.WRONG_TYPE),
    (GOOD.replace(b'"firing"', b'"ready"'), Reason.WRONG_TYPE),
    (GOOD.replace(b'"effect":1.0', b'"effect":-1.0'), Reason.WRONG_TYPE),
    (GOOD.replace(b'"effect":1.0', b'"effect":1e999'), Reason.WRONG_TYPE),
    (GOOD.replace(b'"effect":1.0', b'"effect":NaN'), Reason.NOT_JSON),
    (GOOD.replace(b'"onset":{', b'"onset":[{'), Reason.WRONG_TYPE),
    (GOOD.replace(b'"offset":3600', b'"offset":-1'), Reason.WRONG_TYPE),
    (GOOD.replace(b'"offset":3600', b'"offset":1' + b"0" * 30), Reason.WRONG_TYPE),
    (GOOD.replace(b'"offset":3600', b'"offset":1' + b"0" * 6000), Reason.WRONG_TYPE),
    (GOOD.replace(b'"partition":0', b'"partition":-1'), Reason.WRONG_TYPE),
    (GOOD.replace(b"01:00:00Z", b"01:00:00"), Reason.BAD_EVENT_TIME),
    (GOOD.replace(b"01:00:00Z", b"01:00:00+02:00"), Reason.BAD_EVENT_TIME),
    (GOOD.replace(b"01:00:00Z", b"25:00:00Z"), Reason.WRONG_TYPE),
]


@pytest.mark.parametrize(("value", "reason"), UNREADABLE)
def test_what_is_no_alert_is_kept_with_a_reason(value, reason):
    """An unreadable record goes to the dead letters as it is, and the alerts around it are folded as if it were not."""
    assert value != GOOD
    fold, other = DecideFold(SETTINGS), DecideFold(SETTINGS)
    outputs = fold.step([records_of([GOOD, value, GOOD])])
    (letter,) = (output for output in outputs if output.topic == "driftline.alerts-dlt")
    assert (letter.key, letter.value, letter.headers[0]) == (b"bus-099", value, ("trace", b"x"))
    assert dict(letter.headers)["__driftline.errors.reason"].decode() == reason
    assert fold.tally["dead_letters", "driftline.alerts", reason] == 1
    assert [output for output in outputs if output is not letter] == other.step([records_of([GOOD, GOOD])])
    assert fold.dump().to_bytes() == other.dump().to_bytes()


def test_unknown_fields_are_ignored():
    """A newer writer may say more about an alert than this reader knows."""
    wordy = GOOD.replace(b'{"alert_id"', b'{"mood":["blue"],"alert_id"', 1)
    assert DecideFold(SETTINGS).step([records_of([wordy])]) == DecideFold(SETTINGS).step([records_of([GOOD])])


def test_every_decision_is_counted():
    """The tally says how often each outcome came, so that metrics can answer why no request was sent."""
    fold = DecideFold(SETTINGS)
    fold.step([records_of(encoded([*STORY, STORY[0]]))])
    assert fold.tally == {
        ("records", "driftline.alerts"): 4,
        ("outcomes", "incident_opened"): 1,
        ("outcomes", "absorbed"): 2,
        ("outcomes", "waiting_for_data"): 2,
        ("outcomes", "request_made"): 1,
        ("outcomes", "duplicate"): 1,
    }
    assert fold.models == 1
    assert fold.newest_event_time_ms == 1_767_225_600_000 + 3 * 3_600_000


def test_topics_are_the_users_to_name():
    """Outputs go to the topics that were named, dead letters beside the topic they come from."""
    topics = OutputTopics(alerts="a", incidents="i", requests="r", dead_letter_suffix=".dead")
    fold = DecideFold(SETTINGS, topics)
    outputs = fold.step([records_of([*encoded(STORY), b"?"], topic="a")])
    assert {output.topic for output in outputs} == {"i", "r", "a.dead"}
