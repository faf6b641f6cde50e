"""The shifts that an incident keeps."""

import pytest
from scipy.stats import norm

from retrain.messages.distribution import Distribution
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.messages.request import Approval, request_for
from retrain.messages.shift import Shift
from streamer.testing.alerts import firing, moment, ready


@pytest.mark.parametrize("shift_sd", [0.0, 0.3, 1.0, 3.0])
def test_a_shift_counts_as_the_distance_of_two_normals(shift_sd):
    """Standard deviations become a Kolmogorov-Smirnov distance, so that detectors of both units can be compared."""
    middle = shift_sd / 2
    distance = norm.cdf(middle) - norm.cdf(middle, loc=shift_sd)
    assert Shift.of(firing("1h", effect=shift_sd)).strength == pytest.approx(distance)


@pytest.mark.parametrize(
    ("unit", "effect", "strength"), [("ks_distance", 0.4, 0.4), ("tv_distance", 0.4, 0.4), ("percent", 40.0, 1.0)]
)
def test_other_units_are_taken_as_they_are(unit, effect, strength):
    """A distance is a strength already; an unknown unit counts for at most 1."""
    assert Shift.of(firing("1h", effect=effect, effect_unit=unit)).strength == strength


def test_news_of_an_alert_replaces_what_it_said():
    """The same alert may return with a smaller effect; another one of its column replaces it only with a larger."""
    first = firing("1h", effect=2.0)
    incident = Incident.opened(first, "7", moment("1h"), Outcome.WAITING_FOR_DATA)

    def effect_after(alert):
        after = incident.absorb(alert, "7", moment("2h"), Outcome.WAITING_FOR_DATA, is_new=True, columns_max=9)
        return [move.effect for move in after.columns]

    assert effect_after(firing("1h", effect=1.0)) == [1.0]
    assert effect_after(firing("2h", effect=1.0)) == [2.0]
    assert effect_after(firing("2h", effect=3.0)) == [3.0]
    assert effect_after(firing("2h", effect=1.0, detector="ks_window")) == [2.0, 1.0]


def test_three_strongest_shifts_keep_their_distribution():
    """An incident holds the distributions of its three strongest shifts only, so that its record stays small."""
    drawn = Distribution(before=(1.0, 0.0), after=(0.0, 1.0), n_before=64, n_after=500, edges=(0.0, 1.0, 2.0))
    incident = None
    for effect in (0.5, 1.0, 1.5, 2.0, 2.5):
        alert = firing(f"{int(effect * 2)}h", column=f"c{effect}", effect=effect, distribution=drawn)
        incident = (
            incident.absorb(alert, "7", moment("9h"), Outcome.WAITING_FOR_DATA, is_new=True, columns_max=9)
            if incident
            else Incident.opened(alert, "7", moment("1h"), Outcome.WAITING_FOR_DATA)
        )
    assert [(move.effect, move.distribution == drawn) for move in incident.columns] == [
        (2.5, True), (2.0, True), (1.5, True), (1.0, False), (0.5, False)
    ]  # fmt: skip


def test_incident_and_request_summarise_their_shifts():
    """The sentence is that of the strongest shift that is measured, and names what else moved."""
    strong = firing("1h", effect=3.0, column="dwell_s", summary="dwell_s moved by 8: 0 before, 8 after.")
    weak = firing("2h", effect=1.0, column="headway_s")
    incident = Incident.opened(strong, "7", moment("1h"), Outcome.WAITING_FOR_DATA)
    assert incident.summary == "dwell_s moved by 8: 0 before, 8 after."
    incident = incident.absorb(weak, "7", moment("2h"), Outcome.WAITING_FOR_DATA, is_new=True, columns_max=9)
    assert incident.summary == "dwell_s moved by 8: 0 before, 8 after; also headway_s."
    alert = ready("3h", "1h", column="dwell_s")
    request = request_for(alert, incident, moment("3h"), 60.0, Approval.NOT_REQUIRED)
    assert request.summary == incident.summary


def test_request_names_each_alert_once():
    """A request's evidence holds the triggering alert once, also if the incident has its numbers from before."""
    alert = firing("1h", effect=3.0)
    incident = Incident.opened(alert, "7", moment("1h"), Outcome.WAITING_FOR_DATA)
    later = ready("3h", "1h", effect=1.0)
    request = request_for(later, incident, moment("3h"), 60.0, Approval.NOT_REQUIRED)
    assert [shift.alert_id for shift in request.evidence] == [alert.alert_id]
