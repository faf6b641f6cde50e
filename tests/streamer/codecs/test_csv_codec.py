"""CSV values give the events of the same rows as JSON."""

from __future__ import annotations

import pytest
from codec_oracle import NOON_MS, columns_of, decode, records_of, tables_of

from streamer.codecs.base import Reason
from streamer.codecs.csv_codec import CsvCodec, CsvSettings
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.tables.csv_cells import value_of
from streamer.events import Names

COLUMNS = ["model_id", "event_time", "zip", "age", "note", "prediction"]


def read(settings, *values):
    names = Names.fresh()
    batch, dead = CsvCodec(settings).decode(records_of(values), names)
    return batch, dead, names


def same_as_json(batch, names, *documents) -> bool:
    expected = Names.fresh()
    wanted, dead = decode(*documents, names=expected)
    assert not len(dead), dead.detail
    return columns_of(batch) == columns_of(wanted) and tables_of(names) == tables_of(expected)


def row(zip_code, age, note, prediction):
    return {
        "model_id": "m", "event_time": NOON_MS, "features": {"zip": zip_code, "age": age, "note": note},
        "prediction": prediction,
    }  # fmt: skip


def test_lines_are_events_and_columns_are_fields():
    """Columns that are no other fields are features; numbers are numbers, codes with leading zeros are texts."""
    line = b'm,%d,00501,41.5,"a, ""b""",0.25' % NOON_MS
    batch, dead, names = read(CsvSettings(columns=COLUMNS), line)
    assert not len(dead), dead.detail
    assert same_as_json(batch, names, row("00501", 41.5, 'a, "b"', 0.25))
    two = line + b"\r\n" + line.replace(b"41.5", b"") + b"\r\n"
    batch, dead, names = read(CsvSettings(columns=COLUMNS), two)
    assert same_as_json(batch, names, [row("00501", 41.5, 'a, "b"', 0.25), row("00501", None, 'a, "b"', 0.25)])


def test_names_may_be_the_first_line_of_each_record():
    """Without `columns`, a record brings its names; another separator is a setting."""
    value = f"model_id;event_time;zip;age;note;prediction\nm;{NOON_MS};94110;1;x;2".encode("utf-8-sig")
    batch, dead, names = read(CsvSettings(separator=";", texts=["zip"]), value)
    assert not len(dead), dead.detail
    assert same_as_json(batch, names, row("94110", 1, "x", 2))


def test_fields_are_mapped_as_in_json():
    """Paths name columns."""
    fields = FieldMap(model_id="$.route", model_version=None, prediction_id=None, event_time="$.t", prediction="$.eta")
    batch, dead, names = read(
        CsvSettings(fields=fields, columns=["route", "t", "eta", "speed"]), b"99,%d,3,4" % NOON_MS
    )
    assert not len(dead), dead.detail
    assert (names.models.names, names.columns.names[2:], batch.number.tolist()) == (["99"], ["speed"], [3.0, 4.0])


@pytest.mark.parametrize(("cell", "value"), [
    ("1", 1), ("-1.5e3", -1500.0), (".5", 0.5), ("5.", 5.0), ("", None), ("NaN", None), ("null", None), ("007", "007"),
    ("0", 0), ("0.5", 0.5), ("00.5", "00.5"), ("1e5", 1e5), ("1_000", "1_000"), ("٣", "٣"), ("inf", "inf"), ("x", "x"),
    ("9" * 30, 1e30),
])  # fmt: skip
def test_cells(cell, value):
    """What looks like a number is one, except codes; what is empty is missing."""
    assert value_of(cell) == value


BAD = [
    (b"m,1", Reason.NOT_CSV, "2 cells and 6 columns"),
    (b'm,1,"x', Reason.NOT_CSV, "no CSV"),
    (b"", Reason.NOT_CSV, "no line of cells"),
    (b"\xff\xfe\x00", Reason.NOT_UTF8, "utf-8"),
    (b"\x1f\x8b\x08\x00\xff", Reason.OTHER_FORMAT, "gzip"),
    (b"," * 2_000_000, Reason.TOO_LARGE, "value_bytes_max"),
    (b"a\x00,b" * 9, Reason.NOT_CSV, ""),
]


@pytest.mark.parametrize(("value", "reason", "words"), BAD, ids=[str(r) + w for _, r, w in BAD])
def test_a_bad_record_has_its_reason(value, reason, words):
    """A value that is no CSV of these columns is a dead letter; its neighbours are read."""
    good = b"m,%d,1,2,x,3" % NOON_MS
    batch, dead, _ = read(CsvSettings(columns=COLUMNS), good, value, good)
    assert (batch.offset.tolist(), dead.reason) == ([100, 102], [reason])
    assert words in dead.detail[0]


@pytest.mark.parametrize(
    "settings", [{"separator": ""}, {"separator": ";;"}, {"separator": '"'}, {"columns": ["a", "a"]}]
)
def test_settings_out_of_range_are_refused(settings):
    """A separator is one character, and a column has one name."""
    with pytest.raises(ValueError, match=r"separator|columns"):
        CsvSettings(**settings)
