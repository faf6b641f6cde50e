"""Profiles of a fold: published at the same event with the same bytes, however the stream is read."""

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from world_kit import kept_models

from detectors.profile.bank import ProfileSettings
from detectors.reference import CategoryReference, Reference
from streamer.codecs import CODECS
from streamer.contracts.profiles import READ, profile_objects, read_profiles
from streamer.detect.fold import DetectFold
from streamer.detect.references.table import References
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records
from streamer.events import time_of
from streamer.runtime.snapshot import Snapshot

HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000
TOPIC, PROFILES = "events", "driftline.profiles"


def stream(n=1200, seed=1):
    """Three models with numbers, categories, missing and faulty values; a version and a shift in the middle."""
    random, rows = Random(seed), []
    for i in range(n):
        ms = START_MS + i * 60_000 - random.choice([0, 0, 90_000])
        features = {
            "a": random.gauss(3.0 if i > n // 2 else 0.0, 1.0), "c": random.choice("xxyz"), "k": random.randrange(2),
            "gap": None if random.random() < 0.3 else 1.5,
        }  # fmt: skip
        event = {
            "model_id": f"m{i % 3}", "model_version": str(1 + (i > n // 2)),
            "event_time": time_of(ms).isoformat().replace("+00:00", "Z"), "features": features, "prediction": 1.0,
        }  # fmt: skip
        rows.append((i, ms, None, json.dumps(event).encode(), ()))
    return rows


STREAM = stream()


def fold(**changed):
    settings, codec = CODECS["json"]
    profiles = changed.pop("profiles", ProfileSettings(publish=True, interval_s=3600, values_min=20))
    return DetectFold(DetectSettings({TOPIC: codec(settings())}, {}, profiles=profiles, **changed))


def records(rows):
    return [Records.build(TOPIC, 0, rows)]


def profiles_of(outputs):
    return [(output.key, output.value) for output in outputs if output.topic == PROFILES]


def objects(outputs):
    return [one for _, value in profiles_of(outputs) for one in profile_objects(read_profiles(value))]


def test_each_interval_of_each_column_is_published_once():
    """Count, missing values and mean are those of the events between two full hours of the unit's clock."""
    found = objects(fold().step(records(STREAM)))
    first = [one for one in found if one["end"] == "2026-01-01T01:00:00Z"]
    assert {(one["model_id"], one["column"]) for one in first} == {
        (f"m{k}", column) for k in range(3) for column in ("a", "c", "k", "gap", "prediction")
    }
    events = [json.loads(row[3]) for row in STREAM]
    clock, hour = np.maximum.accumulate([row[1] for row in STREAM]), START_MS // HOUR_MS
    mine = [e for e, ms in zip(events, clock, strict=True) if ms // HOUR_MS == hour and e["model_id"] == "m1"]
    (one,) = (one for one in first if (one["model_id"], one["column"]) == ("m1", "a"))
    assert one["count"] == len(mine)
    assert one["mean"] == pytest.approx(np.mean([e["features"]["a"] for e in mine]), abs=0.05)
    (gap,) = (one for one in first if (one["model_id"], one["column"]) == ("m1", "gap"))
    assert gap["missing"] == sum(e["features"]["gap"] is None for e in mine)
    keys = [(one["end"], one["model_id"], one["model_version"], one["column"]) for one in found]
    assert len(set(keys)) == len(keys)
    assert {one["model_version"] for one in found} == {"1", "2"}


@examples(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=6, unique=True), st.booleans())
def test_cuts_and_restarts_never_show(cuts, owned):
    """Live, replay and recovery at any event give the same messages and the same state, byte for byte."""
    whole, cut, found = fold(), fold(), []
    expected = profiles_of(whole.step(records(STREAM)))
    cuts = sorted(cuts)
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        found += profiles_of(cut.step(records(STREAM[start:end])))
        data, cut = cut.dump().to_bytes(), fold()
        cut.load(Snapshot.from_private(np.frombuffer(data, np.uint8).copy()) if owned else Snapshot.from_bytes(data))
    assert expected
    assert found == expected
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


def test_survivors_of_an_eviction_do_not_notice_it():
    """The profiles of other models are those of a fold that evicts nothing."""
    forgetful, keeping = fold(), fold()
    for one in (forgetful, keeping):
        one.step(records(STREAM[:500]))
    forgetful._evict(kept_models(forgetful, {"m0"}))
    rest = [row for row in STREAM[500:] if json.loads(row[3])["model_id"] != "m0"]
    mine = [one for one in objects(keeping.step(records(rest))) if one["model_id"] != "m0"]
    found = objects(forgetful.step(records(rest)))
    assert found == mine
    assert found


def test_training_data_are_the_reference():
    """Columns with training data are compared from the first interval on; the shift shows in KS."""
    random = np.random.default_rng(1)
    references = References({
        ("m1", "", "a"): Reference.of(random.normal(size=2000), 2000),
        ("m1", "", "c"): CategoryReference.of({"x": 500, "y": 250, "z": 250}),
    })  # fmt: skip
    found = [one for one in objects(fold(references=references).step(records(STREAM))) if one["model_id"] == "m1"]
    of = {name: [one for one in found if one["column"] == name] for name in ("a", "c", "k")}
    assert all(one["trained"] and one["compared"] for one in of["a"] + of["c"])
    assert not any(one["trained"] for one in of["k"])
    assert of["a"][0]["ks"] < of["a"][0]["ks_chance"] + 0.1
    assert of["a"][-1]["ks"] > 0.7 > of["a"][-1]["ks_chance"]
    assert set(of["c"][0]["categories"]) == {"x", "y", "z"}


def test_one_setting_switches_profiles_off():
    """Then there is no message and no state."""
    off = fold(profiles=ProfileSettings(publish=False))
    assert profiles_of(off.step(records(STREAM))) == []
    assert not [name for name in off.dump().arrays if name.startswith("profile/")]


def test_other_settings_go_on_with_the_state():
    """Intervals of another length, a fold that had no profiles, and other training data: each goes on."""
    before = fold()
    before.step(records(STREAM[:300]))
    longer = fold(profiles=ProfileSettings(publish=True, interval_s=7200, values_min=20))
    longer.load(before.dump())
    ends = {one["end"] for one in objects(longer.step(records(STREAM[300:])))}
    assert ends
    assert all(int(end[11:13]) % 2 == 0 for end in ends)
    off = fold(profiles=ProfileSettings(publish=False))
    off.step(records(STREAM[:300]))
    later = fold()
    later.load(off.dump())
    assert objects(later.step(records(STREAM[300:])))
    trained = fold(references=References({("m1", "", "a"): Reference.of([1.0, 2.0] * 50, 100)}))
    trained.load(before.dump())
    assert any(one["trained"] for one in objects(trained.step(records(STREAM[300:]))))


def test_a_long_interval_is_cut_into_messages(monkeypatch):
    """Parts have keys of their own, and together they are all rows."""
    whole = objects(fold().step(records(STREAM)))
    monkeypatch.setattr("streamer.contracts.profiles.ROWS_MAX", 4)
    outputs = fold().step(records(STREAM))
    assert objects(outputs) == whole
    assert len({key for key, _ in profiles_of(outputs)}) == len(profiles_of(outputs))
    assert profiles_of(outputs)[1][0].endswith(b"/1")


def test_a_message_is_read_with_the_documented_columns():
    """The table has the columns of `READ`; other bytes are an error."""
    (_, value) = profiles_of(fold().step(records(STREAM)))[0]
    assert read_profiles(value).schema == READ
    with pytest.raises(ValueError, match=r"Arrow|no profile|Invalid|Expected|Tried"):
        read_profiles(b"not Arrow at all")


def test_settings_name_the_defaults():
    """A day, fifty values, and on unless a configuration switches profiles off."""
    assert ProfileSettings() == ProfileSettings(True, 86_400, 50)
