"""Laws of the codec `json`: it equals the plain oracle, the cut never shows, and no bytes make it raise."""

from __future__ import annotations

import json
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from codec_oracle import COLUMNS, Oracle, columns_of, decode, records_of, tables_of
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.codecs import values as values_module
from streamer.codecs.base import Reason
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.events import Names

numbers = st.one_of(st.floats(), st.integers(-10, 10), st.integers(-(10**30), 10**30), st.just(10**320), st.booleans())
number_texts = ["1.5", "-0.50", "0", "1e3", "12345678901234567", "9e999", "-"]
texts = st.sampled_from(
    ["rain", "snow", "fog", "hail", "é", "", "NaN", "007", "1.", "+1", "true", "False", *number_texts]
)
values = st.one_of(numbers, numbers, st.none(), texts, st.just([1]), st.just({"a": 1}))
plain_features = st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False), max_size=4)
text_features = st.fixed_dictionaries(
    {"a": texts, "b": st.one_of(texts, values), "c": st.sampled_from(number_texts[:5])}
)  # one layout, so many rows at once
odd_features = st.dictionaries(st.sampled_from([*"abcdefg", "prediction", "error"]), values, max_size=6)
identifiers = st.one_of(st.sampled_from(["m1", "m2", "m3", "é", ""]), st.integers(0, 3), st.none())
odd_identifiers = st.one_of(identifiers, identifiers, st.sampled_from([1.5, True, ["m1"], {}]))
times = st.sampled_from(
    ["2026-11-23T11:00:00Z", "2026-11-23T11:00:00.123456+02:00", "2026-11-23T11:00:00.5", 1_795_431_600, 1.7954316001e9]
)
odd_times = st.one_of(
    times, times, times, st.none(), st.sampled_from(["", "noon", "2027-01-01T00:00:00Z", -1, 1e18, True, [], 0])
)
usual = st.fixed_dictionaries(
    {
        "model_id": st.sampled_from(["m1", "m2", "m3"]),
        "event_time": times,
        "features": st.one_of(plain_features, text_features),
    },
    optional={"prediction": st.floats(-5, 5), "prediction_id": st.text(max_size=9), "model_version": identifiers},
)
odd = st.fixed_dictionaries(
    {},
    optional={
        "model_id": odd_identifiers,
        "model_version": odd_identifiers,
        "prediction_id": odd_identifiers,
        "source": odd_identifiers,
        "event_time": odd_times,
        "features": st.one_of(odd_features, odd_features, odd_features, st.none(), st.just([1]), st.just("rain")),
        "prediction": values,
        "label": values,
        "segment": values,
    },
)
several = st.lists(st.one_of(usual, usual, usual, usual, odd), max_size=4)
one = st.one_of(usual, usual, odd, odd, st.sampled_from([None, [], 7, "text"]))
documents = st.one_of(st.lists(one, max_size=12), st.lists(st.one_of(one, several), max_size=12))
broken = st.sampled_from([b"", b"{", b'{"model_id": "\\ud800"}', b"\xff\xfe", b"[" * 900, b'{"model_id": NaN}'])
limits = st.sampled_from([{}, {"models_max": 2, "columns_max": 5, "categories_max": 3}])


def test_the_columns_have_no_others_than_the_oracle_checks():
    """Each array of an EventBatch is one that the oracle also makes."""
    assert set(columns_of(decode()[0])) == set(COLUMNS)


@contextmanager
def by_layout(wanted):
    """Layout by layout, or value by value as where hardly two events have the same features in the same order."""
    few = patch.object(values_module, "LAYOUTS_FEW", 10**9 if wanted else -1)
    with few, patch.object(values_module, "EVENTS_OF_LAYOUT", 10**9):
        yield


@given(documents, limits, st.sampled_from([3, 10_000]), st.booleans())
@settings(max_examples=800, deadline=None)
def test_columns_equal_the_plain_oracle(events, limits, values_max, layouts):
    """Columns, ids, tables, reasons and dropped values are those found by looking at one value at a time."""
    records = records_of(events)
    names = Names.fresh(**limits)
    with by_layout(layouts):
        batch, dead = JsonCodec(JsonSettings(values_max=values_max)).decode(records, names)
    oracle = Oracle(Names.fresh(**limits), values_max)
    oracle.fold(records)
    assert dict(zip(dead.index, dead.reason, strict=True)) == oracle.reasons
    assert columns_of(batch) == oracle.columns
    assert tables_of(names) == tables_of(oracle.names)
    assert batch.dropped == oracle.dropped


@given(documents, limits)
@settings(max_examples=200, deadline=None)
def test_the_mapped_path_equals_the_canonical_one(events, limits):
    """A map that says the canonical names in other words gives the same columns, by way of plain dictionaries."""
    mapped = JsonSettings(fields=FieldMap(model_id="$['model_id']", features="$['features']"))
    results = []
    for chosen in (JsonSettings(), mapped):
        names = Names.fresh(**limits)
        batch, dead = decode(*events, settings=chosen, names=names)
        results.append((columns_of(batch), dead.index, dead.reason, tables_of(names), batch.dropped))
    assert results[0] == results[1]


@given(st.lists(st.one_of(usual, odd, broken, st.none()), max_size=16), st.data(), limits)
@settings(max_examples=600, deadline=None)
def test_the_cut_never_shows(events, data, limits):
    """Decoding a stretch in any pieces gives the same columns, dead letters and name ids, bit for bit."""
    records = records_of(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4), label="cuts"))
    codec = JsonCodec(JsonSettings())
    names, names_of_parts = Names.fresh(**limits), Names.fresh(**limits)
    with by_layout(data.draw(st.booleans(), label="layouts")):
        whole, dead = codec.decode(records, names)
    parts, letters = [], []
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        part, dead_part = codec.decode(records.part(start, end), names_of_parts)
        parts.append(part)
        letters += [
            (start + i, *rest) for i, *rest in zip(dead_part.index, dead_part.reason, dead_part.detail, strict=True)
        ]
    for name in COLUMNS:
        arrays = [np.diff(part.start) if name == "start" else getattr(part, name) for part in parts]
        expected = np.diff(whole.start) if name == "start" else getattr(whole, name)
        assert np.concatenate(arrays).tobytes() == expected.tobytes(), name
        assert all(array.dtype == expected.dtype for array in arrays)
    assert letters == list(zip(dead.index, dead.reason, dead.detail, strict=True))
    assert tables_of(names) == tables_of(names_of_parts)
    assert first_turned_away([whole]) == first_turned_away(parts)


def first_turned_away(batches):
    """Of each limit the first that had no room."""
    first = {}
    for away in [away for batch in batches for away in batch.turned_away]:
        first.setdefault(away.limit, away)
    return first


@given(st.lists(st.one_of(usual, broken), max_size=10))
@settings(deadline=None)
def test_a_bad_record_leaves_its_neighbours_alone(events):
    """The good records of a stretch decode as they would without the bad ones."""
    good = [e for e in events if not isinstance(e, bytes)]
    mixed, alone = columns_of(decode(*events)[0]), columns_of(decode(*good)[0])
    del mixed["offset"], alone["offset"]
    assert mixed == alone


mutated = st.builds(
    lambda event, at, piece: (raw := json.dumps(event).encode())[: at % (len(raw) + 1)] + piece + raw[at % len(raw) :],
    st.one_of(usual, odd.filter(bool)),
    st.integers(0, 1000),
    st.binary(max_size=6),
)


@given(st.lists(st.one_of(st.binary(max_size=60), mutated), max_size=6), st.sampled_from(["$.features", "$"]))
@settings(max_examples=400, deadline=None)
def test_no_bytes_make_it_raise(values, features):
    """Any bytes are either an event or a dead letter with a reason and a sentence of at most 200 characters."""
    names = Names.fresh()
    batch, dead = decode(*values, settings=JsonSettings(fields=FieldMap(features=features)), names=names)
    assert len(batch) + len(dead) == len(values)
    assert all(0 < len(detail) <= 200 for detail in dead.detail)
    assert not np.isinf(batch.number).any()
    for table in tables_of(names):
        "".join(table).encode()


@given(st.integers(0, 700), st.sampled_from([b"[", b'{"a":']), st.sampled_from([b"segment", b"features"]))
@settings(deadline=None)
def test_depth_is_refused_at_one_level_whatever_the_stack(depth, opening, where):
    """The bound on nesting does not depend on how deep the caller's own stack is."""
    closing = b"]" if opening == b"[" else b"}"
    inner = opening * depth + b"1" + closing * depth
    value = b'{"model_id": "m", "features": {"b": 1, "a": %b}}' if where == b"features" else (
        b'{"model_id": "m", "features": {"b": 1}, "segment": {"x": %b}}'
    )  # fmt: skip

    def at_depth(frames: int):
        return at_depth(frames - 1) if frames else decode(value % inner)

    for frames in (0, 150):
        _, dead = at_depth(frames)
        assert dead.reason == ([Reason.TOO_DEEP] if depth + 2 > 400 else [])
