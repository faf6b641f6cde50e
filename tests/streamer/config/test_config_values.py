"""What a loaded configuration holds, and what it promises."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors.registry import DEFAULT, DETECTORS, settings_of
from detectors.shiryaev_roberts.bank import ShiryaevRobertsSettings
from streamer.codecs.json_codec import JsonSettings
from streamer.config import Config, ConfigError, load_config
from streamer.config.problems import dotted
from streamer.config.schema import settings
from streamer.config.yaml_file import read_document
from streamer.errors import DriftlineError, UsageError
from streamer.eventlog.kafka.connection import KafkaConnection

CASES = Path(__file__).parent / "cases"
SMALL = "kafka: {bootstrap: localhost:9092}\ntopics: {bus: {}}\n"


@pytest.fixture
def load(tmp_path):
    def load(text: str, environ: dict[str, str] | None = None, **options) -> Config:
        path = tmp_path / "driftline.yaml"
        path.write_text(text)
        return load_config(str(path), environ=environ or {}, **options)

    return load


def problems(load, text, environ=None):
    with pytest.raises(ConfigError) as refused:
        load(text, environ)
    return refused.value.problems


def test_topics_keep_their_order_and_are_their_codecs_settings(load):
    """The order of the file is the order of folding, and a topic is the settings that its codec takes."""
    config = load("kafka: {bootstrap: 'a:1'}\ntopics: {z: {values_max: 7}, a: {fields: {model_id: $.m}}, m: }\n")
    assert list(config.topics) == ["z", "a", "m"]
    assert all(isinstance(topic, JsonSettings) and topic.format == "json" for topic in config.topics.values())
    assert config.topics["z"].values_max == 7
    assert config.topics["a"].fields.model_id == "$.m"


def test_detectors_are_the_quiet_two_by_default_and_those_named_otherwise(load):
    """No section means those that a service runs; a key without a value means that detector's defaults."""
    assert load(SMALL).detectors == {name: settings_of(name, **options) for name, options in DEFAULT.items()}
    assert load(SMALL).detectors["shiryaev_roberts"] == ShiryaevRobertsSettings(arl0=1e6, tolerance=0.01)
    assert load(SMALL + "detectors: {shiryaev_roberts: }").detectors["shiryaev_roberts"] == ShiryaevRobertsSettings()
    assert load(SMALL + "detectors: {adwin: }").detectors == {"adwin": DETECTORS["adwin"].settings()}
    assert load(SMALL + "detectors: {adwin: {delta: 1.0e-6}}").detectors["adwin"].delta == 1e-6


def test_a_duration_with_units_is_its_seconds(load):
    """`7d` and 604800 are the same settings, so a restart with the other resets nothing; variables take both."""
    text = (CASES / "durations-with-units.yaml").read_text()
    plain = text
    for units, seconds in {
        **{"45s": "45", "1h30m": "5400", "7d": "604800", "0s": "0", "12w": "7257600", "1d12h": "129600"},
        **{" 5m": " 300", '"2w"': "1209600", " 2s": " 2", " 1m": " 60"},
    }.items():
        plain = plain.replace(units, seconds)
    assert not re.search(r"[0-9][wdhms]", plain.replace("bus", ""))
    assert load(text) == load(plain)
    assert load(text).fingerprint == load(plain).fingerprint
    variables = {"DRIFTLINE_COMMIT__INTERVAL_S": "1m30s", "DRIFTLINE_COMMIT__DEADLINE_S": "20.5"}
    commit = load(SMALL, variables).commit
    assert (commit.interval_s, commit.deadline_s) == (90.0, 20.5)


def test_every_time_in_seconds_takes_units():
    """A setting named in seconds is one that takes units, and `per s` is a rate."""
    in_seconds = {s.path for s in settings() if s.path[-1].endswith("_s") and s.types & {"number", "integer"}}
    assert {s.path for s in settings() if s.is_duration} == in_seconds - {("false_alarms", "events_per_s")}


def test_a_detector_with_plus_is_added_to_the_default_ones(load):
    """The default ones come first, with their settings; those given for one of them change these alone."""
    added = load(SMALL + "detectors: {+ks_window: {window: 50}}").detectors
    assert list(added) == [*DEFAULT, "ks_window"]
    assert added == {**load(SMALL).detectors, "ks_window": settings_of("ks_window", window=50)}
    changed = load(SMALL + "detectors: {+shiryaev_roberts: {tolerance: 0.02}}").detectors
    assert changed["shiryaev_roberts"] == ShiryaevRobertsSettings(arl0=1e6, tolerance=0.02)
    variables = {"DRIFTLINE_DETECTORS__KS_WINDOW__WINDOW": "60"}
    assert load(SMALL + "detectors: {+ks_window: }", variables).detectors["ks_window"].window == 60


def test_nothing_can_be_changed(load):
    """Sections are frozen, whether they are ours or a component's."""
    config = load(SMALL)
    with pytest.raises(ValidationError):
        config.metrics.port = 1
    with pytest.raises(FrozenInstanceError):
        config.retrain.cooldown_s = 1
    with pytest.raises(ValidationError):
        config.kafka = None


def test_a_replay_needs_no_section(load):
    """What only the service needs may be absent when it is not asked for."""
    assert load("retrain: {cooldown_s: 60}", needs=()).retrain.cooldown_s == 60
    assert Config().topics == {}


def test_the_configuration_is_json_and_comes_back(load):
    """Dumped as JSON and read again it is equal, with its fingerprint."""
    config = load((CASES / "everything.yaml").read_text())
    again = Config.model_validate_json(json.dumps(config.as_json()))
    assert again == config
    assert again.fingerprint == config.fingerprint


def test_the_fingerprint_is_of_what_decides_results(load):
    """It changes with settings of the folds and with the order of topics, and not with where brokers or metrics are."""
    two = "kafka: {bootstrap: localhost:9092}\ntopics: {bus: {}, tram: {}}\n"
    prints = {
        load(two).fingerprint,
        load(two.replace("{bus: {}, tram: {}}", "{tram: {}, bus: {}}")).fingerprint,
        load(two + "retrain: {cooldown_s: 1}").fingerprint,
        load(two + "detectors: {adwin: }").fingerprint,
        load(two + "outputs: {alerts: other}").fingerprint,
    }
    assert len(prints) == 5
    assert all(len(each) == 32 for each in prints)
    same = two.replace("localhost", "elsewhere") + "metrics: {port: 1}\ncommit: {interval_s: 9}\n"
    assert load(same).fingerprint == load(two).fingerprint


def test_files_are_relative_to_the_configuration(load, tmp_path, monkeypatch):
    """A relative file is found from any working directory."""
    (tmp_path / "training.parquet").write_bytes(b"PAR1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(SMALL + "references: {file: training.parquet}").references.file == str(tmp_path / "training.parquet")


SECURITY = (
    "kafka: {bootstrap: 'a:1', security: {protocol: SASL_SSL, mechanism: PLAIN, username: svc, %s}}\ntopics: {b: }"
)


def test_a_password_comes_from_a_file_or_a_variable(load, tmp_path):
    """It is read when a connection is asked for, without the line break at its end, and is in no dump."""
    (tmp_path / "secret").write_text("hunter2\n")
    from_file = load(SECURITY % "password_file: secret")
    from_variable = load(SECURITY % "password_env: KAFKA_PASSWORD")
    wanted = KafkaConnection(
        bootstrap=("a:1",), protocol="SASL_SSL", mechanism="PLAIN", username="svc", password="hunter2"
    )
    assert from_file.kafka.connection({}) == wanted
    assert from_variable.kafka.connection({"KAFKA_PASSWORD": "hunter2"}) == wanted
    assert "hunter2" not in json.dumps(from_file.as_json()) + repr(from_file) + repr(wanted)


def test_a_password_that_is_not_there_is_named(load):
    """The error says which setting names what is missing."""
    with pytest.raises(UsageError, match=r"kafka\.security\.password_env: the variable KAFKA_PASSWORD is not set"):
        load(SECURITY % "password_env: KAFKA_PASSWORD").kafka.connection({})
    with pytest.raises(UsageError, match=r"kafka\.security\.password_file can't be read"):
        load(SECURITY % "password_file: nowhere").kafka.connection({})


def test_a_literal_password_is_never_repeated(load):
    """What somebody wrote where no secret belongs does not reach logs through the complaint."""
    (problem,) = problems(load, SECURITY % "password_env: P, password: hunter2")
    assert "hunter2" not in str(problem)


def test_variables_override_the_file(load):
    """Numbers are read as YAML reads them, texts are taken as they are, and an empty variable is none."""
    config = load(
        SMALL + "metrics: {port: 1}\n",
        {
            "DRIFTLINE_METRICS__HOST": "0.0.0.0",
            "DRIFTLINE_METRICS__PORT": "9000",
            "DRIFTLINE_KAFKA__GROUP": "007",
            "DRIFTLINE_KAFKA__BOOTSTRAP": "a:1,b:2",
            "DRIFTLINE_COMMIT__INTERVAL_S": "",
            "DRIFTLINE_DETECTORS__SHIRYAEV_ROBERTS__ARL0": "1e7",
        },
    )
    assert (config.metrics.host, config.metrics.port, config.kafka.group) == ("0.0.0.0", 9000, "007")
    assert config.kafka.bootstrap == ("a:1", "b:2")
    assert config.commit.interval_s == 1.0
    assert config.detectors["shiryaev_roberts"] == ShiryaevRobertsSettings(arl0=1e7, tolerance=0.01)
    assert set(config.detectors) == set(DEFAULT)


def test_a_variable_can_stand_for_a_missing_setting(load):
    """The brokers need not be in the file."""
    assert load("topics: {bus: }", {"DRIFTLINE_KAFKA__BOOTSTRAP": "a:1"}).kafka.bootstrap == ("a:1",)


@pytest.mark.parametrize(
    ("environ", "reported"),
    [
        (
            {"DRIFTLINE_METRICS__HSOT": "x"},
            "$DRIFTLINE_METRICS__HSOT: metrics.hsot: no setting has this name; did you mean DRIFTLINE_METRICS__HOST?",
        ),
        (
            {"DRIFTLINE_METRICS__PORT": "http"},
            "$DRIFTLINE_METRICS__PORT: metrics.port: must be a whole number, not 'http'",
        ),
        (
            {"DRIFTLINE_METRICS__PORT": "70000"},
            "$DRIFTLINE_METRICS__PORT: metrics.port: must be at most 65535, not 70000",
        ),
    ],
)
def test_a_wrong_variable_is_a_problem_of_its_own(load, environ, reported):
    """The line names the variable, for it is there that something is to be mended."""
    assert [str(problem) for problem in problems(load, SMALL, environ)] == [reported]


def test_variables_of_others_are_left_alone(load):
    """Names that Kubernetes sets beside a Service called driftline-metrics are no overrides."""
    load(SMALL, {"DRIFTLINE_METRICS_PORT": "tcp://10.0.0.1:9464", "DRIFTLINE_TEST_BOOTSTRAP": "a:1", "DRIFTLINE": "x"})


def test_a_file_that_can_not_be_read_is_one_line(tmp_path):
    """Missing, a folder, binary, or far too large: always a problem, never a traceback."""
    (tmp_path / "binary.yaml").write_bytes(b"a: 1\nb: \xff\xfe\n")
    (tmp_path / "control.yaml").write_bytes(b"a: 1\nb: \x01\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * 1_000_001)
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 3000)
    reported = []
    for name in ("nowhere.yaml", ".", "binary.yaml", "control.yaml", "large.yaml", "deep.yaml"):
        with pytest.raises(ConfigError) as refused:
            load_config(str(tmp_path / name), environ={})
        reported.append(str(refused.value).removeprefix(str(tmp_path)).lstrip("/"))
    assert reported == [
        "nowhere.yaml: no such file; name one with --config",
        ": can't be read: Is a directory",
        "binary.yaml:2: is not UTF-8 text",
        "control.yaml:2: holds a control character that YAML does not allow",
        "large.yaml: is larger than 1,000,000 bytes; name a configuration file",
        "deep.yaml: is nested deeper than 20 levels",
    ]


def test_aliases_that_multiply_are_stopped(tmp_path):
    """A few lines that stand for billions of values are refused before they are built."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="expands to more than 100,000 values"):
        read_document(str(path))


def _with_a_problem_of_a_setting() -> list[str]:
    """The cases whose problems all have a line and a setting, and leave the section `commit` free."""
    names = []
    for path in sorted(CASES.glob("*.expected")):
        lines = path.read_text().splitlines()
        of_settings = [re.match(r"\S+\.yaml:[0-9]+: \w[^ ]*: ", line) for line in lines]
        if lines and all(of_settings) and "commit:" not in path.with_suffix(".yaml").read_text():
            names.append(path.stem)
    assert len(names) > 20
    return names


@pytest.mark.parametrize("name", _with_a_problem_of_a_setting())
def test_no_problem_hides_one_of_another_section(load, name):
    """What is wrong with a file is found beside wrong settings elsewhere too, and all of those with it."""
    text = (CASES / f"{name}.yaml").read_text()
    alone = {p.message for p in problems(load, text)}
    together = {p.message for p in problems(load, text.rstrip() + "\ncommit: {interval_s: -1, records_max: 0}\n")}
    assert together == alone | {"must be 0 or more, not -1.0", "must be 1 or more, not 0"}


def test_problems_are_data_too(load):
    """Each problem carries place, path and suggestion, for editors and tests."""
    (problem,) = problems(load, SMALL + "detectors:\n  adwin:\n    detla: 1e-5\n")
    assert (problem.line, problem.column, problem.path_in_yaml) == (5, 5, ("detectors", "adwin", "detla"))
    assert (problem.message, problem.suggestion) == ("unknown setting", "delta")
    assert dotted(("topics", "bus.predictions", "fields", "x", 0)) == 'topics."bus.predictions".fields.x[0]'


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_file_at_all_causes_anything_but_a_sentence(tmp_path_factory, content):
    """Whatever is in the file, it is read or refused as a configuration."""
    path = tmp_path_factory.mktemp("any") / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with suppress(DriftlineError):
        load_config(str(path), environ={})


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_TREES = st.recursive(_SCALARS, lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=5), t, max_size=3))


@given(
    st.dictionaries(
        st.sampled_from(["kafka", "topics", "outputs", "detectors", "references", "retrain", "labels", "metrics"]),
        _TREES | st.dictionaries(st.sampled_from(["bootstrap", "security", "adwin", "bus", "file", "port"]), _TREES),
    )
)
def test_no_value_anywhere_causes_anything_but_a_sentence(tmp_path_factory, tree):
    """Whatever stands where, it is taken or refused as a setting."""
    path = tmp_path_factory.mktemp("any") / "c.yaml"
    path.write_text(json.dumps(tree))
    with suppress(DriftlineError):
        load_config(str(path), environ={})


def test_a_prefix_names_outputs_dead_letters_and_the_group(load):
    """A name that is given wins. Settings that were noted in a history give the same names."""
    config = load(SMALL + "outputs: {prefix: staging.driftline., alerts: mine}\n")
    assert (config.outputs.alerts, config.outputs.requests) == ("mine", "staging.driftline.retrain-requests")
    assert config.outputs.dead_letters("bus") == "staging.driftline.bus-dlt"
    assert config.outputs.dead_letters(config.outputs.control) == "staging.driftline.control-dlt"
    assert config.kafka.group == "staging.driftline"
    assert Config.model_validate_json(config.settings_text).outputs == config.outputs
    named = load("kafka: {bootstrap: 'b:1', group: g}\ntopics: {bus: {}}\noutputs: {prefix: x.}\n")
    assert named.kafka.group == "g"


def test_without_a_prefix_nothing_moves(load):
    """The default names and the fingerprint of the settings are those of versions without a prefix."""
    config = load(SMALL)
    assert config.outputs.dead_letters("bus") == "bus-dlt"
    assert config.kafka.group == "driftline"
    assert "prefix" not in json.loads(config.settings_text)["outputs"]
