"""Joint drift in the fold: from events to rows of columns, and from alarms to alerts, incidents and requests."""

import json
from itertools import pairwise

import numpy as np
import pytest
from alert_kit import alerts_of
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.registry import settings_of
from streamer.cli import main
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, Limits
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

START_MS = 1_782_889_200_000
N, AT = 3000, 1800  # events a model, and where the dependence turns round


def events(model, seed, turns=True, missing=0.0, version=""):
    """Four columns and a prediction; load and speed go together, and from `AT` on against each other if it turns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 5))
    rho = np.where((np.arange(N) >= AT) & turns, -0.4, 0.8)
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    gone = rng.random((N, 5)) < missing
    for i in range(N):
        names = ("load_t", "speed_kmh", "age", "grade", "weight")
        features = {name: x[i, k] for k, name in enumerate(names) if not gone[i, k]}
        one = {"model_id": model, "event_time": START_MS + 1000 * i, "features": features}
        yield one | ({"prediction": rng.normal(), "model_version": version} if i % 7 or version else {})


def records(lines, first=0):
    rows = [(first + i, -1, b"k", json.dumps(line).encode(), ()) for i, line in enumerate(lines)]
    return Records.build("p", 0, rows)


def fold(**options):
    detectors = {"adwin": settings_of("adwin"), "joint": settings_of("joint", arl0=1e5, **options)}
    return DetectFold(DetectSettings({"p": JsonCodec(JsonSettings())}, detectors, 100, limits=Limits()))


def interleaved(*streams):
    return [line for turn in zip(*streams, strict=True) for line in turn]


@settings(max_examples=5)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 2 * N), max_size=4), st.integers(0, 4))
def test_outputs_and_state_never_depend_on_how_an_epoch_is_cut(seed, cuts, restart):
    """Cut anywhere, and restarted from a dump in between: the same bytes and the same state, alarms and all."""
    lines = interleaved(events("a", seed, missing=0.1), events("b", seed + 1))
    whole, cut = fold(columns=4), fold(columns=4)
    expected = whole.step([records(lines)])
    assert {a["column"] for a in alerts_of(expected)} >= {"joint"}
    outputs, edges = [], [0, *sorted(cuts), len(lines)]
    for i, (begin, end) in enumerate(pairwise(edges)):
        outputs += cut.step([records(lines[begin:end], begin)])
        if i == restart:
            dumped, cut = cut.dump(), fold(columns=4)
            cut.load(Snapshot.from_bytes(dumped.to_bytes()))
    assert outputs == expected
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


def test_an_alert_names_the_columns_and_their_correlation():
    """One drift is one alert on `joint`, first firing, then ready, with the right pair, correlations and onset."""
    found = [a for a in alerts_of(fold().step([records(events("a", 1))])) if a["detector"] == "joint"]
    assert [a["state"] for a in found] == ["firing", "ready"]
    one = found[0]
    assert (one["column"], one["columns"], one["kind"]) == ("joint", ["load_t", "speed_kmh"], "drift")
    assert one["effect_unit"] == "correlation"
    assert one["before"] == pytest.approx(0.8, abs=0.1)
    assert one["after"] == pytest.approx(-0.4, abs=0.3)
    assert abs(one["onset"]["offset"] - AT) <= 48
    assert AT <= one["at"]["offset"] <= AT + 150


def test_onsets_count_events_that_lack_numbers_too():
    """Every second event of the model has no number: the onset is the event's all the same."""
    other = ({"model_id": "a", "event_time": START_MS + 1000 * i, "features": {"text": "sun"}} for i in range(N))
    found = alerts_of(fold().step([records(interleaved(events("a", 1), other))]))
    assert abs(found[0]["onset"]["offset"] - 2 * AT) <= 100


def test_columns_beyond_the_first_ones_and_versions_are_apart():
    """With room for three columns, only the first three are watched; each version of a model has rows of its own."""
    one, other = events("a", 1, version="1"), events("a", 2, turns=False, version="2")
    found = [a for a in alerts_of(fold(columns=3).step([records(interleaved(one, other))])) if a["state"] == "firing"]
    assert [(a["model_version"], a["columns"]) for a in found] == [("1", ["load_t", "speed_kmh"])]


def test_other_settings_start_again():
    """A fold that goes on with more columns learns again, and finds what comes later."""
    lines = list(events("a", 1))
    before, after = fold(columns=2), fold(columns=5)
    before.step([records(lines[:1000])])
    after.load(Snapshot.from_bytes(before.dump().to_bytes()), ["joint"])
    found = alerts_of(after.step([records(lines[1000:], 1000)]))
    assert abs(found[0]["onset"]["offset"] - AT) <= 48


@pytest.fixture
def replayed(tmp_path):
    """A replay of a fleet of eight models, of which one turns; and the arguments that made it."""
    lines = interleaved(*(events(f"m{i}", i, turns=i == 5) for i in range(8)))
    (tmp_path / "fleet.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "d.yaml").write_text("detectors: {joint: , adwin: , ks_window: , rate: }\ntopics: {p: }\n")
    arguments = [str(tmp_path / "fleet.jsonl"), "--topic", "p", "--config", str(tmp_path / "d.yaml")]
    ran = CliRunner().invoke(main, ["replay", *arguments])
    assert ran.exit_code == 0, ran.output
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")], arguments


def test_a_turn_that_no_column_shows_ends_in_a_request(replayed):
    """Of eight models the one is found, by `joint` alone; incident and request name the pair, with the right onset."""
    said, _ = replayed
    fired = [one for one in said if one["type"] == "alert" and one["state"] == "firing"]
    assert [(one["model_id"], one["detector"], one["columns"]) for one in fired] == [
        ("m5", "joint", ["load_t", "speed_kmh"])
    ]
    assert abs(fired[0]["onset"]["offset"] - 8 * AT) <= 8 * 48
    incident = next(one for one in said if one["type"] == "incident")
    assert [move["columns"] for move in incident["columns"]] == [["load_t", "speed_kmh"]]
    requests = [one for one in said if one["type"] == "request"]
    assert [one["model_id"] for one in requests] == ["m5"]
    assert requests[0]["evidence"][0]["columns"] == ["load_t", "speed_kmh"]


def test_what_is_watched_together_is_shown(replayed):
    """`driftline columns` names `joint` with every column that is among them, and how many rows they have had."""
    _, arguments = replayed
    ran = CliRunner().invoke(main, ["columns", "m3", *arguments, "--json"])
    found = {one["column"]: one for one in map(json.loads, ran.stdout.splitlines()) if "column" in one}
    assert found["load_t"]["detectors"] == found["prediction"]["detectors"] == ["adwin", "ks_window", "joint"]
    joint = found["joint"]
    assert (joint["kind"], joint["values"], joint["detectors"], joint["states"]) == ("rows", N, ["joint"], [])
