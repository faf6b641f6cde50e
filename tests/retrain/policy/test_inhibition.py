"""Inhibition and withdrawal of requests by data faults, as timelines."""

import pytest
from timeline_kit import handle_all, reasons

from retrain.engine.engine import Engine
from retrain.messages.action import PublishDecision, PublishRequest
from retrain.messages.alert import AlertKind
from retrain.messages.request import Approval
from retrain.policy.inhibition import FAULTS
from retrain.policy.settings import RetrainSettings
from streamer.testing.alerts import firing, moment, ready, said

HOUR = {"inhibit_s": 3600.0}
FEW = {"storm_models_min": 3, "storm_window_s": 3600.0}


def requests(actions):
    """The requests among actions."""
    return [action.request for action in actions if isinstance(action, PublishRequest)]


def fault(time, model="bus-099", column="headway_s", kind="missing"):
    """An alert of a fault of the data."""
    return firing(time, model, column, kind=AlertKind(kind), detector="rate", effect=0.4, effect_unit="rate")


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_a_fault_before_its_drift_inhibits_it(kind):
    """No request within the hour; afterwards the column counts again, and other columns always do."""
    engine = Engine(RetrainSettings(**HOUR))
    assert reasons(engine.handle(fault("1h", kind=kind))) == "incident_opened not_drift"
    assert reasons(engine.handle(firing("1h 1m"))) == "absorbed inhibited_by_data_fault"
    assert reasons(engine.handle(ready("1h 59m", "1h 1m"))) == "absorbed inhibited_by_data_fault"
    assert reasons(engine.handle(ready("1h 59m", "1h 30m", "bus-100"))) == "incident_opened request_made"
    assert reasons(engine.handle(ready("2h", "2h"))) == "absorbed request_made"
    assert reasons(engine.handle(ready("2h", "2h", "bus-101", column="dwell_s"))) == "incident_opened request_made"


@pytest.mark.parametrize("approval", list(Approval))
def test_a_fault_after_its_drift_withdraws_the_request(approval):
    """A fault withdraws a request made a few events before; it starts no cooldown, and the next has its own id."""
    engine = Engine(RetrainSettings(**HOUR, approval=approval))
    (request,) = requests(engine.handle(ready("1h", "1h")))
    actions = engine.handle(fault("1h 1m"))
    assert reasons(actions) == "withdrawn_by_data_fault absorbed not_drift"
    decision = actions[0].decision
    assert (decision.request_id, decision.state, decision.at) == (request.request_id, "withdrawn", moment("1h 1m"))
    assert reasons(engine.handle(ready("1h 2m", "1h 2m"))) == "absorbed inhibited_by_data_fault"
    assert reasons(engine.handle(said("started", request.request_id, "1h 3m"))) == "too_late"
    (again,) = requests(engine.handle(ready("3h", "3h")))
    assert again.request_id != request.request_id


def test_either_order_leaves_the_same():
    """Drift and fault within the hour, in either order: no request stands, and the next drift may trigger one."""
    drift, broken = ready("1h", "1h"), fault("1h")
    for records in ((drift, broken), (broken, drift)):
        engine = Engine(RetrainSettings(**HOUR))
        actions = handle_all(engine, *records)
        ended = [a.decision.request_id for a in actions if isinstance(a, PublishDecision)]
        assert [request.request_id for request in requests(actions)] == ended
        assert reasons(engine.handle(ready("4h", "4h"))) == "absorbed request_made"


@pytest.mark.parametrize(
    ("words", "later"),
    [
        (["approve"], fault("2h")),
        (["approve", "started"], fault("2h")),
        ([], fault("3h")),
        ([], fault("2h", column="dwell_s")),
        ([], fault("2h", model="bus-1")),
    ],
    ids=["a person approved", "it trains", "too late", "another column", "another model"],
)
def test_a_request_stands_if(words, later):
    """What people have approved, what trains, and what the fault does not concern, is not withdrawn."""
    engine = Engine(RetrainSettings(inhibit_s=7200.0, approval=Approval.REQUIRED))
    (request,) = requests(engine.handle(ready("1h", "1h")))
    handle_all(engine, *(said(word, request.request_id, "1h 1m") for word in words))
    assert "withdrawn" not in reasons(engine.handle(later))


def test_a_request_stands_if_something_else_moved_too():
    """A second column that has moved is a reason of its own, until it is faulty as well."""
    engine = Engine(RetrainSettings(**HOUR))
    handle_all(engine, firing("1h", column="dwell_s"), ready("1h", "1h"))
    assert "withdrawn" not in reasons(engine.handle(fault("1h 1m")))
    assert reasons(engine.handle(fault("1h 2m", column="dwell_s"))).split()[0] == "withdrawn_by_data_fault"


def test_without_inhibition_a_fault_changes_nothing():
    """With `inhibit_s` of 0, drift triggers a request in spite of faults."""
    engine = Engine(RetrainSettings(inhibit_s=0))
    handle_all(engine, ready("1h", "1h"), fault("1h"))
    assert engine.state.models["bus-099"].faults == {}
    assert engine.state.models["bus-099"].last_request.state == "approved"


def test_a_fault_is_no_verdict():
    """Broken data after a promotion are no verdict on the retrain, nor is the drift that they cause."""
    engine = Engine(RetrainSettings(**HOUR))
    (request,) = requests(engine.handle(ready("1h", "1h")))
    handle_all(engine, said("trained", request.request_id, "2h"), said("promote", request.request_id, "2h"))
    handle_all(engine, fault("3h"), firing("3h 1m"))
    assert engine.state.models["bus-099"].last_request.state == "watching"
    assert reasons(engine.handle(firing("5h"))).split()[0] == "drifted_again"


def test_a_withdrawn_request_does_not_hide_the_cooldown_before_it():
    """A withdrawn request leaves the cooldown of the request before as it was."""
    engine = Engine(RetrainSettings(cooldown_s=4 * 3600, expires_after_s=60, **HOUR))
    handle_all(engine, ready("1h", "1h"), ready("6h", "6h"), fault("6h"))
    assert engine.state.models["bus-099"].last_request.state == "withdrawn"
    assert engine.state.models["bus-099"].last_request.requested_last_at == moment("1h")
    assert reasons(engine.handle(ready("8h", "8h"))).endswith("request_made")
    assert reasons(engine.handle(ready("9h", "9h"))).endswith("cooling_down")


def test_the_first_requests_of_a_storm_are_withdrawn():
    """Those that were ready before it was known as one wait with the others, and none is left to train on."""
    engine = Engine(RetrainSettings(**FEW))
    first = requests(handle_all(engine, ready("1h", "1h", "a"), ready("1h 1m", "1h 1m", "b")))
    assert [request.model_id for request in first] == ["a", "b"]
    actions = engine.handle(firing("1h 2m", "c"))
    withdrawn = "withdrawn_by_storm joined_storm "
    assert reasons(actions) == f"storm_opened {withdrawn}{withdrawn}waiting_for_data"
    storm_id = actions[0].incident.incident_id
    released = requests(engine.handle(said("approve", storm_id, "2h")))
    assert [request.model_id for request in released] == ["a", "b"]
    assert {request.request_id for request in first}.isdisjoint({request.request_id for request in released})
    assert [request.incident_id for request in first] == [request.incident_id for request in released]


def test_a_feed_that_breaks_two_columns_leaves_no_request():
    """Where all that moved proves to be storms, the second storm withdraws the request made before."""
    engine = Engine(RetrainSettings(**FEW))
    handle_all(engine, *(firing("1h", name, column="dwell_s") for name in "ab"))
    assert len(requests(handle_all(engine, *(ready("1h 1m", "1h 1m", name) for name in "ab")))) == 2
    assert "withdrawn" not in reasons(engine.handle(firing("1h 2m", "c")))
    assert reasons(engine.handle(firing("1h 2m", "c", column="dwell_s"))).count("withdrawn_by_storm") == 2


def test_a_dismissed_storm_asks_for_nothing_that_was_withdrawn():
    """The person rejects the storm because of broken data, and nothing more follows."""
    engine = Engine(RetrainSettings(**FEW))
    *_, opened = handle_all(engine, ready("1h", "1h", "a"), firing("1h 1m", "b"), firing("1h 2m", "c"))
    (storm,) = engine.state.storms.values()
    assert requests(engine.handle(said("reject", storm.incident.incident_id, "2h"))) == []
    assert opened.reason == "waiting_for_data"
    assert engine.state.models["a"].waiting is None
