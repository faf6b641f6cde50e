"""Models that sent nothing for long are forgotten: what is kept continues as if they had never been."""

import json
from dataclasses import asdict
from random import Random

import msgspec
import numpy as np
import pytest
from world_kit import DAY_MS, START_MS, bytes_of, fold, fresh_like, kept_models, owner, records, world

from detectors.delivery.flow import FlowSettings
from detectors.registry import settings_of
from detectors.series.id_ring import WAITING
from streamer.detect.inspect import columns_of
from streamer.detect.remap import Survivors
from streamer.detect.settings import LabelSettings, Limits
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch):
    """What is decided after thousands of records is decided after 16."""
    monkeypatch.setattr("streamer.detect.eviction.RECORDS_MIN", 16)


def watched(one, models):
    return [msgspec.to_builtins(asdict(column)) for model in sorted(models) for column in columns_of("u", one, model)]


def numbers_of(one):
    """Of the state, what knows no names: those of columns and categories go by other ids."""
    arrays = one.dump().arrays
    for name in ("labels/meta", "labels/early/meta"):
        arrays[name] = arrays[name][: WAITING + 1]  # without what has been counted
    del arrays["labels/counts"]
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
    forgetful._evict(kept_models(forgetful, gone))
    assert forgetful.context.names.models.names == never.context.names.models.names
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
    subjects = range(len(forgetful.context.subjects.ids))
    kept = np.array([forgetful.context.subjects.name_of(subject, 0)[1] != "0" for subject in subjects])
    forgetful._evict(Survivors(np.ones(len(forgetful.context.names.models), bool), kept))
    assert "0" not in forgetful.context.names.versions.ids
    part = records([one for one in stream if one[0] >= 3500 and is_mine(one[1][1])])
    outputs = forgetful.step(part)
    assert bytes_of(outputs) == bytes_of(never.step(part))
    assert outputs


def test_a_forgotten_state_is_one_like_any_other():
    """It survives a restart, and one more forgetting; what has no model left starts again."""
    stream = list(enumerate(world(9)))
    one = fold()
    one.step(records(stream[:3500]))
    one._evict(kept_models(one, {"m0", "m3"}))
    two = fold()
    two.load(Snapshot.from_bytes(one.dump().to_bytes()))
    for each in (one, two):
        each._evict(kept_models(each, {"m1"}))
        each.step(records(stream[3500:4500]))
    assert one.dump().to_bytes() == two.dump().to_bytes()
    one._evict(kept_models(one, set(one.context.names.models.names)))
    assert (one.models, one.series, len(one.context.subjects.ids)) == (0, 0, 0)
    assert bytes_of(one.step(records(stream[4500:]))) == bytes_of(fresh_like(one).step(records(stream[4500:])))


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
    """Flows, too, have room for ever; a model that comes back is learned again."""
    one = rolling(flows=FlowSettings())
    one.step(records(list(enumerate(fleet(40)))))
    assert len(one.dump().arrays["flow/keys"]) <= 24
    assert "anchor" in one.context.names.models.ids
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
    assert {name.split("-")[0] for name in one.context.names.models.names} == {"june"}
    assert one.models == 20
    late = [(i, (topic, event)) for i, (topic, event) in enumerate(month("june", 21)) if i >= 20 * 24]
    assert one.step(records([(10_000 + i, event) for i, event in late])) == []
    assert outputs


def test_a_full_table_that_has_room_again_is_an_alert_when_it_is_full_again():
    """One alert each time, not one for ever."""
    stream = [*fleet(1, size=40), *fleet(30, size=1), *fleet(1, size=60)]
    outputs = rolling().step(records(list(enumerate(stream))))
    published = [output for output in outputs if output.topic == "driftline.alerts"]
    assert len(published) == 2


@pytest.mark.parametrize("wrong", ["90", "d", 5, -1, "0d"])
def test_spans_that_cannot_be_are_refused(wrong):
    """A number alone, but for 0, has no unit."""
    with pytest.raises(ValueError, match="forget_after"):
        Limits(forget_after=wrong)
