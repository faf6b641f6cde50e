"""Settings of the decide fold and the rules made of them."""

import pytest

from retrain.messages.outcome import Outcome
from retrain.policy.case import RetrainCase
from retrain.policy.rules import RULES, decide
from retrain.policy.settings import RetrainSettings
from streamer.testing.alerts import moment, ready


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cooldown_s", -1),
        ("cooldown_s", float("nan")),
        ("expires_after_s", 0),
        ("expires_after_s", 1e12),
        ("incident_quiet_s", float("inf")),
        ("ks_distance_min", 1.1),
        ("ks_distance_min", -0.1),
        ("tv_distance_min", 1.1),
        ("sd_min", float("inf")),
        ("sd_min", float("nan")),
        ("models_max", 0),
        ("requests_per_hour_max", 0),
        ("running_max", 0),
        ("cooldown_factor", 0.9),
        ("cooldown_factor", float("inf")),
        ("cooldown_max_s", -1),
        ("watch_s", 0),
        ("storm_models_min", 1),
        ("storm_window_s", -1),
        ("storm_columns_max", 0),
        ("columns_max", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting, value):
    """The sentence names the setting, so that it can be found and mended."""
    with pytest.raises(ValueError, match=f"^{setting} is "):
        RetrainSettings(**{setting: value})


def test_an_effect_in_an_unknown_unit_has_no_minimum():
    """A detector of one's own may measure in a unit of its own; its every effect counts."""
    assert RetrainSettings().effect_min("percent") == 0.0


def test_a_question_to_which_no_rule_objects_is_answered_with_a_request():
    """All rules pass for a large drift that is ready, of a model without a request."""
    question = RetrainCase(ready("2h", fired="1h"), moment("2h"), None, RetrainSettings())
    assert [rule(question) for rule in RULES] == [None] * len(RULES)
    assert decide(question) is Outcome.REQUEST_MADE
