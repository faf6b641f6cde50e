"""A number of false alarms that the whole fleet may raise, and that it keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.detection.promised import LAWS as LAWS_OF_MODELS
from benchmarks.detection.promised import false_alarms
from detectors.adwin.bank import AdwinSettings
from detectors.registry import bank, settings_of
from streamer.config import Config, ConfigError, load_config
from streamer.config.false_alarms import MARKS, FalseAlarmSettings, allotted
from streamer.detect.monitors.quality import FAULTS

FLEET, VALUES = 16_000, 1_000
SMALL = "kafka: {bootstrap: 'localhost:9092'}\ntopics: {bus: {}}\n"


def of(*names):
    return {name: settings_of(name) for name in names}


@given(st.floats(1, 1e4), st.floats(1, 1e3), st.integers(1, 60), st.integers(1, 60))
def test_expected_alarms_add_up_to_what_is_allowed(events_per_s, at_most, days, columns):
    """Each detector judges so many values, raises one alarm in arl0 of them, and all together raise what they may."""
    allowed = FalseAlarmSettings(events_per_s, at_most, f"{days}d", columns)
    asked = allotted(of("shiryaev_roberts", "rate", "adwin"), allowed)
    assert len(FAULTS) == MARKS, "series of zeros and ones of a column"
    marks = MARKS * columns * allowed.events
    expected = allowed.events / asked["shiryaev_roberts"].arl0 + marks / asked["rate"].arl0
    assert expected <= at_most * 1.01
    assert asked["adwin"] == settings_of("adwin")


def test_a_rate_that_was_stated_for_a_detector_stays():
    """And the others share the allowance without it."""
    own = of("rate") | {"shiryaev_roberts": settings_of("shiryaev_roberts", arl0=5e6)}
    allowed = FalseAlarmSettings(events_per_s=100)
    assert allotted(own, allowed)["shiryaev_roberts"].arl0 == 5e6
    assert allotted(own, allowed)["rate"].arl0 == allotted(of("rate"), allowed)["rate"].arl0
    assert allotted(own, None) == own


LAWS = (
    lambda random, shape: random.normal(size=shape),
    lambda random, shape: random.lognormal(size=shape),
    lambda random, shape: random.integers(0, 10, shape).astype(float),  # ties
    lambda random, shape: random.standard_cauchy(size=shape),
)


def test_sixteen_thousand_series_raise_no_more_than_was_asked():
    """100 in the time that 16 million values take: of numbers of four laws, and of zeros and ones at four rates."""
    allowed = FalseAlarmSettings(events_per_s=FLEET * VALUES / 86_400, at_most=100, per="1d", columns=1)
    asked = allotted(of("shiryaev_roberts", "rate"), allowed)
    random = np.random.default_rng(11)
    numbers, marks = (bank(name, asked[name], FLEET) for name in asked)
    quarter, chunk = FLEET // 4, 50
    rows, zeros = np.tile(np.arange(FLEET), chunk), np.zeros(FLEET * chunk, np.int64)
    alarms = 0
    for _ in range(VALUES // chunk):
        values = np.concatenate([law(random, (chunk, quarter)) for law in LAWS], axis=1)
        alarms += len(numbers.update(rows, values.reshape(-1), zeros))
        ones = random.random((chunk, FLEET)) < np.repeat((0.001, 0.01, 0.1, 0.5), quarter)
        alarms += len(marks.update(rows, ones.reshape(-1).astype(float), zeros))
    print(f"{alarms} alarms where 100 may be")
    assert 10 <= alarms <= 100, "hardly any would be a rate that nobody asked for"


def test_the_resolved_rates_are_written_into_the_settings_of_a_run(tmp_path):
    """Once: what was written makes the same rates again, whatever becomes of the allowance's defaults."""
    path = tmp_path / "driftline.yaml"
    path.write_text(SMALL + "detectors: {shiryaev_roberts: }\nfalse_alarms: {events_per_s: 200, columns: 14}\n")
    config = load_config(str(path), environ={})
    assert config.watching["shiryaev_roberts"].arl0 == 5.18e8
    again = Config.model_validate_json(config.settings_text)
    assert again.false_alarms is None
    assert again.watching == config.watching
    assert again.settings_text == config.settings_text


@pytest.mark.parametrize(
    ("detectors", "allowed", "message"),
    [
        ("{adwin: }", "{events_per_s: 1}", "has no effect: the detectors"),
        ("{shiryaev_roberts: {arl0: 1e6}}", "{events_per_s: 1}", "or their own arl0"),
        ("{shiryaev_roberts: }", "{events_per_s: 900000}", "arl0 must lie between .* allow more"),
        ("{shiryaev_roberts: }", "{events_per_s: 0}", "false_alarms.events_per_s: must be above 0"),
        ("{shiryaev_roberts: }", "{events_per_s: 1, per: 30}", "per"),
        (
            "{shiryaev_roberts: }",
            "{events_per_s: 1, per: 30y}",
            "a span of time: '30y' is not like 90s, 30m, 1h30m or 7d",
        ),
        ("{shiryaev_roberts: }", "{events_per_s: 1, at_most: 0}", "false_alarms.at_most: must be above 0"),
        ("{shiryaev_roberts: }", "{events_per_s: 1, columns: 0}", "false_alarms.columns: must be 1"),
        ("{shiryaev_roberts: }", "{models: 0}", "false_alarms.models: must be 1"),
        ("{shiryaev_roberts: {arl0: 1e6}}", "{}", "has no effect: the detectors"),
    ],
)
def test_what_cannot_be_kept_is_a_problem_of_the_configuration(tmp_path, detectors, allowed, message):
    """With its line, before anything runs."""
    path = tmp_path / "driftline.yaml"
    path.write_text(f"{SMALL}detectors: {detectors}\nfalse_alarms: {allowed}\n")
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(str(path), environ={})
    assert "driftline.yaml:4" in str(refused.value)


DAY_S = 86_400.0
WEEK = "a week's cycle"  # which nobody can know in the first week


def test_without_stated_traffic_each_model_has_a_rate_of_its_own(tmp_path):
    """One a month of 100 models, by default: shared by the detectors, and by the columns that they do not share by."""
    path = tmp_path / "driftline.yaml"
    path.write_text(SMALL + "false_alarms: {}\n")
    config = load_config(str(path), environ={})
    apart_s = 30 * DAY_S * 100 * 3
    assert config.false_alarm_spans == {
        "shiryaev_roberts": apart_s, "category_rates": 20 * apart_s, "rate": 20 * MARKS * apart_s,
    }  # fmt: skip
    path.write_text(
        SMALL + "false_alarms: {at_most: 2, per: 7d, models: 10, columns: 1}\ndetectors: {+rate: {arl0: 1e7}}\n"
    )
    own = load_config(str(path), environ={})
    assert own.false_alarm_spans == dict.fromkeys(("shiryaev_roberts", "category_rates"), 7 * DAY_S * 10 / 2 * 2)
    assert own.watching["rate"].arl0 == 1e7
    again = Config.model_validate_json(own.settings_text)
    assert again.false_alarm_spans == own.false_alarm_spans
    assert again.settings_text == own.settings_text
    assert own.fingerprint != config.fingerprint


@pytest.mark.parametrize("name", [name for name in LAWS_OF_MODELS if name != WEEK])
def test_models_at_their_own_traffic_raise_no_more_than_was_promised(name):
    """Of 400 models with 24 to 288 events a day, whose traffic nobody states: 60 in six days, the first included."""
    raised, allowed = false_alarms(LAWS_OF_MODELS[name], models=400, days=6, apart_days=40, seed=1)
    assert allowed == 60
    assert raised <= allowed


def test_detectors_that_run_by_default_leave_their_rates_to_the_allowance(tmp_path):
    """Their other settings stay, and a rate from a variable is one of its own."""
    path = tmp_path / "driftline.yaml"
    path.write_text(SMALL + "false_alarms: {events_per_s: 200, columns: 14}\n")
    both = load_config(str(path), environ={}).watching
    assert (both["shiryaev_roberts"].arl0, both["shiryaev_roberts"].tolerance) == (1.56e9, 0.01)
    own = load_config(str(path), environ={"DRIFTLINE_DETECTORS__SHIRYAEV_ROBERTS__ARL0": "1e7"}).watching
    assert own["shiryaev_roberts"].arl0 == 1e7
    assert own["rate"].arl0 == pytest.approx(both["rate"].arl0 * 2 / 3, rel=0.01)


def test_detectors_added_to_the_default_ones_leave_their_rates_too(tmp_path):
    """`+adwin` has no rate and changes nothing; a rate that the file gives to a default detector is its own."""
    path = tmp_path / "driftline.yaml"
    allowed = "false_alarms: {events_per_s: 200, columns: 14}\n"
    path.write_text(SMALL + allowed)
    plain = load_config(str(path), environ={}).watching
    path.write_text(SMALL + allowed + "detectors: {+adwin: }\n")
    assert load_config(str(path), environ={}).watching == {**plain, "adwin": AdwinSettings()}
    path.write_text(SMALL + allowed + "detectors: {+shiryaev_roberts: {arl0: 1.0e+6}}\n")
    own = load_config(str(path), environ={}).watching["shiryaev_roberts"]
    assert (own.arl0, own.tolerance) == (1e6, 0.01)
