"""Single settings of commands, `--set SETTING=VALUE`."""

from __future__ import annotations

import pytest

from detectors.registry import DEFAULT
from streamer.config import Config, ConfigError, load_config


def load(folder, sets, environ=None) -> Config:
    path = folder / "driftline.yaml"
    path.write_text("kafka: {bootstrap: localhost:9092}\ntopics: {bus: {}}\n")
    return load_config(str(path), environ=environ or {}, sets=sets)


def test_single_settings_count_last(tmp_path):
    """`sets` go over the file and variables, with the syntax of the file, and leave other detectors as they are."""
    environ = {"DRIFTLINE_RETRAIN__COOLDOWN_S": "60"}
    sets = ["retrain.cooldown_s=2h", "detectors.shiryaev_roberts.arl0=1e7", "topics.bus.event_time_unit=ms"]
    config = load(tmp_path, sets, environ)
    assert (config.retrain.cooldown_s, config.topics["bus"].event_time_unit) == (7200, "ms")
    assert config.detectors["shiryaev_roberts"].arl0 == 1e7
    assert list(config.detectors) == list(DEFAULT)


def test_single_settings_need_no_file():
    """Without a file, all other settings have their defaults."""
    assert load_config(None, needs=(), environ={}, sets=["labels.timeout_s=7"]).labels.timeout_s == 7


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("retrain.cooldown=1", "--set: retrain.cooldown: no setting has this name; did you mean retrain.cooldown_s?"),
        ("retrain.cooldown_s", "--set: retrain.cooldown_s: write SETTING=VALUE, as in retrain.cooldown_s=0"),
        ("retrain.cooldown_s=x", "--set retrain.cooldown_s: retrain.cooldown_s: must be seconds, or a duration such"),
    ],
)
def test_a_wrong_single_setting_is_a_problem_of_its_own(tmp_path, text, reported):
    """The problem names the option, and a setting that is similar."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, [text])
    assert [str(one).startswith(reported) for one in caught.value.problems] == [True], caught.value
