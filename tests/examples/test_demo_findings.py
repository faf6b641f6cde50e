"""What the report makes of alerts, incidents and requests."""

from __future__ import annotations

from examples.demo.findings import Findings
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from streamer.testing.alerts import firing, moment


def findings_of(*alerts):
    """One incident for each alert."""
    incidents = (Incident.opened(a, a.model_version, a.at.event_time, Outcome.WAITING_FOR_DATA) for a in alerts)
    return Findings(list(alerts), {i.incident_id: i for i in incidents})


def test_a_column_that_moves_everywhere_at_once_is_shared():
    """Ten models within a day are one cause; the models that moved by themselves before stay apart."""
    crowd = [firing(f"9d {i}h", f"bus-{i}", "temperature_c") for i in range(10)]
    alone = firing("2d", "bus-3", "headway_s")
    found = findings_of(alone, *crowd)
    (shared,) = found.shared_moves(models=20)
    assert shared.column == "temperature_c"
    assert shared.models == {f"bus-{i}" for i in range(10)}
    assert (shared.first, shared.last) == (moment("9d"), moment("9d 9h"))
    assert [incident.model_id for incident, _ in found.own_moves([shared])] == ["bus-3"]


def test_what_is_spread_out_is_not_shared():
    """The same ten models, two days apart each, have nothing in common."""
    found = findings_of(*(firing(f"{2 * i}d", f"bus-{i}", "temperature_c") for i in range(10)))
    assert found.shared_moves(models=20) == []
    assert len(list(found.own_moves([]))) == 10


def test_one_model_is_no_crowd():
    """Many alerts of one model count as one model, and don't hide the day on which several models moved."""
    noisy = [firing(f"1d {i}h", "bus-1", "hour") for i in range(10)]
    assert findings_of(*noisy).shared_moves(models=20) == []
    several = [firing("9d", f"bus-{i}", "hour") for i in range(5)]
    (shared,) = findings_of(*noisy, *several).shared_moves(models=20)
    assert (shared.first, len(shared.models)) == (moment("9d"), 5)
