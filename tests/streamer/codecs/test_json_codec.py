"""What the codec `json` makes of single records."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from codec_oracle import NOON_MS, columns_of, decode, join_id, records_of

from streamer.codecs.base import Reason
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.events import MISFIT, NUMBER, OTHER_CATEGORY, TEXT_NUMBER, EventKind, Names

PREDICTION = {
    "model_id": "bus-099",
    "model_version": "7",
    "prediction_id": "b1f",
    "event_time": "2026-11-23T07:16:00Z",
    "features": {"headway_s": 412.0, "weather": "rain"},
    "prediction": 371.2,
    "segment": {"depot": "north"},
}
LABEL = {"model_id": "bus-099", "prediction_id": "b1f", "event_time": "2026-11-23T07:25:41Z", "label": 402.0}
SOURCE = {"source": "weather", "event_time": "2026-11-23T07:16:00Z", "features": {"temp_c": 4.5}}
SMALL = {"model_id": "m", "features": {"a": 1}}


def only_number(value, **more):
    batch, dead = decode({"model_id": "m", "features": {"a": value}, **more})
    assert not len(dead)
    return batch.number[0], batch.category[0]


def test_the_events_of_the_design_become_columns():
    """A prediction, its label and a source's event carry what the contract says, and the join id ties the first two."""
    names = Names.fresh()
    batch, dead = decode(PREDICTION, LABEL, SOURCE, names=names)
    assert not len(dead)
    assert batch.topic == "topic"
    assert batch.partition == 3
    assert columns_of(batch) == {
        "kind": [EventKind.PREDICTION, EventKind.LABEL, EventKind.SOURCE],
        "model": [0, 0, 1],
        "version": [0, -1, -1],
        "event_time_ms": [1_795_418_160_000, 1_795_418_741_000, 1_795_418_160_000],
        "offset": [100, 101, 102],
        "row": [0, 0, 0],
        "join_id": [join_id("bus-099", "b1f"), join_id("bus-099", "b1f"), 0],
        "prediction": [371.2, None, None],
        "label": [None, 402.0, None],
        "start": [3, 0, 1],
        "column": [0, 2, 3, 4],
        "number": [371.2, 412.0, None, 4.5],
        "category": [NUMBER, NUMBER, 1, NUMBER],
    }
    assert names.models.names == ["bus-099", "source:weather"]
    assert names.columns.names == ["prediction", "error", "headway_s", "weather", "temp_c"]
    assert names.categories.names == ["(other)", "rain"]


def test_no_records_make_an_empty_batch():
    """An empty stretch decodes to nothing, with arrays of the right types."""
    batch, dead = decode()
    assert (len(batch), len(dead), batch.start.tolist()) == (0, 0, [0])
    assert (batch.kind.dtype, batch.join_id.dtype, batch.column.dtype) == (np.uint8, np.uint64, np.int32)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"1", 1.0),
        (b"-2.5e3", -2500.0),
        (b"true", 1.0),
        (b"false", 0.0),
        (b"9007199254740993", 9007199254740992.0),
        (b"123456789012345678901234567890", 1.2345678901234568e29),
        (b"1e-320", 1e-320),
        (b"null", math.nan),
        (b"NaN", math.nan),
        (b"-Infinity", math.nan),
        (b"1e999", math.nan),
        (b"9" * 400, math.nan),
        (b"9" * 100_000, math.nan),
    ],
    ids=lambda v: str(v)[:20],
)
def test_numbers(value, number):
    """Numbers and booleans are doubles, rounded right; null and whatever is not finite is missing."""
    batch, dead = decode(b'{"model_id": "m", "features": {"a": %b}}' % value)
    assert not len(dead), dead.detail
    assert batch.category.tolist() == [NUMBER]
    np.testing.assert_array_equal(batch.number, [number])


@pytest.mark.parametrize("value", [[[1, 2]], [{"x": 1}], list(range(17)), [], {}])
def test_lists_and_objects_that_are_not_opened_are_misfits(value):
    """They are kept as a type fault, not refused."""
    number, category = only_number(value)
    assert math.isnan(number)
    assert category == MISFIT


def test_texts_are_categories_and_may_read_as_numbers():
    """Equal texts have equal ids over all columns; a text that reads as a number takes no room in a table."""
    names = Names.fresh()
    batch, _ = decode(
        {"model_id": "m", "features": {"a": "1.50", "b": "rain", "c": "007", "d": "rain", "e": "true"}}, names=names
    )
    assert batch.category.tolist() == [TEXT_NUMBER - 1 - 2, 1, 2, 1, 3]
    assert [None if x != x else x for x in batch.number] == [1.5, None, None, None, 1.0]
    assert names.categories.names == ["(other)", "rain", "007", "true"]


def test_a_prediction_may_be_text():
    """A text prediction is a category of column 0, and no number."""
    batch, _ = decode({"model_id": "m", "prediction": "late"})
    assert (batch.column.tolist(), batch.category.tolist()) == ([0], [1])
    assert np.isnan(batch.prediction[0])


def test_a_null_prediction_is_missing_beside_features_alone():
    """Beside features a null prediction is a missing value; in a label's event it is how typed producers say none."""
    beside, _ = decode({"model_id": "m", "features": {"a": 1}, "prediction": None})
    assert (beside.column.tolist(), columns_of(beside)["number"]) == ([0, 2], [None, 1.0])
    typed, _ = decode({**LABEL, "prediction": None, "features": None, "source": None, "model_version": None})
    assert (typed.kind.tolist(), typed.start.tolist()) == ([EventKind.LABEL], [0, 0])


def test_an_event_may_bring_its_label_along():
    """A label in a prediction's own event needs no id to be joined by."""
    batch, dead = decode({"model_id": "m", "prediction": 1.0, "label": True})
    assert not len(dead)
    assert batch.kind.tolist() == [EventKind.PREDICTION | EventKind.LABEL]
    assert (batch.label.tolist(), batch.join_id.tolist()) == ([1.0], [0])


def test_a_text_label_is_a_label_without_a_number():
    """Labels may be texts; the batch then says that there is one, and no number."""
    batch, _ = decode({"model_id": "m", "prediction_id": 1, "label": "late"}, {**LABEL})
    assert batch.kind.tolist() == [EventKind.LABEL, EventKind.LABEL]
    assert columns_of(batch)["label"] == [None, 402.0]


def test_the_model_wins_over_the_source():
    """An event of both is its model's."""
    names = Names.fresh()
    batch, _ = decode({**SMALL, "source": "weather"}, names=names)
    assert batch.kind.tolist() == [EventKind.PREDICTION]
    assert names.models.names == ["m"]


def test_identifiers_may_be_integers():
    """The integer 7 and the text "7" name the same model, version and prediction."""
    names = Names.fresh()
    event = {"model_id": 7, "model_version": 7, "prediction_id": 7, "prediction": 1}
    batch, _ = decode(event, {k: "7" if k != "prediction" else 1 for k in event}, names=names)
    assert (names.models.names, names.versions.names) == (["7"], ["7"])
    assert batch.join_id[0] == batch.join_id[1] == join_id("7", "7")


def test_features_with_our_own_names_are_kept_apart():
    """Features named like the prediction and the error have columns of their own."""
    names = Names.fresh()
    decode({"model_id": "m", "features": {"prediction": 1, "error": 2}, "prediction": 3}, names=names)
    assert names.columns.names == ["prediction", "error", "features.prediction", "features.error"]


def test_the_last_of_duplicate_keys_wins():
    """As in most JSON parsers, also for features."""
    batch, _ = decode(b'{"model_id": "x", "model_id": "m", "features": {"a": 1, "b": 2, "a": 3}, "label": NaN}')
    assert batch.number.tolist() == [3.0, 2.0]


def test_a_byte_order_mark_and_blanks_around_are_no_matter():
    """A byte-order mark before the object, or whitespace around it, changes nothing."""
    raw = json.dumps(SMALL).encode()
    batch, dead = decode(raw, b"\xef\xbb\xbf" + raw, b" \n" + raw + b"\r\n")
    assert not len(dead)
    assert batch.number.tolist() == [1.0, 1.0, 1.0]


def test_unknown_fields_are_skipped_unread():
    """Fields nobody mapped may hold anything; even text that is not UTF-8 goes unread."""
    batch, dead = decode({**SMALL, "trace": {"deep": [1, {"x": None}]}}, b'{"model_id":"m","prediction":1,"x":"\xff"}')
    assert (len(batch), len(dead)) == (2, 0)


def test_a_full_table_of_columns_drops_values_and_counts_them():
    """Values of columns without a place are left out and counted; the event's other values stay."""
    names = Names.fresh(columns_max=3)
    batch, dead = decode({"model_id": "m", "features": {"a": 1, "b": 2, "c": "x"}}, SMALL, names=names)
    assert not len(dead)
    assert (batch.start.tolist(), batch.column.tolist(), batch.dropped) == ([0, 1, 2], [2, 2], 2)
    assert names.categories.names == ["(other)"]


def test_a_full_table_of_categories_has_one_for_all_others():
    """Texts beyond the table's limit share the reserved category; known ones keep theirs."""
    names = Names.fresh(categories_max=2)
    rows = [{"model_id": "m", "features": {"a": text}} for text in ("rain", "snow", "rain", "fog")]
    batch, _ = decode(*rows, names=names)
    assert batch.category.tolist() == [1, OTHER_CATEGORY, 1, OTHER_CATEGORY]


def test_long_texts_never_enter_the_tables():
    """A text of thousands of characters is no category, and a name of that length no column: memory stays bounded."""
    names = Names.fresh()
    long = "x" * 300
    batch, dead = decode({"model_id": "m", "features": {"a": long, long: 1}}, names=names)
    assert (batch.category.tolist(), batch.dropped, len(dead)) == ([OTHER_CATEGORY], 1, 0)
    assert names.columns.names == ["prediction", "error", "a"]


def test_refused_records_leave_no_names_behind():
    """A record that is refused late gives no id to its model, version, columns or categories."""
    names = Names.fresh()
    bad = {"model_id": "x", "model_version": "9", "features": {"z": "t"}, "event_time": "noon"}
    decode(bad, {**bad, "event_time": NOON_MS, "model_id": "y" * 300}, names=names)
    assert (names.models.names, names.versions.names, len(names.columns), len(names.categories)) == ([], [], 2, 1)


OF_FORMATS = {"OTHER_FORMAT", "NOT_AVRO", "NOT_PROTOBUF", "NOT_ARROW", "NOT_CSV"}  # the tests of those codecs have them
BAD = [
    (None, Reason.NULL_VALUE, "tombstone"),
    (b"", Reason.NOT_JSON, "empty"),
    (b"  ", Reason.NOT_JSON, "empty"),
    (b"not json", Reason.NOT_JSON, "character 0"),
    (json.dumps(SMALL).encode() + b" x", Reason.NOT_JSON, "Extra data"),
    (json.dumps(SMALL).encode()[:-1], Reason.NOT_JSON, "delimiter"),
    (b'{"model_id": "m", "features": {"a": nan}}', Reason.NOT_JSON, "character 36"),
    (b'{"model_id": "\xff"}', Reason.NOT_UTF8, "byte 14"),
    (b'{"model_id": "\\ud800", "prediction": 1}', Reason.NOT_UTF8, "surrogate"),
    (b'{"model_id": "m", "features": {"\\udfff": 1}}', Reason.NOT_UTF8, "surrogate"),
    (json.dumps(SMALL).encode("utf-16"), Reason.OTHER_FORMAT, "UTF-16"),
    (b"[" * 100_000, Reason.TOO_DEEP, "400"),
    (b'{"a":' * 500 + b"1" + b"}" * 500, Reason.TOO_DEEP, "400"),
    ([], Reason.NOT_AN_OBJECT, "a list"),
    ([SMALL, 7], Reason.NOT_AN_OBJECT, "row 1: the value is an integer"),
    ([SMALL, [SMALL]], Reason.NOT_AN_OBJECT, "row 1: the value is a list"),
    ([{**SMALL, "model_id": ["m"]}, SMALL], Reason.WRONG_TYPE, "row 0: model_id is a list"),
    ([SMALL, {**SMALL, "event_time": -1}], Reason.BAD_EVENT_TIME, "row 1: event_time is -1"),
    ([SMALL, {**SMALL, "model_id": "m" * 300}], Reason.WRONG_TYPE, "row 1: a name of 300 characters"),
    ([SMALL] * 20_000, Reason.TOO_MANY_ROWS, "20,000 rows"),
    ("text", Reason.NOT_AN_OBJECT, "text"),
    (7, Reason.NOT_AN_OBJECT, "an integer"),
    (b"null", Reason.NOT_AN_OBJECT, "null"),
    (b"NaN", Reason.NOT_AN_OBJECT, "a number"),
    ({"features": {"a": 1}}, Reason.MISSING_MODEL, "model_id"),
    ({"model_id": "", "features": {"a": 1}}, Reason.MISSING_MODEL, "source"),
    ({"model_id": ["m"], "features": {"a": 1}}, Reason.WRONG_TYPE, "model_id is a list"),
    ({"model_id": 1.5, "features": {"a": 1}}, Reason.WRONG_TYPE, "model_id is a number"),
    ({**SMALL, "model_version": True}, Reason.WRONG_TYPE, "model_version is a boolean"),
    ({**SMALL, "prediction_id": {}}, Reason.WRONG_TYPE, "prediction_id is an object"),
    ({"model_id": "m", "features": [1, 2]}, Reason.WRONG_TYPE, "features are a list"),
    ({**LABEL, "label": [1]}, Reason.WRONG_TYPE, "label is a list"),
    ({**SMALL, "model_id": "m" * 300}, Reason.WRONG_TYPE, "300 characters"),
    ({"model_id": "m", "prediction_id": 1, "label": None}, Reason.NOTHING_TO_WATCH, "no feature"),
    ({"model_id": "m", "features": {}}, Reason.NOTHING_TO_WATCH, "no feature"),
    ({"source": "s", "label": 1, "prediction": 2}, Reason.NOTHING_TO_WATCH, "no feature"),
    ({"model_id": "m", "label": 1}, Reason.MISSING_PREDICTION_ID, "prediction_id"),
    ({**SMALL, "event_time": "yesterday"}, Reason.BAD_EVENT_TIME, "'yesterday'"),
    ({**SMALL, "event_time": True}, Reason.BAD_EVENT_TIME, "a boolean"),
    ({**SMALL, "event_time": -1}, Reason.BAD_EVENT_TIME, "-1"),
    ({**SMALL, "event_time": NOON_MS * 10**9}, Reason.BAD_EVENT_TIME, "1970 to 9999"),
    ({**SMALL, "event_time": "2026-11-23T13:00:01Z"}, Reason.TIME_TOO_FAR_AHEAD, "3601 s"),
    ({"model_id": "m", "features": {str(i): i for i in range(50)}}, Reason.TOO_MANY_COLUMNS, "50 values"),
    ({**SMALL, "x": "y" * 10_000_000}, Reason.TOO_LARGE, "10,000,0"),
]


@pytest.mark.parametrize(("value", "reason", "words"), BAD, ids=[f"{r}-{w}" for _, r, w in BAD])
def test_every_bad_record_has_its_reason(value, reason, words):
    """A bad record is a dead letter with the right reason and a sentence; its neighbours are decoded."""
    batch, dead = decode(SMALL, value, SMALL, settings=JsonSettings(values_max=49, value_bytes_max=1 << 20))
    assert batch.offset.tolist() == [100, 102]
    assert (dead.index, dead.reason) == ([1], [reason])
    assert words in dead.detail[0]
    assert len(dead.detail[0]) <= 200


def test_too_many_models_or_versions():
    """Models and versions beyond the table are refused; known ones pass."""
    names = Names.fresh(models_max=1)
    other = {**SMALL, "model_id": "other"}
    versions = [{**SMALL, "model_version": version} for version in ("1", "2", "1")]
    batch, dead = decode(SMALL, other, *versions, names=names)
    assert batch.offset.tolist() == [100, 102, 104]
    assert (dead.index, dead.reason) == ([1, 3], [Reason.TOO_MANY_MODELS] * 2)
    assert (names.models.names, names.versions.names) == (["m"], ["1"])


def test_every_reason_is_tested():
    """The closed set of reasons has no member that no test here brings about."""
    of_formats = {reason for reason in Reason if reason.name in OF_FORMATS}
    elsewhere = {Reason.TOO_MANY_MODELS, Reason.POISON_RECORD, Reason.BATCH_TOO_LARGE, *of_formats}
    assert {reason for _, reason, _ in BAD} | elsewhere == set(Reason)


def test_dead_letters_come_in_record_order():
    """Whatever stage refuses a record, the dead letters are in the order of the records."""
    bad = [{**SMALL, "event_time": "?"}, None, b"{", {"model_id": "m"}, b"x" * 2_000_000, {**SMALL, "model_id": 1.5}]
    _, dead = decode(*bad)
    assert dead.index == list(range(6))
    assert len(dead.index) == len(dead.reason) == len(dead.detail)


def test_the_record_time_stands_in_for_a_missing_event_time():
    """Without an event time the record's own counts; without either the record is refused."""
    assert decode(SMALL)[0].event_time_ms.tolist() == [NOON_MS]
    batch, dead = decode(SMALL, {**SMALL, "event_time": 0}, timestamp_ms=-1)
    assert (batch.event_time_ms.tolist(), dead.reason) == ([0], [Reason.BAD_EVENT_TIME])
    assert "no timestamp" in dead.detail[0]


def test_skew_is_only_measured_against_known_record_times():
    """An event may be `skew_max_s` ahead of its record, and any time at all where the record has no timestamp."""
    ahead = {**SMALL, "event_time": NOON_MS + 10_000}
    assert len(decode(ahead, settings=JsonSettings(skew_max_s=10))[0]) == 1
    assert decode(ahead, settings=JsonSettings(skew_max_s=9.9))[1].reason == [Reason.TIME_TOO_FAR_AHEAD]
    assert len(decode({**SMALL, "event_time": "9999-12-31T23:59:59Z"}, timestamp_ms=-1)[0]) == 1


def test_brackets_inside_texts_are_no_depth():
    """A text full of brackets nests nothing, escaped quotes and all."""
    value = {**SMALL, "note": '\\"[{' * 1000}
    assert len(decode(value)[1]) == 0


def test_a_long_unterminated_text_is_refused_quickly():
    """Hostile bytes that make naive pattern matching quadratic are refused like any others."""
    _, dead = decode(b'{"a": "' + b'\\"[' * 300_000)
    assert dead.reason == [Reason.NOT_JSON]


def test_a_stretch_that_shares_its_buffer_is_read_in_place():
    """Half of a stretch decodes to the later half of the columns, though it still carries the whole buffer."""
    records = records_of([SMALL, {**SMALL, "features": {"a": 2}}])
    batch, _ = JsonCodec(JsonSettings()).decode(records.split(101)[1], Names.fresh())
    assert (batch.number.tolist(), batch.offset.tolist()) == ([2.0], [101])
