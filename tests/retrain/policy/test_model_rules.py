"""Rules by model, from settings, as timelines: each rule, any and all of them."""

import json

import pytest

from detectors.segment_gap import EFFECT_UNIT
from retrain.engine.engine import Engine
from retrain.messages.action import PublishRequest
from retrain.messages.alert import AlertKind
from retrain.policy.model_rules import RULES, ModelRules
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.commands.setup.check_config import description
from streamer.config.models import Config
from streamer.events import LAG_COLUMN
from streamer.testing.alerts import firing, ready, said

DAY_S = 86_400.0


def engine_of(pattern="*", **rules):
    """An engine with these rules for the models of the pattern, and no cooldown."""
    return Engine(RetrainSettings(rules_by_model={pattern: ModelRules(**rules)}, cooldown_s=0))


def verdict(actions) -> str:
    """The last reason, which is what the alert meant for a retrain."""
    return str(actions[-1].reason)


@pytest.mark.parametrize(
    ("column", "when", "expected"),
    [
        ("error", "error", "request_made"),
        ("prediction", "error", "no_rule_met"),
        ("headway_s", "error", "no_rule_met"),
        ("prediction", "prediction", "request_made"),
        ("error", "prediction", "no_rule_met"),
        ("headway_s", "feature", "request_made"),
        ("error", "feature", "no_rule_met"),
        ("prediction", "feature", "no_rule_met"),
    ],
)
def test_each_rule_is_met_by_its_own_columns(column, when, expected):
    """Drift that meets no rule of the model joins the incident, triggers no request, and is named."""
    assert verdict(engine_of(when=[when]).handle(ready("1h", "1h", column=column))) == expected


def test_a_feature_counts_by_effect_and_importance():
    """A shift of one standard deviation is a distance of 0.38; the first matching pattern gives its factor."""
    rules = {"strength_min": 0.3, "importance": {"headway_s": 1.0, "*_c": 0.5, "*": 0.1}}
    expected = {"headway_s": "request_made", "temp_c": "feature_unimportant", "noise": "feature_unimportant"}
    for column, outcome in expected.items():
        assert verdict(engine_of(**rules).handle(ready("1h", "1h", column=column))) == outcome
    assert verdict(engine_of(**rules).handle(ready("1h", "1h", column="temp_c", effect=3.0))) == "request_made"


@pytest.mark.parametrize("order", [("prediction", "headway_s"), ("headway_s", "prediction")])
def test_all_rules_of_an_entry_must_be_met(order):
    """Both must have moved, whichever is first; the one alone waits for the other by name."""
    engine = engine_of(when=["error", "prediction and feature"])
    first, second = order
    assert verdict(engine.handle(ready("1h", "1h", column=first))) == "waiting_for_others"
    assert verdict(engine.handle(ready("2h", "2h", column=second))) == "request_made"


@pytest.mark.parametrize(
    "changes",
    [
        {"effect": 0.1},
        {"kind": AlertKind.MISSING, "effect_unit": "rate", "detector": "rate"},
        {"kind": AlertKind.SILENT, "effect_unit": "s", "column": "(events)"},
        {"kind": AlertKind.EVENT_RATE, "effect_unit": "per_hour", "column": "(events)"},
        {"kind": AlertKind.SEGMENT_GAP, "effect_unit": EFFECT_UNIT},
        {"kind": AlertKind.LABEL_LAG, "column": LAG_COLUMN},
    ],
    ids=["too small", "a fault", "silence", "another rate", "a gap", "late labels"],
)
def test_what_does_not_count_completes_no_entry(changes):
    """A partner that moved too little, whose data are broken, or that is no drift of a column, is none."""
    engine = engine_of(when=["prediction and feature"])
    engine.handle(firing("1h", **changes))
    assert verdict(engine.handle(ready("2h", "2h", column="prediction"))) == "waiting_for_others"


def test_a_rule_that_was_met_before_does_not_make_another_alert_ask():
    """The alert itself must meet a rule: an error that moved before is no reason for a feature now."""
    engine = engine_of(when=["error"])
    engine.handle(firing("1h", column="error"))
    assert verdict(engine.handle(ready("2h", "2h"))) == "no_rule_met"


def test_an_old_version_is_retrained_at_the_next_alert():
    """After thirty days any drift will do, however small; a promotion makes the model young, with or without a name."""
    engine = engine_of(when=["error", "age"], age_s=30 * DAY_S)
    engine.handle(firing("1h"))
    assert verdict(engine.handle(ready("30d", "30d"))) == "no_rule_met"
    assert verdict(engine.handle(ready("30d 30m", "30d 30m", effect=0.1))) == "effect_too_small"
    actions = engine.handle(ready("30d 1h", "30d 1h", effect=0.1))
    (request,) = (action.request for action in actions if isinstance(action, PublishRequest))
    engine.handle(said("trained", request.request_id, "30d 2h"))
    engine.handle(said("promote", request.request_id, "30d 2h"))
    assert verdict(engine.handle(ready("31d", "31d"))) == "no_rule_met"
    assert verdict(engine.handle(ready("61d", "61d"))) == "request_made"
    assert verdict(engine.handle(ready("91d", "91d"))) == "request_made"


def test_drift_of_a_source_is_judged_by_the_rules_of_each_of_its_models():
    """A pattern that matches the source too does not apply to it; a fault of its column is none of the model's."""
    rules = {"bus-1": ModelRules(when=["prediction and feature"]), "*": ModelRules(when=["error"])}
    settings = RetrainSettings(rules_by_model=rules, storm_models_min=None)
    engine = Engine(settings, None, {"weather": SourceSettings(["bus-*"])})
    engine.handle(firing("1h", "bus-1", "prediction"))
    engine.handle(firing("1h", "bus-2", "prediction"))
    engine.handle(firing("1h", "source:weather", "prediction", "", kind=AlertKind.MISSING, effect_unit="rate"))
    where = {"models": ("bus-1", "bus-2"), "model_count": 2}
    actions = engine.handle(ready("2h", "2h", "source:weather", "temp_c", "", **where))
    assert [action.request.model_id for action in actions if isinstance(action, PublishRequest)] == ["bus-1"]
    alone = Engine(settings, None, {"weather": SourceSettings(["bus-2"])})
    assert verdict(alone.handle(ready("2h", "2h", "source:weather", "temp_c", "", **where))) == "no_rule_met"


@pytest.mark.parametrize(("when", "withdrawn"), [("prediction and feature", True), ("prediction", False)])
def test_a_request_is_withdrawn_when_what_stands_meets_no_rule_any_more(when, withdrawn):
    """Of two columns that moved one proves to be broken: the other alone would not have triggered the request."""
    engine = engine_of(when=[when])
    engine.handle(firing("1h"))
    assert verdict(engine.handle(ready("2h", "2h", column="prediction"))) == "request_made"
    actions = engine.handle(firing("3h", kind=AlertKind.MISSING, effect_unit="rate", detector="rate"))
    assert ("withdrawn_by_data_fault" in [action.reason for action in actions]) == withdrawn


@pytest.mark.parametrize(
    ("first", "second", "withdrawn"), [("headway_s", "prediction", 0), ("prediction", "headway_s", 1)]
)
def test_a_storm_takes_back_a_request_of_its_column_alone(first, second, withdrawn):
    """That many models see what had to move with it is no reason to withdraw it; that its own column storms is."""
    rules = {"*": ModelRules(when=["prediction and feature"])}
    engine = Engine(RetrainSettings(rules_by_model=rules, storm_models_min=2))
    engine.handle(firing("1h", column=first))
    assert verdict(engine.handle(ready("1h 10m", "1h 10m", column=second))) == "request_made"
    reasons = [action.reason for action in engine.handle(firing("1h 20m", "tram-1", "headway_s"))]
    assert reasons.count("storm_opened") == 1
    assert reasons.count("withdrawn_by_storm") == withdrawn


@pytest.mark.parametrize(("column", "verdicts"), [("noise", 0), ("headway_s", 1)])
def test_a_promotion_is_judged_by_what_the_model_is_retrained_for(column, verdicts):
    """An unimportant feature that moves after it is no sign that it did not help."""
    engine = engine_of(strength_min=0.3, importance={"headway_s": 1.0, "*": 0.1})
    (request,) = (a.request for a in engine.handle(ready("1h", "1h")) if isinstance(a, PublishRequest))
    engine.handle(said("trained", request.request_id, "2h"))
    engine.handle(said("promote", request.request_id, "2h"))
    reasons = [action.reason for action in engine.handle(ready("3h", "3h", column=column))]
    assert reasons.count("drifted_again") == verdicts


def test_models_without_rules_are_retrained_for_any_drift():
    """A pattern concerns the models that it fits, and the first that fits counts."""
    rules = {"tram-*": ModelRules(when=["error"]), "*-1": ModelRules(when=["prediction"])}
    engine = Engine(RetrainSettings(rules_by_model=rules))
    assert verdict(engine.handle(ready("1h", "1h", "bus-2"))) == "request_made"
    assert verdict(engine.handle(ready("1h", "1h", "tram-1", column="prediction"))) == "no_rule_met"
    assert verdict(engine.handle(ready("1h", "1h", "bus-1", column="prediction"))) == "request_made"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"when": []}, "when has 0 entries"),
        ({"when": ["errors"]}, "when names 'errors', which is no rule; there are error, prediction, feature, age"),
        ({"when": ["error and"]}, "when names 'error and'"),
        ({"when": ["age"]}, "when names age, but age_s does not say"),
        ({"age_s": -1.0}, "age_s is -1.0"),
        ({"strength_min": 1.5}, "strength_min is 1.5"),
        ({"importance": {"*": -1.0}}, "importance must be"),
        ({"importance": {"*": float("nan")}}, "importance must be"),
    ],
)
def test_rules_that_say_nothing_are_refused(settings, sentence):
    """The sentence names the setting and what it may be."""
    with pytest.raises(ValueError, match=sentence):
        ModelRules(**settings)


def test_every_rule_is_in_the_table_under_a_name():
    """One class a rule, each with its sentence."""
    assert list(RULES) == ["error", "prediction", "feature", "age"]
    assert all(type(rule).__doc__ for rule in RULES.values())


def test_check_config_says_for_what_models_are_retrained():
    """The rules of each pattern stand in the description, in the words of the settings."""
    when = ["error", "prediction and feature"]
    retrain = {"rules_by_model": {"bus-*": {"when": when, "importance": {"headway_s": 1.0}}}}
    config = Config.model_validate_json(
        json.dumps({"kafka": {"bootstrap": "localhost:9092"}, "topics": {"bus.predictions": None}, "retrain": retrain})
    )
    assert config.retrain.rules_for("bus-1") == ModelRules(when=when, importance={"headway_s": 1.0})
    again = Config.model_validate_json(config.settings_text)
    assert again.settings_text == config.settings_text
    assert description(config).endswith(", retrains bus-* for error or prediction and feature")
