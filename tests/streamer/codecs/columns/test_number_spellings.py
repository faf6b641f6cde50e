"""Numbers in texts with separators of thousands or a decimal comma, as a topic says that they are written."""

import io
import json

import pyarrow as pa
import pytest

from streamer.app.fit import column_findings, decoded
from streamer.app.recognition import Sample
from streamer.codecs import CODECS
from streamer.codecs.event import SPELLINGS, spellings_of
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.config import Config
from streamer.eventlog.base import Records
from streamer.events import MISFIT, NUMBER, Names

FAULT = "fault"
NOON_MS = 1_795_435_200_000


def value_of(batch, names: Names, at: int = 0):
    """A value as a number, a text or a fault."""
    category = int(batch.category[at])
    if category >= 0:
        return names.categories.names[category]
    return FAULT if category == MISFIT else float(batch.number[at])


def read(text: object, example: str, format_: str = "json", column: str = "amount"):
    """What a codec makes of a feature."""
    fields, names = FieldMap(numbers={column: example}, model_id="=m", features="$"), Names.fresh()
    settings_class, codec_class = CODECS[format_]
    of_csv = {"columns": ["amount"], "separator": ";"} if format_ == "csv" else {}
    value = json.dumps({"amount": text}).encode()
    if format_ == "csv":
        value = str(text).encode()
    elif format_ == "arrow":
        table, out = pa.table({"amount": [text]}), io.BytesIO()
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        value = out.getvalue()
    codec = codec_class(settings_class(fields=fields, **of_csv))
    batch, dead = codec.decode(Records.build("t", 0, [(0, NOON_MS, None, value, ())]), names)
    assert not len(dead), dead.detail
    return value_of(batch, names)


CASES = [
    ("1,234", "1,234.5", 1234), ("1,234,567.25", "1,234.5", 1234567.25), ("-1,234", "1,234.5", -1234),
    ("1234.5", "1,234.5", 1234.5), ("12,50", "1,234.5", "12,50"), ("1,2345", "1,234.5", "1,2345"),
    ("1.234", "1.234,5", 1234), ("12,50", "1.234,5", 12.5), ("1.234,50", "1.234,5", 1234.5), ("0,5", "1.234,5", 0.5),
    ("12.50", "1.234,5", FAULT), ("1,234.50", "1.234,5", FAULT), ("7", "1.234,5", 7),
    ("1 234,5", "1 234,5", 1234.5), ("1\u202f234\u202f567", "1 234,5", 1234567),
    ("1 234\u00a0567", "1 234,5", "1 234\u00a0567"),
    ("1'234.5", "1'234.5", 1234.5), ("1\u2019234", "1'234.5", 1234),
    ("rain", "1.234,5", "rain"), ("007", "1.234,5", "007"), ("\u0661", "1.234,5", "\u0661"),
]  # fmt: skip


@pytest.mark.parametrize("format_", ["json", "csv", "arrow"])
@pytest.mark.parametrize(("text", "example", "found"), CASES)
def test_a_text_is_the_number_that_it_is_by_the_setting(text, example, found, format_):
    """In each format. What the setting does not read, but the plain spelling would, is a fault; the rest stays text."""
    assert read(text, example, format_) == found


def test_other_columns_and_numbers_stay_as_they_are():
    """Patterns choose columns; a number is one already."""
    assert read("1,234", "1,234.5", column="fee_*") == "1,234"
    assert read("1.234", "1.234,5", "csv", column="fee_*") == 1.234
    assert read(1.234, "1.234,5") == 1.234


def test_predictions_and_labels_are_read_too():
    """By their names, also from cells that are mapped to them; a label that is written otherwise is missing."""
    fields = FieldMap(numbers={"prediction": "1.234,5", "label": "1.234,5"})
    one = {"model_id": "m", "prediction_id": "1", "prediction": "1.234", "label": "1.234,5"}
    values = [json.dumps(event).encode() for event in (one, {**one, "label": "12.5"})]
    rows = [(i, NOON_MS, None, value, ()) for i, value in enumerate(values)]
    batch, _ = JsonCodec(JsonSettings(fields=fields)).decode(Records.build("t", 0, rows), Names.fresh())
    assert batch.prediction.tolist() == [1234, 1234]
    assert (batch.label[0], batch.label[1] != batch.label[1]) == (1234.5, True)
    settings_class, codec_class = CODECS["csv"]
    mapped = FieldMap(numbers={"prediction": "1.234,5"}, model_id="=m", prediction="$.score")
    codec = codec_class(settings_class(fields=mapped, columns=["score"], separator=";"))
    batch, _ = codec.decode(Records.build("t", 0, [(0, NOON_MS, None, b"1.234", ())]), Names.fresh())
    assert batch.prediction.tolist() == [1234]


def test_an_unknown_spelling_is_refused():
    """The message names the pattern and those there are."""
    with pytest.raises(ValueError, match=r"numbers: 'a' has '1_0'; it can be one of \"1,234\.5\", "):
        FieldMap(numbers={"a": "1_0"})


def test_a_text_that_several_spellings_fit_is_not_guessed():
    """`1,234` may have a decimal comma; each example fits its own spelling."""
    assert spellings_of("1,234") == ["1,234.5", "1.234,5", "1 234,5"]
    assert all(example in spellings_of(example) for example in SPELLINGS)


def test_doctor_names_the_setting():
    """For texts that nearly all differ, with the spellings that fit them."""
    values = [json.dumps({"model_id": "m", "features": {"fare": f"{i},50"}}).encode() for i in range(200)]
    rows = [(i, NOON_MS, None, value, ()) for i, value in enumerate(values)]
    config, names = Config.model_validate_json('{"topics": {"t": {}}}'), Names.fresh()
    one = decoded(config, Sample("t", [Records.build("t", 0, rows)]), names)
    (found,) = column_findings(one, names)
    assert found.next_step == "say how its numbers are written: fields.numbers: {fare: '1.234,5' or '1 234,5'}"
    assert NUMBER not in one.column("category")
