"""The shifts that an incident keeps."""

import pytest
from scipy.stats import norm

from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.messages.shift import Shift
from streamer.testing.alerts import firing, moment


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
