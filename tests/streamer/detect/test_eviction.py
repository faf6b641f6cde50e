"""Models that nothing came of for long are forgotten: what is kept goes on as if they had never been."""

import json
from dataclasses import asdict
from random import Random

import msgspec
import numpy as np
import pytest

from detectors.delivery.absence import AbsenceSettings
from detectors.delivery.flow import FlowSettings
from detectors.registry import settings_of
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.eviction import Survivors
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import columns_of
from streamer.detect.label_join_kernels import WAITING
from streamer.detect.settings import DetectSettings, LabelSettings, Limits, SegmentSettings
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot

START_MS = 1_782_889_200_000
DAY_MS = 86_400_000
DETECTORS = {
    "adwin": settings_of("adwin", clock=8),
    "ks_window": settings_of("ks_window", window=20, reference_size=20),
    "kswin": settings_of("kswin"),
    "category_window": settings_of("category_window", window=30, reference_size=30),
    "category_rates": settings_of("category_rates", baseline_size=40),
    "joint": settings_of("joint"),
    "shiryaev_roberts": settings_of("shiryaev_roberts"),
    "rate": settings_of("rate", baseline_size=40),
}


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch):
    """What is decided after thousands of records is decided after 16."""
    monkeypatch.setattr("streamer.detect.eviction.RECORDS_MIN", 16)


def fold(limits=None, **changed):
    given = {
        "codecs": {"p": JsonCodec(JsonSettings()), "q": JsonCodec(JsonSettings())},
        "detectors": DETECTORS,
        "min_events_after_onset": 120,
        "labels": LabelSettings(watch_lag=True, timeout_s=3 * 86_400),
        "flows": FlowSettings(watch=False),
        "absence": AbsenceSettings(events_min=20),
        "segments": {"*": SegmentSettings("depot", gap_baseline=30)},
        "limits": limits or Limits(),
    }
    return DetectFold(DetectSettings(**(given | changed)))


def world(seed, n=4000):
    """Events of six models and a source on two topics, half of which drift, in order of time: (topic, event)."""
    random = Random(seed)
    late = []
    for i in range(n):
        at, k = START_MS + 60_000 * i, random.randrange(7)
        model, topic = f"m{k}", "pq"[k % 2 and random.random() < 0.5]
        moved = i > n * random.uniform(0.42, 0.45) and k % 2 == 0
        x, depot = random.gauss(3 * moved, 1), random.choice(["north", "south"])
        features = {"x": x, "y": x + random.gauss(0, 1) if not moved else random.gauss(0, 1), f"only{k}": 1}
        features |= {"z": random.choice(["sun", "rain", f"of{k}"]) if not moved else "rain", "depot": depot}
        features |= {"w": None if random.random() < (0.5 if moved else 0.02) else 1.0}
        if moved and i > 0.6 * n:
            del features["y"]
        if k == 6:
            yield topic, {"source": "weather", "event_time": at, "features": features}
            continue
        event = {"model_id": model, "model_version": str(i // 1500 + k // 3), "prediction_id": f"{model}-{i}"}
        yield topic, event | {"event_time": at, "features": features, "prediction": 5.0}
        late.append((topic, event | {"event_time": at, "label": 5.0 + random.gauss(0, 1 + 3 * moved)}))
        if len(late) > 200:
            topic, label = late.pop(0)
            yield topic, label | {"event_time": at}


def records(events):
    """Of numbered events of two topics, the stretches."""
    rows = {"p": [], "q": []}
    for i, (topic, event) in events:
        rows[topic].append((i, event["event_time"], None, json.dumps(event).encode(), ()))
    return [Records.build(topic, 0, row) for topic, row in rows.items()]


def owner(event):
    return event.get("model_id") or f"source:{event['source']}"


def watched(one, models):
    return [msgspec.to_builtins(asdict(column)) for model in sorted(models) for column in columns_of("u", one, model)]


def bytes_of(outputs):
    return [(output.topic, output.key, output.value) for output in outputs]


def numbers_of(one):
    """Of the state, what knows no names: those of columns and categories go by other ids."""
    arrays = one.dump().arrays
    arrays["labels/meta"] = arrays["labels/meta"][: WAITING + 1]  # without what has been counted
    parts = (
        "labels/",
        "gaps/",
        "marks/",
        "absent/",
        "numbers/",
        "living.numbers/",
        "joint/bank/",
        "joint/place",
        "quality/bank/",
    )
    return {name: array.tobytes() for name, array in arrays.items() if name.startswith(parts)}


def kept_models(one, gone):
    models = np.array([name not in gone for name in one.names.models.names])
    return Survivors(models, models[[one.subjects.model_of(s) for s in range(len(one.subjects.ids))]])


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_goes_on_as_if_what_is_forgotten_had_never_been(seed):
    """Every output after it, and all that `columns` shows, are those of a fold that never saw the others."""
    stream = list(enumerate(world(seed)))
    gone = set(Random(seed).sample([*(f"m{k}" for k in range(6)), "source:weather"], 3))
    before = [one for one in stream if one[0] < 3500]
    mine = [one for one in stream if owner(one[1][1]) not in gone]
    forgetful, never = fold(), fold()
    forgetful.step(records(before))
    never.step(records([one for one in mine if one[0] < 3500]))
    forgetful._forget(kept_models(forgetful, gone))
    assert forgetful.names.models.names == never.names.models.names
    assert forgetful.dump().meta["alerts"]["waiting"]
    assert numbers_of(forgetful) == numbers_of(never)
    for start, end in ((3500, 4500), (4500, 10_000)):
        part = records([one for one in mine if start <= one[0] < end])
        outputs = forgetful.step(part)
        assert bytes_of(outputs) == bytes_of(never.step(part))
        assert outputs
    models = {owner(event) for _, (_, event) in stream}
    assert watched(forgetful, models) == watched(never, models)
    assert watched(forgetful, gone) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_version_that_is_forgotten_leaves_the_others_as_they_are(seed):
    """The same of some versions of models that live on."""
    stream = list(enumerate(world(seed)))
    before = [one for one in stream if one[0] < 3500]

    def is_mine(event):
        return event.get("model_version") != "0"

    forgetful, never = fold(), fold()
    forgetful.step(records(before))
    never.step(records([one for one in before if is_mine(one[1][1])]))
    subjects = range(len(forgetful.subjects.ids))
    kept = np.array([forgetful.subjects.name_of(subject, 0)[1] != "0" for subject in subjects])
    forgetful._forget(Survivors(np.ones(len(forgetful.names.models), bool), kept))
    assert "0" not in forgetful.names.versions.ids
    part = records([one for one in stream if one[0] >= 3500 and is_mine(one[1][1])])
    outputs = forgetful.step(part)
    assert bytes_of(outputs) == bytes_of(never.step(part))
    assert outputs


def test_a_forgotten_state_is_one_like_any_other():
    """It survives a restart, and one more forgetting; what has no model left begins anew."""
    stream = list(enumerate(world(9)))
    one = fold()
    one.step(records(stream[:3500]))
    one._forget(kept_models(one, {"m0", "m3"}))
    two = fold()
    two.load(Snapshot.from_bytes(one.dump().to_bytes()))
    for each in (one, two):
        each._forget(kept_models(each, {"m1"}))
        each.step(records(stream[3500:4500]))
    assert one.dump().to_bytes() == two.dump().to_bytes()
    one._forget(kept_models(one, set(one.names.models.names)))
    assert (one.models, one.series, len(one.subjects.ids)) == (0, 0, 0)
    assert bytes_of(one.step(records(stream[4500:]))) == bytes_of(fresh_like(one).step(records(stream[4500:])))


def fresh_like(one):
    """A fold that knows the columns and categories of another, and nothing else."""
    other = fold()
    for table in ("columns", "categories"):
        getattr(other.names, table).load(getattr(one.names, table).names)
    return other


def fleet(days, size=4, each=8):
    """Models that roll over: each day `size` new ones, and `anchor`, which stays."""
    for day in range(days):
        for i in range(each):
            for k in range(size):
                at = START_MS + day * DAY_MS + i * 3_600_000
                yield "p", {"model_id": f"bus-{day}-{k}", "event_time": at, "features": {"x": i}}
            yield "p", {"model_id": "anchor", "event_time": at, "features": {"x": i, "y": 2.0}}


ROOM = Limits(models_max=24, forget_after="2d")


def rolling(limits=ROOM, **changed):
    changed |= {"segments": {}, "labels": LabelSettings(timeout_s=86_400)}
    return fold(limits, detectors={"adwin": settings_of("adwin")}, **changed)


def test_models_that_roll_over_have_room_for_ever():
    """Where nothing is forgotten they are turned away; who stays is not forgotten, and all that go are counted."""
    stream = list(enumerate(fleet(40)))
    one = rolling()
    assert one.step(records(stream)) == []
    assert one.models <= 24
    assert one.models + one.tally["forgotten",] == 40 * 4 + 1
    (x, y) = columns_of("u", one, "anchor")
    assert (x.values, y.values) == (40 * 8, 40 * 8)
    letters = rolling(Limits(models_max=24, forget_after=None)).step(records(stream))
    assert len(letters) == (40 * 4 - 23) * 8 + 1  # and one alert
    assert rolling(Limits(forget_after="2d")).step(records(stream)) == []


def test_it_is_decided_at_the_same_record_in_any_cut():
    """The state is the same byte for byte, however the stream was cut and where it was restarted."""
    stream = list(enumerate(fleet(20)))
    whole = rolling()
    whole.step(records(stream))
    for seed in range(4):
        cuts = sorted(Random(seed).sample(range(len(stream)), 12))
        one = rolling()
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            one.step(records(stream[start:end]))
            state, one = one.dump(), rolling()
            one.load(Snapshot.from_bytes(state.to_bytes()))
        assert one.dump().to_bytes() == whole.dump().to_bytes()


def test_events_with_flows_are_forgotten_with_their_models():
    """Flows, too, have room for ever; a model that comes back is learnt anew."""
    one = rolling(flows=FlowSettings())
    one.step(records(list(enumerate(fleet(40)))))
    assert len(one.dump().arrays["flow/keys"]) <= 24
    assert "anchor" in one.names.models.ids
    back = [("p", {"model_id": "bus-0-0", "event_time": START_MS + 40 * DAY_MS, "features": {"x": 1}})]
    one.step(records([(10_000 + i, event) for i, event in enumerate(back)]))
    (x,) = columns_of("u", one, "bus-0-0")
    assert x.values == 1


@pytest.mark.parametrize("years", [100, -20])
def test_clocks_that_are_wrong_make_nobody_forgotten(years):
    """One model, all of whose events say another century, neither wipes the fleet nor is it wiped."""
    wrong = START_MS + years * 365 * DAY_MS
    stream = []
    for topic, event in fleet(40, size=2):
        stream.append((topic, event))
        if event["model_id"] == "anchor":
            stream += [("p", {"model_id": "mad", "event_time": wrong + len(stream), "features": {"x": 1}})] * 2
    one = rolling(Limits(models_max=12, forget_after="2d"))
    rows = [(i, -1, None, json.dumps(event).encode(), ()) for i, (_, event) in enumerate(stream)]
    assert one.step([Records.build("p", 0, rows)]) == []
    for name, values in (("mad", 2 * 320), ("anchor", 320)):
        assert next(columns_of("u", one, name)).values == values


@pytest.mark.parametrize("what", ["features", "labels"])
def test_a_table_full_of_what_is_gone_is_emptied_by_those_it_turns_away(what):
    """Where all models have other names from one day on, or only labels come, they have room after a while."""

    def month(name, days):
        for i in range(days * 24):
            event = {"model_id": f"{name}-{i % 20}", "event_time": START_MS + i * 3_600_000}
            yield "p", event | ({"features": {"x": i}} if what == "features" else {"prediction_id": "a", "label": 1})

    one = rolling()
    stream = list(enumerate([*month("may", 2), *list(month("june", 20))[48:]]))
    outputs = one.step(records(stream))
    assert {name.split("-")[0] for name in one.names.models.names} == {"june"}
    assert one.models == 20
    late = [(i, (topic, event)) for i, (topic, event) in enumerate(month("june", 21)) if i >= 20 * 24]
    assert one.step(records([(10_000 + i, event) for i, event in late])) == []
    assert outputs


def test_a_full_table_that_has_room_again_is_told_when_it_is_full_again():
    """One alert each time, not one for ever."""
    stream = [*fleet(1, size=40), *fleet(30, size=1), *fleet(1, size=60)]
    outputs = rolling().step(records(list(enumerate(stream))))
    told = [output for output in outputs if output.topic == "driftline.alerts"]
    assert len(told) == 2


@pytest.mark.parametrize("wrong", ["90", "d", 5, -1, "0d"])
def test_spans_that_cannot_be_are_refused(wrong):
    """A number alone, but for 0, has no unit."""
    with pytest.raises(ValueError, match="forget_after"):
        Limits(forget_after=wrong)
