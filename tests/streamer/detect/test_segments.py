"""Segments: the same columns by depot, found where the whole looks fine, and no false alert."""

import json
from itertools import pairwise

import numpy as np
import pytest
from alert_kit import alerts_of
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from segment_kit import DEPOTS, START_MS, events, fired, fold, records

from detectors.reference import Reference
from streamer.cli import main
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.inspect import columns_of
from streamer.detect.references.table import References
from streamer.detect.settings import SegmentSettings
from streamer.runtime.snapshot import Snapshot

CONFIG = """
topics: {events: {}}
detectors: {adwin: {}, rate: {}}
segments: {"bus-*": {by: depot}}
retrain: {min_events_after_onset: 100}
"""


def wild(seed, n=500):
    """Events of models with and without segments, of many kinds of values, with late labels."""
    rng = np.random.default_rng(seed)
    values = [*DEPOTS, "", "(other)", 7, 7.0, "7", -3, 2.5, True, None, [1], 1e300, *(f"depot-{i}" for i in range(20))]
    for i in range(n):
        model = ("bus-1", "bus-2", "train")[rng.integers(3)]
        trip = {"model_id": model, "prediction_id": str(i), "event_time": START_MS + 1000 * i}
        x = float(rng.normal() + 3 * (i > n / 2))
        features = {"x": x, "depot": values[rng.integers(len(values))]}
        if rng.random() < 0.1:
            del features["depot"]
        if rng.random() < 0.1:
            features["x"] = None
        yield trip | {"features": features, "prediction": x}
        of = int(rng.integers(i + 1))
        yield {
            "model_id": model,
            "prediction_id": str(of),
            "event_time": START_MS + 1000 * i,
            "label": float(rng.normal()),
        }
        if rng.random() < 0.2:
            yield trip | {"prediction_id": None, "features": features, "prediction": x, "label": 0.0}
        yield {"source": "weather", "event_time": START_MS + 1000 * i, "features": {"depot": "north", "t": x}}


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 2000), max_size=5), st.integers(1, 4))
@example(4668, [129], 4)
def test_outputs_and_state_never_depend_on_how_an_epoch_is_cut(seed, cuts, segments_max):
    """Cut anywhere, and restarted from a dump at each cut, the fold gives the same bytes and the same state."""
    changes = {
        "segments": {
            "bus-*": SegmentSettings("depot", segments_max, 30, 0.0, 100),
            "source:*": SegmentSettings("depot"),
        },
        "min_events_after_onset": 20,
    }
    stretch = records(wild(seed))
    whole, cut = fold(**changes), fold(**changes)
    expected, outputs = whole.step([stretch]), []
    for a, b in pairwise(sorted({0, len(stretch), *(c for c in cuts if c < len(stretch))})):
        outputs += cut.step([stretch.part(a, b)])
        dumped, cut = cut.dump(), fold(**changes)
        cut.load(Snapshot.from_bytes(dumped.to_bytes()))
    assert outputs == expected
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_alarms_where_nothing_moves(seed):
    """Sixteen thousand trips of four depots, with labels, and not one alert."""
    assert fired(fold().step([records(events(16_000, seed=seed))])) == []


def test_a_segment_that_drifts_is_found_where_the_whole_looks_fine():
    """One trip in sixteen is from the north: its shift by one standard deviation is lost in the whole, and found."""
    stream = list(events(16_000, shift=1.0, at=0.6))
    outputs = fold().step([records(stream)])
    assert fired(outputs) == [("depot=north", "x", "adwin")]
    first, became_ready = alerts_of(outputs)
    assert first["model_id"] == "bus-1"
    assert abs(first["onset"]["offset"] / len(stream) - 0.6) < 0.03
    north = [i for i, event in enumerate(stream) if event.get("features", {}).get("depot") == "north"]
    passed = [offset for offset in north if first["onset"]["offset"] <= offset <= became_ready["ready_at"]["offset"]]
    assert abs(len(passed) - 100) <= 16  # enough events of the segment; an onset between marks is interpolated
    assert fired(fold(segments={}).step([records(stream)])) == []


def test_errors_belong_to_the_segment_of_their_prediction():
    """Labels come without a depot; the north's error drifts, and differs from the other depots' by more than it did."""
    outputs = fold().step([records(events(16_000, worse=4.0))])
    assert {("depot=north", "error", "adwin"), ("depot=north", "error", "segment_gap")} <= {*fired(outputs)}
    assert {segment for segment, _, _ in fired(outputs)} <= {"", "depot=north"}
    (gap,) = [a for a in alerts_of(outputs) if a["detector"] == "segment_gap"]
    assert (gap["kind"], gap["effect_unit"], gap["state"]) == ("segment_gap", "rank_biserial", "firing")
    assert gap["after"] > 2 * gap["before"]
    assert 0.4 < gap["effect"] < 0.95


def test_no_two_alerts_share_an_id():
    """Segments that alert with the same event as their model, or one another, have ids of their own."""
    stream = [
        {"model_id": "m", "event_time": START_MS + 1000 * i, "features": {"x": float(i > 900), "depot": "north"}}
        for i in range(1200)
    ]
    published = [a for a in alerts_of(fold().step([records(stream)])) if a["state"] == "firing"]
    assert {a["at"]["offset"] for a in published} == {published[0]["at"]["offset"]}
    assert [a["segment"] for a in published] == ["", "depot=north"]
    assert len({a["alert_id"] for a in published}) == 2


def test_values_make_segments():
    """Text and whole numbers do, 7 and "7" the same one; what is missing, broken or a fraction makes none."""
    values = ["north", 7, "7", 7.0, -3, True, "", 2.5, None, [1], 1e300]
    stream = [{"model_id": "m", "event_time": i, "features": {"x": 1.0, "depot": v}} for i, v in enumerate(values)]
    one = fold()
    one.step([records(stream)])
    counts = {c.segment: c.values for c in columns_of("detect-0", one, "m") if c.column == "x"}
    assert counts == {"": 11, "depot=north": 1, "depot=7": 3, "depot=-3": 1, "depot=1": 1, "depot=": 1}
    assert [c.segment for c in columns_of("detect-0", one, "m") if c.column == "depot"] == [""]


def test_segments_are_bounded_and_what_is_beyond_is_counted():
    """The first two have their own; all others are one, and their events are counted as such."""
    stream = [{"model_id": "m", "event_time": i, "features": {"x": 1.0, "depot": f"d{i % 5}"}} for i in range(100)]
    one = fold(segments={"*": SegmentSettings("depot", segments_max=2)})
    one.step([records(stream)])
    counts = {c.segment: c.values for c in columns_of("detect-0", one, "m") if c.column == "x"}
    assert counts == {"": 100, "depot=d0": 20, "depot=d1": 20, "depot=(other)": 60}
    assert one.tally["segments_overflow",] == 60


def test_the_first_pattern_that_fits_counts():
    """Each model by its own column, or by none."""
    settings_of = {"bus-*": SegmentSettings("depot"), "*-x": SegmentSettings("line")}
    one = fold(segments=settings_of)
    features = {"depot": "north", "line": "5"}
    one.step(
        [records({"model_id": m, "event_time": i, "features": features} for i, m in enumerate(["bus-x", "a-x", "a"]))]
    )
    seen = {m: {c.segment for c in columns_of("detect-0", one, m)} for m in ["bus-x", "a-x", "a"]}
    assert seen == {"bus-x": {"", "depot=north"}, "a-x": {"", "line=5"}, "a": {""}}


def test_a_field_of_the_producers_can_name_the_segment():
    """`fields.segment` makes a feature `segment` of it, for predictions with and without features; labels need none."""
    codec = JsonCodec(JsonSettings(fields=FieldMap(segment="$.where.depot")))
    one = fold(codecs={"events": codec}, segments={"*": SegmentSettings("segment")})
    where = {"where": {"depot": "north"}}
    stream = [
        {"model_id": "m", "prediction_id": "1", "event_time": 1, "features": {"x": 1.0}, "prediction": 1.0} | where,
        {"model_id": "m", "prediction_id": "2", "event_time": 2, "prediction": 1.0} | where,
        {"model_id": "m", "prediction_id": "1", "event_time": 3, "label": 2.0} | where,
        {"model_id": "m", "prediction_id": "3", "event_time": 4, "features": {"x": 1.0}},
    ]
    assert not one.step([records(stream)])
    counts = {(c.segment, c.column): c.values for c in columns_of("detect-0", one, "m")}
    of_north = {column: n for (segment, column), n in counts.items() if segment == "segment=north"}
    assert of_north == {"x": 1, "prediction": 2, "error": 1, "joint": 1}
    assert counts["", "segment"] == 2


def test_training_data_of_a_segment_stand_under_its_name():
    """A reference of the model is not taken for that of its segments, which may have their own."""
    references = References(
        {("m", "", "x"): Reference.of([0.0] * 50, 40), ("m/depot=north", "", "x"): Reference.of([1.0] * 50, 40)}
    )
    one = fold(detectors={"ks_window": ks()}, references=references)
    one.step(
        [records({"model_id": "m", "event_time": i, "features": {"x": 1.0, "depot": d}} for i, d in enumerate(DEPOTS))]
    )
    compared = {c.segment: c.reference for c in columns_of("detect-0", one, "m") if c.column == "x"}
    assert compared[""] == references.by_series[("m", "", "x")].digest
    assert compared["depot=north"] == references.by_series[("m/depot=north", "", "x")].digest
    assert compared["depot=south"] == ""


def test_segments_may_be_turned_on_and_off():
    """The state of a service without them serves one with them, and the other way round; predictions that wait too."""
    with_them, without = {"segments": {"*": SegmentSettings("depot")}}, {"segments": {}}
    stretch = records(events(600))
    half = stretch.part(0, 600), stretch.part(600, len(stretch))
    for before, after in ((with_them, without), (without, with_them)):
        first, second = fold(**before), fold(**after)
        first.step([half[0]])
        second.load(first.dump())
        second.step([half[1]])
        found = {(c.segment, c.column): c.values for c in columns_of("detect-0", second, "bus-1")}
        assert found["", "error"] == 500
        assert (("depot=south", "error") in found) is True


def test_a_replay_finds_the_segment_that_drifts_and_asks_for_a_retrain(tmp_path):
    """End to end: one incident, whose evidence names the segment; a retrain of the model, and nothing else."""
    (tmp_path / "driftline.yaml").write_text(CONFIG)
    stream = [*events(16_000, shift=1.0, at=0.6), *events(4000, model="bus-2", seed=9)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, stream)))
    arguments = [str(tmp_path / "r.jsonl"), "--config", str(tmp_path / "driftline.yaml"), "--topic", "events"]
    ran = CliRunner().invoke(main, ["replay", *arguments])
    assert ran.exit_code == 0, ran.output
    published = [one for line in ran.stdout.splitlines() if (one := json.loads(line))["type"] != "profile"]
    assert {(a["model_id"], a["segment"], a["column"]) for a in published if a["type"] == "alert"} == {
        ("bus-1", "depot=north", "x")
    }
    assert {i["incident_id"] for i in published if i["type"] == "incident"} == {published[-1]["incident_id"]}
    (request,) = [one for one in published if one["type"] == "request"]
    assert [(move["segment"], move["column"]) for move in request["evidence"]] == [("depot=north", "x")]
    shown = CliRunner().invoke(main, ["columns", "bus-1", *arguments])
    assert "no version, depot=north on events, as of detect-0:" in shown.stdout
    assert "no version on events, as of detect-0:" in shown.stdout


def ks():
    from detectors.registry import settings_of

    return settings_of("ks_window", window=40, reference_size=40)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"by": ""}, "by is empty"),
        ({"segments_max": 255}, "segments_max is 255"),
        ({"gap_baseline": 5}, "gap_baseline is 5"),
        ({"gap_min": 1.0}, "gap_min is 1.0"),
        ({"gap_arl0": 1.0}, "gap_arl0 is 1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, what):
    """The message names the setting and its value."""
    with pytest.raises(ValueError, match=what):
        SegmentSettings(**{"by": "depot"} | wrong)
