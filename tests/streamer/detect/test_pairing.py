"""Inputs and outputs of a model in two records are one prediction."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.codecs.base import PairSettings
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings
from streamer.eventlog.base import Records

NOON_MS = 1_795_435_200_000


def fold_of(**pairing):
    codecs = {"t": JsonCodec(JsonSettings(pairing=PairSettings(**pairing))), "other": JsonCodec(JsonSettings())}
    fold = DetectFold(DetectSettings(codecs, {}))
    fold.seen = []
    observe = fold._observe
    fold._observe = lambda chunk: [fold.seen.extend(described(fold, chunk)), observe(chunk)][1]
    return fold


def described(fold, chunk):
    """Each event that goes on: place, time, version, prediction, and its values by name."""
    events, names = chunk.events, fold.context.names
    for i, (a, b) in enumerate(pairwise(events.start.tolist())):
        columns = [names.columns.names[c] for c in events.column[a:b]]
        version = names.versions.names[events.version[i]] if events.version[i] >= 0 else ""
        yield (
            int(events.offset[i]), int(events.event_time_ms[i]) - NOON_MS, version,
            dict(zip(columns, events.number[a:b].tolist(), strict=True)),
        )  # fmt: skip


def records(rows, topic="t", first=0):
    return Records.build(topic, 0, [
        (first + i, NOON_MS + at, None, json.dumps({"model_id": "m", "event_time": NOON_MS + at, **row}).encode(), ())
        for i, (at, row) in enumerate(rows)
    ])  # fmt: skip


def request(key, **more):
    return {"prediction_id": key, "features": {"age": 23.0, "x": 1.5}, **more}


def response(key, **more):
    return {"prediction_id": key, "prediction": 0.5, **more}


WHOLE = {"prediction": 0.5, "age": 23.0, "x": 1.5}


@pytest.mark.parametrize(("first", "second"), [
    (request("a"), response("a", model_version="3")), (request("a", model_version="3"), response("a")),
])  # fmt: skip
def test_a_pair_is_one_event_with_the_version_of_either(first, second):
    """The pair has the time of the request, the place of the later record, and all values, in either order."""
    for rows in ([(0, first), (20, second)], [(0, second), (20, first)]):
        fold = fold_of()
        fold.step([records(rows)])
        time = 0 if "features" in rows[0][1] else 20
        assert fold.seen == [(1, time, "3", WHOLE)]
        assert fold.tally["pairs", "joined"] == 1


def test_what_is_whole_or_has_no_id_passes():
    """Whole events, labels and events without an id do not wait."""
    rows = [
        (0, {**request("a"), "prediction": 0.5}), (1, {"features": {"age": 1.0}}), (2, {"prediction": 2.0}),
        (3, {"prediction_id": "z", "label": 1.0}), (4, response("q", label=1.0)),
    ]  # fmt: skip
    fold = fold_of()
    fold.step([records(rows)])
    assert [offset for offset, *_ in fold.seen] == [0, 1, 2, 3, 4]
    assert fold.tally["pairs", "joined"] == fold.tally["pairs", "alone"] == 0


def test_a_half_goes_on_alone_after_its_time():
    """By the unit's clock, also of another topic's events; the late half then goes on alone too."""
    fold = fold_of(timeout_s=10)
    fold.step([records([(0, request("a")), (5_000, request("b"))])])
    assert fold.seen == []
    fold.step([records([(10_000, {"prediction": 1.0})], "other")])
    assert [offset for offset, *_ in fold.seen] == [0, 0]
    fold.step([records([(14_000, response("b")), (14_001, response("a")), (30_000, {"prediction": 1.0})], first=2)])
    assert [(offset, sorted(values)) for offset, _, _, values in fold.seen[2:]] == [
        (2, ["age", "prediction", "x"]), (3, ["prediction"]), (4, ["prediction"]),
    ]  # fmt: skip
    assert fold.tally["pairs", "alone"] == 2


def test_the_oldest_goes_on_where_too_many_wait():
    """`open_max` bounds what waits."""
    fold = fold_of(open_max=2)
    fold.step([records([(i, request(str(i))) for i in range(5)])])
    assert [offset for offset, *_ in fold.seen] == [0, 1, 2]
    assert len(fold.pairing) == 2


def test_the_same_half_again_lets_the_first_go():
    """Two requests of one id: the first goes on alone, the second waits. An equal one is a repeat."""
    fold, other = fold_of(), request("a", features={"age": 24.0, "x": 1.5})
    fold.step([records([(0, request("a")), (1, other), (2, other), (3, response("a"))])])
    assert [(offset, len(values)) for offset, _, _, values in fold.seen] == [(0, 2), (3, 3)]
    assert fold.tally["repeated_events", "t"] == 1


events = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abcd"), st.booleans(), st.sampled_from([None, "1", "2"])), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(events, st.lists(st.integers(0, 40), max_size=5), st.integers(1, 3), st.booleans())
def test_cuts_and_checkpoints_change_nothing(drawn, cuts, open_max, is_restored):
    """Any cut of the records, also with the state dumped and loaded between, gives the same events."""
    rows = [
        (1000 * i * step, {**(request(key) if is_request else response(key)), **({"model_version": v} if v else {})})
        for i, (step, key, is_request, v) in enumerate(drawn)
    ]
    whole = fold_of(timeout_s=4, open_max=open_max)
    whole.step([records(rows)])
    fold, seen = fold_of(timeout_s=4, open_max=open_max), []
    edges = sorted({0, *(min(cut, len(rows)) for cut in cuts), len(rows)})
    for a, b in pairwise(edges):
        fold.step([records(rows[a:b], first=a)])
        if is_restored:
            seen += fold.seen
            snapshot = fold.dump()
            fold = fold_of(timeout_s=4, open_max=open_max)
            fold.load(snapshot)
    assert seen + fold.seen == whole.seen


def test_an_eviction_keeps_what_waits_of_survivors():
    """The ids of models and versions that survive are those of the halves that wait."""
    from streamer.detect.intake import Pairing
    from streamer.detect.remap import Remap, Remaps

    fold = fold_of()
    rows = [(i, {**request(str(i), model_version=str(i)), "model_id": f"m{i}"}) for i in range(3)]
    fold.step([records(rows)])
    kept = Remap.of(np.array([False, True, True]))
    found = Pairing.remap(fold.pairing.dump(), Remaps(kept, kept, kept, kept, {}))
    assert (found["model"].tolist(), found["version"].tolist(), found["offset"].tolist()) == ([0, 1], [0, 1], [1, 2])
    assert found["start"].tolist() == [0, 2, 4]
