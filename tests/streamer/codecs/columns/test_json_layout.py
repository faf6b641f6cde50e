"""Records of one layout, read by the kernel, give the batch that the plain way gives, bit for bit."""

import json
import os
import random
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.throughput import layouts, replay
from streamer.codecs import json_codec
from streamer.codecs.field_paths import FieldMap
from streamer.codecs.json_codec import JsonCodec, JsonSettings
from streamer.codecs.tables import layout_decoder
from streamer.codecs.tables.layout_learning import Learner
from streamer.eventlog.base import Records
from streamer.events import Names

START_MS = 1_782_889_200_000
RECORDS = int(os.environ.get("DRIFTLINE_FUZZ", "1200"))
learn = Learner(FieldMap()).learn


def codecs(monkeypatch, **changes):
    """One with layouts, also for few records, and one without."""
    for name, value in {"BYTES_MIN": 1, "MISSES_MAX": 10**9}.items():
        monkeypatch.setattr(layout_decoder, name, value)
    fast, plain = (JsonCodec(JsonSettings(**changes)) for _ in range(2))
    plain._layouts, fast._places._left = None, 0  # which looks at the first records of a topic, read the plain way
    return fast, plain


def records_of(values, at_ms=START_MS):
    return Records.build("events", 3, [(7 + 2 * i, at_ms + i, None, value, ()) for i, value in enumerate(values)])


def state_of(batch, dead, names):
    tables = [(table.names, table.ids) for table in (names.models, names.versions, names.columns, names.categories)]
    columns = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        columns[field.name] = (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
    return columns, repr(dead), tables


def assert_equal(fast, plain, values, rounds=3):
    """The batches of both, several times: names that are new at first are known later."""
    ours, theirs = Names.fresh(), Names.fresh()
    for _ in range(rounds):
        got = state_of(*fast.decode(records_of(values), ours), ours)
        assert got == state_of(*plain.decode(records_of(values), theirs), theirs)


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(repr),
    st.integers(-(10**22), 10**22).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.tuples(st.integers(0, 10**20), st.integers(-70, 70)).map(lambda pair: f"{pair[0]}e{pair[1]}"),
    st.tuples(st.integers(0, 10**19), st.integers(0, 10**9)).map(lambda pair: f"{pair[0]}.{pair[1]}"),
    st.sampled_from(["-0", "-0.0", "0", "0e5", "01", "1.", ".5", "1e", "+1", "1E+2", "9007199254740993", "5e-324"]),
)
VALUES = st.one_of(NUMBERS, st.sampled_from(["null", "true", "false", "nul", "trux", "NaN", "[]", "{}", "Infinity"]))
CATEGORY = st.sampled_from(['"a"', '"true"', '"12.5"', '"é"', '"\\u0061"', '"x\\ny"', '""', '"(other)"', "3"])
TIMES = st.one_of(
    st.integers(START_MS - 10**6, START_MS).map(str),
    st.sampled_from(["1782889200", "1782889200.25", "-1", "null", '"2026-07-01T07:00:00Z"', "1e400", "2782889200000"]),
    st.sampled_from(['"2026-07-01T07:00:00.5+02:00"', '"2026-07-01T07:00:00"', '"soon"', '"1782889200"']),
)
IDS = st.sampled_from(['"m1"', '"m2"', '"ü"', "5", "-0", "05", '""', "null", '"m\\t"', '"' + "x" * 300 + '"'])
FORMS = (
    '{{"model_id":{0},"prediction_id":{1},"event_time":{2},"features":{{"x":{3},"y":{4},"z":{5}}},"prediction":{6}}}',
    '{{"event_time": {2}, "model_id": {0}, "features": {{"y": {4}, "x": {3}}}, "other": {6}}}',
    ' {{"model_id":{0},"model_version":{1},"prediction_id":{1},"event_time":{2},"prediction":{3},"label":{4}}} ',
    '{{"model_id":{0},"event_time":{2},"features":{{"x":{3},"x":{4}}}}}',
    '{{"model_id":{0},"event_time":{2},"features":{{"prediction":{3},"error":{4},"z":{5}}},"prediction":{6}',
    '{{"model_id":{0},"event_time":{2},"features":{{}},"prediction":{3},"label":null}}',
)
RECORD = st.none() | st.tuples(
    st.sampled_from(FORMS), IDS, IDS, TIMES, VALUES, VALUES, st.one_of(CATEGORY, VALUES), VALUES
)
ORDINARY = st.tuples(
    st.sampled_from(FORMS[:3]),
    st.sampled_from(['"m1"', '"m2"']),
    st.sampled_from(['"p1"', '"p22"', "17"]),
    st.integers(START_MS - 10**6, START_MS).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(["null", "true", "1.5", "0"]),
    st.sampled_from(['"a"', '"b"', '"true"', '"12.5"']),
    st.integers(0, 9).map(str),
)


def value_of(drawn):
    if drawn is None:
        return None
    form, *parts = drawn
    return form.format(*parts).encode()


@settings(max_examples=150)
@given(st.data())
def test_a_layout_gives_the_batch_of_the_plain_way(data):
    """Numbers of any spelling, nulls, escapes, other orders of keys, broken records: all mixed among ordinary ones."""
    values = [value_of(one) for one in data.draw(st.lists(st.one_of(ORDINARY, ORDINARY, RECORD), max_size=12))]
    with pytest.MonkeyPatch.context() as monkeypatch:
        changes = data.draw(
            st.sampled_from([{}, {"event_time_unit": "ms"}, {"value_bytes_max": 150}, {"values_max": 3}])
        )
        assert_equal(*codecs(monkeypatch, **changes), values)


@settings(max_examples=300)
@given(NUMBERS)
def test_a_number_is_read_to_the_nearest_double(text):
    """Or it is left to the plain way."""
    try:
        expected = float(json.loads(text))
    except (ValueError, OverflowError):
        expected = None
    sample = b'{"model_id":"m","event_time":1,"prediction":%s}'
    value = sample % text.encode()
    width, numbers, _ = learn(sample % b"1").read(np.frombuffer(value, np.uint8), np.array([[0, len(value)]]))
    if width[0]:
        assert np.float64(expected).tobytes() == numbers[0, 0].tobytes()
    else:
        assume(expected is not None)
        digits = text.lower().split("e")[0].replace("-", "").replace(".", "").lstrip("0")
        assert expected == 0 or len(digits) > 19 or not 1e-38 < abs(expected) < 1e38 or "e" in text.lower()


def test_ordinary_records_do_not_take_the_plain_way(monkeypatch):
    """Else the comparison of both ways means nothing: names that are known, texts, nulls and two orders of keys."""
    fast, _ = codecs(monkeypatch)
    rng = np.random.default_rng(1)
    values = [
        FORMS[i // 40 % 2].format(f'"m{i % 3}"', f'"p{i}"', START_MS - i, rng.normal(), "null", '"a"', i % 7).encode()
        for i in range(160)
    ]
    names = Names.fresh()
    fast.decode(records_of(values), names)
    plain = []
    monkeypatch.setattr(json_codec.DocumentCodec, "decode_block", lambda _, records, **__: plain.append(len(records)))
    batch, dead = fast.decode(records_of(values), names)
    assert (len(batch), len(dead), plain) == (160, 0, [])


def test_a_topic_of_changing_layouts_is_left_alone_for_a_while(monkeypatch):
    """Reading records that do not fit costs time."""
    codec = JsonCodec(JsonSettings())
    values = [b'{"model_id":"m","event_time":1,"features":{"c%d":1}}' % i for i in range(400)]
    names = Names.fresh()
    for _ in range(layout_decoder.MISSES_MAX):
        assert codec._layouts._rest == 0
        codec.decode(records_of(values), names)
    assert (codec._layouts._rest, codec._layouts._layouts) == (layout_decoder.REST, [])


@pytest.mark.parametrize(
    "value",
    [
        b'{"model_id":"m","event_time":1}',
        b'{"event_time":1,"prediction":1}',
        b'{"model_id":"m","event_time":1,"label":1}',
        b'{"model_id":"m","event_time":1,"prediction":1,"prediction":1}',
        b'{"model_id":"m","event_time":1,"prediction":[]}',
        b'{"model_id":"m","event_time":1,"prediction":[[1]]}',
        b'{"model_id":"m","event_time":1,"prediction":true}',
        b'{"model_id":"m","event_time":{"seconds":1},"prediction":1}',
        b'{"model_id":"m","event_time":1,"features":{"a":{"b":{"c":{"d":{"e":1}}}}}}',
        b'{"model_id":"m","event_time":1,"features":[1],"prediction":1}',
        b'{"model_id":"m","event_time":1,"features":{"prediction":1,"features.prediction":2},"prediction":1}',
        b'{"model_id":"m","event_time":1,"other":' + b"[" * 40 + b"]" * 40 + b',"prediction":1}',
        b"[]",
        b"[1]",
        b'{"model_id":"m","event_time":1,"prediction":1}}',
        b'"{}"',
        b"",
    ],
)
def test_other_records_give_no_layout(value):
    """They are no events, or not of plain values, or name a member twice."""
    assert learn(value) is None


def plan(**paths):
    return FieldMap(**{"model_version": None, "prediction_id": None, "source": None, "label": None, **paths})


FLAT = FieldMap(model_id="$.m", event_time="$.t", prediction="$.p", features="$", label="$.l")
IN_ROWS = plan(rows="$.d[*]", model_id="$.m", event_time="$row.t", features="$row", prediction="$row.p")
SHARED = plan(rows="$.d", model_id="=eta", prediction_id="$.id", event_time="$.t", features="$row", prediction=None)
BY_NAME = plan(
    model_id="$key", prediction_id="$headers.id", event_time="$.t", prediction="$.out[0].p",
    features={"b": "$.in[?name=='b'].v[0]", "a": "$.in[?name=='a'].v[0]", "none": "$.none"}, segment="$.s",
)  # fmt: skip
LISTED = plan(rows="$.d", names=["a", "b"], model_id="$.m", event_time="$.t", features="$row.f", prediction="$row.p")
TEXTS = ['"bé"', r'"x\n\u00e9"', '"a"', r'"\ud83d\ude00"', r'"\ud83d"', '"1.5"', '"true"', "null", "7"]
PARTS = {
    "m": ['"m"', r'"\u006d2"', "7", "null", '""'],
    "id": ['"p1"', '"p2"', "17", "null"],
    "t": [
        str(START_MS),
        str(START_MS - 5),
        str(START_MS + 5),
        str(START_MS + 10**8),
        "null",
        '"2026-07-01T07:00:00Z"',
        '"2026-07-01T07:00:00"',
        "[]",
    ],
    "x": ["0.5", "-12", "null", "true", "1e400", "[1]", '"1.5"'],
    "c": TEXTS,
    "a": ['"a"', '"a"', '"b"', '"z"'],
    "b": ['"b"', '"b"', '"a"', "1"],
    "s": ['"north"', '"south"', "null", "3", "true"],
}
ROW_FORMS = [
    '{"t":<t>,"x":<x>,"c":<c>,"p":<x>}',
    '{"t":<t>,"c":<c>,"p":<c>}',
    '{"x":<x>,"sub":{"y":<x>},"p":<x>,"t":<t>}',
]
SHAPES = {
    "flat": (FLAT, [
        '{"m":<m>,"t":<t>,"x":<x>,"c":<c>,"sub":{"y":<x>},"p":<x>,"l":<c>}', '{"m":<m>,"t":<t>,"c":<c>}',
    ], [""]),
    "list": (FieldMap(), ["[<rows>]"], [
        '{"model_id":<m>,"event_time":<t>,"features":{"x":<x>,"c":<c>},"prediction":<x>}',
    ]),
    "rows": (IN_ROWS, ['{"m":<m>,"d":[<rows>],"n":<x>}', '{"d":[<rows>],"m":<m>}'], ROW_FORMS),
    "shared": (SHARED, [
        '{"id":<id>,"t":<t>,"d":[<rows>]}', '{"d": [<rows>] , "t":<t>}',
    ], ['{"x":<x>}', '{"x":<x>,"y":null}']),
    "by name": (BY_NAME, [
        '{"t":<t>,"in":[{"name":<a>,"v":[<x>]},{"name":<b>,"v":[<c>]}],"out":[{"p":<x>}],"s":<s>}',
        '{"in":[{"v":[<x>],"name":"b"},{"v":[1,2],"name":<c>}],"out":[{"p":null}],"s":<s>,"t":<t>}',
    ], [""]),
    "nested": (FieldMap(depth=2, lists={"l": "1..2"}), [
        '{"model_id":<m>,"event_time":<t>,"features":{"a":{"x":<x>,"b":{"c":<c>}},"l":[<x>,2,<x>]},"prediction":[<x>,<x>]}',
        '{"model_id":<m>,"event_time":<t>,"features":{"l":{"d":[<x>]}},"prediction":{"no":<x>,"yes":<x>,"s":<c>}}',
        '{"model_id":<m>,"event_time":<t>,"features":{"prediction.a":<x>},"prediction":{"a":<x>,"b":{}}}',
        '{"model_id":<m>,"event_time":<t>,"features":{"a":{"b":{"c":{"d":<x>}}},"l":[<x>]},"prediction":<x>}',
    ], [""]),
    "listed": (LISTED, ['{"m":<m>,"t":<t>,"d":[<rows>]}'], ['{"f":[<x>,<c>],"p":<x>}', '{"p":<x>,"f":[<x>]}']),
}  # fmt: skip


def filled(form, rng, oddness):
    """A form with values for its parts, most of them ordinary ones."""

    def value(match):
        options = PARTS[match[1]]
        return rng.choice(options) if rng.random() < oddness else options[rng.randrange(2)]

    return re.sub("<([a-z]+)>", value, form)


def record_of(shape, rng, oddness):
    _, forms, rows = SHAPES[shape]
    form = forms[0] if rng.random() > oddness else rng.choice(forms)
    several = [rows[0] if rng.random() > oddness else rng.choice(rows) for _ in range(rng.choice((1, 1, 2, 5)))]
    text = filled(form.replace("<rows>", rng.choice((",", ",", ", ")).join(several)), rng, oddness).encode()
    if rng.random() < oddness / 2:
        at = rng.randrange(len(text))
        text = (
            text[:at] + rng.choice((b"", b"\xff", b"\xc3", b"\\u12", b'"', b"0", b",")) + text[at + rng.randrange(2) :]
        )
    headers = (("id", rng.choice((b"p1", b"p2"))),) if rng.random() > oddness else ()
    return rng.choice((b"k1", b"k2")) if rng.random() > oddness else None, text, headers


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_and_mapped_fields_give_the_batch_of_the_plain_way(shape, monkeypatch):
    """Odd values, other forms and broken bytes among ordinary records, of which the kernel reads most."""
    rng, counted = random.Random(shape), []
    count = layout_decoder.LayoutDecoder._count
    monkeypatch.setattr(layout_decoder.LayoutDecoder, "_count", lambda *of: (counted.append(of[1]), count(*of)))
    for oddness in (0.0, 0.02, 0.2) * max(1, RECORDS // 1200):
        changes = rng.choice(({}, {"rows_max": 3}, {"values_max": 2}, {"skew_max_s": 0.001})) if oddness else {}
        fast, plain = codecs(monkeypatch, fields=SHAPES[shape][0], **changes)
        rows = [record_of(shape, rng, oddness) for _ in range(200)]
        records = Records.build("t", 0, [(3 * i, START_MS, key, value, of) for i, (key, value, of) in enumerate(rows)])
        ours, theirs = Names.fresh(), Names.fresh()
        for _ in range(2):
            got = state_of(*fast.decode(records, ours), ours)
            assert got == state_of(*plain.decode(records, theirs), theirs)
        assert oddness or counted[-1] > 180


def test_the_kernel_takes_little_more_than_half_the_time_of_the_plain_way(tmp_path, monkeypatch):
    """Processor time, in turns, so that other work on the machine weighs on both; 31 % was measured."""
    path = tmp_path / "events.parquet"
    monkeypatch.setattr(replay, "EVENTS", layouts.EVENTS)
    replay.write_recording(path)
    found = layouts.in_turns(lambda: layouts.decoding(path), 5)
    assert found["the kernel"] < 0.6 * found["the plain way"]
