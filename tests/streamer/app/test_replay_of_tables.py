"""Tables are replayed by the names of their columns, without a configuration, and the replay says what it left out."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, fs

from streamer.app import replay as app
from streamer.app.offline.recorded_tables import open_recordings
from streamer.app.offline.selection import EVERYTHING, Selection, selection_of, time_ms
from streamer.app.offline.table_files import NamedTable, TableMapping, mapping_of
from streamer.codecs import CODECS
from streamer.config import Config
from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.events import EventKind, Names

START_MS = 1_772_431_200_000
N = 1_200
MAPPING = TableMapping(time="at", model="eta", features=("delay", "origin"), prediction="guess", label="truth")


def flights() -> pa.Table:
    rng = np.random.default_rng(5)
    delay = rng.normal(10, 3, N) + 12 * (np.arange(N) > N // 2)
    return pa.table({
        "at": pa.array(START_MS + 60_000 * np.arange(N), pa.timestamp("ms")),
        "delay": delay.round(3), "origin": [("EWR", "JFK", "LGA")[i % 3] for i in range(N)],
        "trip": [f"t{i}" for i in range(N)], "guess": (delay + 1).round(2), "truth": delay.round(1),
        "__index_level_0__": np.arange(N), "landed": pa.array(START_MS + 60_000 * np.arange(N), pa.timestamp("ms")),
    })  # fmt: skip


def rows():
    """The flights as events of the canonical form."""
    return [
        {"model_id": "eta", "event_time": f"{one['at']:%FT%TZ}", "features": {"delay": one["delay"]}}
        for one in flights().to_pylist()
    ]


def replayed(table, mapping=MAPPING, selection=EVERYTHING, topic="flights"):
    """The summary, and the outputs as (topic, value)."""
    found = []
    config = mapping.configured(Config(), [table], topic)
    summary = app.replay(config, [table], topic, found.append, lambda *_: None, selection)
    return summary, [(one.topic, one.value) for one in found]


@pytest.fixture(scope="module")
def plain():
    return replayed(NamedTable("flights", flights()))


def written(table, folder, form):
    """A file, or a folder of two files, that holds a table."""
    path = folder / f"flights.{form}"
    if form == "parquet":
        pq.write_table(table, path, row_group_size=500)
    elif form == "csv":
        pa.csv.write_csv(table.select(["at", "delay", "origin", "guess", "truth"]), path)
    elif form == "arrow":
        feather.write_feather(table, str(path), compression="uncompressed")
    else:
        path.mkdir()
        pq.write_table(table.slice(0, 700), path / "part-0.parquet")
        pq.write_table(table.slice(700), path / "part-1.parquet")
    return str(path)


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow", "folder"])
def test_each_form_of_a_table_gives_the_same(tmp_path, plain, form):
    """Parquet, CSV, Arrow and a folder of files give the outputs of the table in memory."""
    summary, outputs = replayed(written(flights(), tmp_path, form))
    assert outputs == plain[1]
    assert (summary.events, summary.labels["matched"]) == (N, N)
    assert {json.loads(value)["column"] for topic, value in outputs if topic == "driftline.alerts"} >= {"delay"}


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow", "folder"])
def test_tables_of_an_object_store_give_the_same(tmp_path, plain, s3, form):
    """A URL is read as a path is. Its options are no part of the topic."""
    url = s3.replace("prefix", f"june/flights.{form}")
    fs.copy_files(written(flights(), tmp_path, form), url)
    assert replayed(url, topic=None)[1] == plain[1]


def test_lines_of_an_object_store_give_the_same(tmp_path, s3):
    """Packed lines are unpacked while they are read."""
    path, url = tmp_path / "flights.jsonl.gz", s3.replace("prefix", "june/flights.jsonl.gz")
    path.write_bytes(gzip.compress(b"".join(json.dumps(one, default=str).encode() + b"\n" for one in rows())))
    fs.copy_files(str(path), url)
    outputs = []
    for source in (str(path), url):
        found = []
        app.replay(Config(), [source], None, found.append, lambda *_: None)
        outputs.append([(one.topic, one.value) for one in found])
    assert outputs[0] == outputs[1]
    assert [json.loads(value)["column"] for topic, value in outputs[0] if topic == "driftline.alerts"] == ["delay"] * 2


def test_a_mapping_is_the_configuration_of_its_topic(tmp_path, plain):
    """The same fields of a topic give the same outputs, without a section `kafka`."""
    fields = {
        "model_id": "=eta", "event_time": "$.at", "prediction": "$.guess", "label": "$.truth",
        "features": {"delay": "$.delay", "origin": "$.origin"},
    }  # fmt: skip
    config = Config.model_validate_json(json.dumps({"topics": {"flights": {"fields": fields}}}))
    found = []
    app.replay(config, [written(flights(), tmp_path, "parquet")], None, found.append, lambda *_: None)
    assert [(one.topic, one.value) for one in found] == plain[1]


def test_cells_of_csv_are_numbers_as_the_topic_says(tmp_path):
    """Also where 1.234 in all of them would be a fraction; in a file, and in a folder of files."""
    (tmp_path / "sales").mkdir()
    lines = [f"{START_MS + i},m,{i + 1}.500,{i}.250" for i in range(3)]
    (tmp_path / "sales" / "sales.csv").write_text("\n".join(["event_time,model_id,amount,share", *lines]))
    fields = {"numbers": {"amount": "1.234,5"}}
    config = Config.model_validate_json(json.dumps({"topics": {"sales": {"fields": fields}}}))
    for path in (tmp_path / "sales" / "sales.csv", tmp_path / "sales"):
        (recording,), read = open_recordings([str(path)], "sales", config)
        ((records,),) = (chunk.split() for chunk in recording.chunks())
        names = Names.fresh()
        batch, dead = CODECS["json"][1](read.topics["sales"]).decode(records, names)
        of = {name: batch.number[batch.column == names.columns.ids[name]].tolist() for name in ("amount", "share")}
        assert (of, len(dead)) == ({"amount": [1500, 2500, 3500], "share": [0.25, 1.25, 2.25]}, 0)


def test_columns_are_left_out_by_role_and_named():
    """Indexes, times and columns of nothing else are no features; ids that never repeat are pointed out."""
    summary, _ = replayed(NamedTable("flights", flights()), TableMapping(time="at", model="eta", prediction="guess"))
    assert summary.series == 5  # delay, origin, trip, guess as the prediction, and truth
    left_out, ids = (one for one in summary.warnings if one.startswith("flights"))
    assert left_out == ("flights: columns left out: __index_level_0__ (an index of pandas), landed (is a time)")
    assert "no value of trip repeats" in ids
    summary, _ = replayed(NamedTable("flights", flights().drop_columns(["trip"])))
    assert [one for one in summary.warnings if "left out" in one] == [
        "flights: columns left out: __index_level_0__ (not named), landed (not named)"
    ]
    assert not any("repeats" in one for one in summary.warnings)


def test_values_add_up(plain):
    """Each value of a feature, a prediction or an error has one fate."""
    fates = plain[0].value_fates
    assert (sum(fates.values()), fates["watched"]) == (4 * N, 4 * N)


def test_rows_out_of_order_are_counted():
    """A row that is earlier than one before it is counted once, whatever the type of its time."""
    table = flights().slice(0, 40)
    swapped = pa.concat_tables([table.slice(0, 10), table.slice(20, 10), table.slice(10, 10), table.slice(30)])
    for kind in (pa.timestamp("ms"), pa.int64(), pa.string()):
        at = swapped["at"].cast(kind)
        summary, _ = replayed(NamedTable("flights", swapped.set_column(0, "at", at)))
        late = [one for one in summary.warnings if "earlier" in one]
        assert late == [
            "flights: 10 of 40 rows are earlier than one before them by at: add --sort, as rows are folded in their "
            "order"
        ]


@pytest.mark.parametrize("kind", [pa.timestamp("ms"), pa.int64(), pa.string(), "local"])
def test_a_sorted_table_is_folded_in_order_of_time(kind):
    """Whatever the type of its time, also where texts do not sort as their times do; rows of one time keep theirs."""
    table = flights().slice(0, 60)
    if kind == "local":
        stamps = [f"Mon, {i // 24 + 2:02d} Mar 2026 {i % 24:02d}:00:00 GMT" for i in range(60)]
        at = pa.array([stamp if i % 2 else stamp.replace("GMT", "+0000") for i, stamp in enumerate(stamps)])
    else:
        at = table["at"].cast(kind)
    table = table.set_column(0, "at", at)
    swapped = pa.concat_tables([table.slice(40), table.slice(0, 20), table.slice(20, 20)])
    (arranged,) = TableMapping(time="at", sort=True).arranged([NamedTable("flights", swapped)])
    assert arranged.table["trip"].to_pylist() == table["trip"].to_pylist()
    equal = NamedTable("flights", pa.table({"event_time": [2, 1, 2, 1], "x": [0, 1, 2, 3]}))
    (arranged,) = TableMapping(sort=True).arranged([equal])
    assert arranged.table["x"].to_pylist() == [1, 3, 0, 2]


def test_rows_without_a_time_are_given_one(tmp_path):
    """From 2000 on, as far apart as is said; a change among them is found as in a table with times."""
    table = flights().drop_columns(["at", "landed"])
    path = str(tmp_path / "flights.parquet")
    pq.write_table(table, path)
    mapping = replace(MAPPING, time=None, every="5m")
    (arranged,) = mapping.arranged([path])
    assert arranged.table["event_time"].to_pylist()[:3] == [946_684_800_000 + 300_000 * i for i in range(3)]
    summary, found = replayed(arranged, mapping)
    assert (summary.first_event_time.year, summary.events, summary.alarms > 0) == (2000, N, True)
    assert any(topic.endswith("alerts") for topic, _ in found)


@pytest.mark.parametrize(
    ("mapping", "match"),
    [
        (TableMapping(time="at", every="1m"), "or how far apart rows are; not both"),
        (TableMapping(model="eta", every="1 min"), "--every '1 min' is not like"),
        (TableMapping(model="eta", sort=True), "no column event_time: name the column of the time"),
        (TableMapping(time="att", sort=True), "no column att; did you mean at"),
    ],
)
def test_what_can_not_be_arranged_is_refused(mapping, match):
    """The error says what to name."""
    with pytest.raises(UsageError, match=match):
        mapping.arranged([NamedTable("flights", flights())])
    with pytest.raises(UsageError, match="has a column event_time, so its rows have times"):
        TableMapping(every="1m").arranged([NamedTable("flights", pa.table({"event_time": [1]}))])


def test_a_recording_is_not_arranged(tmp_path):
    """It has an order and times of its own."""
    path = tmp_path / "june.jsonl"
    path.write_text('{"model_id": "m"}\n')
    with pytest.raises(UsageError, match="keeps its own order and times"):
        TableMapping(sort=True).arranged([str(path)])


def test_a_table_without_times_or_models_says_so():
    """Named before anything is folded; without options, at the end."""
    table = NamedTable("flights", flights().drop_columns(["at"]))
    with pytest.raises(UsageError, match="say how far apart its rows are"):
        replayed(table, replace(MAPPING, time=None))
    summary = app.replay(Config(), [table], None, lambda _: None, lambda *_: None)
    lacking = [one for one in summary.warnings if "no row is an event" in one]
    assert len(lacking) == 2
    assert "no column model_id, so no row is an event: name the model" in lacking[0]
    assert "no column event_time, so no row is an event: name the column of the time with --time" in lacking[1]


@pytest.mark.parametrize(("shift", "part"), [(-30, "begin on 199"), (120, "end on 214")])
def test_times_of_another_age_are_pointed_out(shift, part):
    """Times before 2000, or after 2100, are probably in another unit."""
    table = flights().slice(0, 20)
    at = pa.array(np.array(table["at"].cast(pa.int64())) + shift * 365 * 86_400_000)
    summary, _ = replayed(NamedTable("flights", table.set_column(0, "at", at)))
    assert any(part in one for one in summary.warnings), summary.warnings


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (TableMapping(time="att", model="eta"), "flights has no column att; did you mean at?"),
        (TableMapping(time="at", model="eta", features=("x9",)), "flights has no column x9; it has at, delay"),
        (TableMapping(model="eta", model_column="origin"), "name the model of all rows, or the column"),
    ],
)
def test_a_mapping_that_does_not_fit_is_a_sentence(mapping, message):
    """A column that the table lacks is named with a near one."""
    with pytest.raises(UsageError, match=message):
        mapping.configured(Config(), [NamedTable("flights", flights())])


def test_a_recording_has_no_columns_to_name(tmp_path):
    """JSON lines are mapped in a configuration."""
    (tmp_path / "a.jsonl").write_text('{"model_id": "m"}\n')
    with pytest.raises(UsageError, match=r"topics\.<topic>\.fields"):
        MAPPING.configured(Config(), [str(tmp_path / "a.jsonl")])


def test_options_are_a_mapping():
    """Features stand in one text; what is not given is not mapped."""
    given = mapping_of({"time": "at", "features": " a, b c ,", "model": "m"})
    assert (given.time, given.features, given.model, given.label) == ("at", ("a", "b c"), "m", None)
    assert not mapping_of({}).is_given


def decoded(selection):
    """(model, time, columns, kind) of each chosen event of four."""
    events = [
        {"model_id": f"m{i % 2}", "event_time": START_MS + i, "features": {"a": i, "b": "x"}, "prediction": i + 0.5,
         "label": 1.0} for i in range(4)
    ]  # fmt: skip
    settings, codec = CODECS["json"]
    codecs = selection.of({"t": codec(settings())})
    names, found = Names.fresh(), []
    for part in (events[:1], events[1:]):
        rows = [(i, -1, None, json.dumps(one).encode(), ()) for i, one in enumerate(part)]
        batch, dead = codecs["t"].decode(Records.build("t", 0, rows), names)
        assert not len(dead)
        for i in range(len(batch)):
            columns = [names.columns.names[c] for c in batch.column[batch.start[i] : batch.start[i + 1]]]
            at = int(batch.event_time_ms[i]) - START_MS
            found.append((names.models.names[batch.model[i]], at, columns, bool(batch.kind[i] & EventKind.LABEL)))
    return found


def test_a_selection_is_a_part_of_the_events():
    """A span includes its begin and excludes its end; patterns choose models and columns."""
    every = [(f"m{i % 2}", i, ["prediction", "a", "b"], True) for i in range(4)]
    assert decoded(EVERYTHING) == every
    assert decoded(Selection(since_ms=START_MS + 1, until_ms=START_MS + 3)) == every[1:3]
    assert decoded(Selection(models=("m1",))) == [every[1], every[3]]
    assert decoded(Selection(columns=("a",))) == [(f"m{i % 2}", i, ["a"], False) for i in range(4)]
    assert decoded(Selection(columns=("pred*",))) == [(f"m{i % 2}", i, ["prediction"], True) for i in range(4)]
    assert decoded(Selection(columns=("c",))) == []


def test_a_replay_of_a_part_counts_that_part():
    """Models, events and columns that are not chosen are in no count."""
    chosen = selection_of("2026-03-02T06:05:00Z", "2026-03-02T06:15", (), ["delay"])
    summary, _ = replayed(NamedTable("flights", flights()), selection=chosen)
    assert (summary.records, summary.events, summary.series, summary.models) == (N, 10, 1, 1)
    summary, _ = replayed(NamedTable("flights", flights()), selection=Selection(models=("other*",)))
    assert (summary.records, summary.events, summary.models) == (N, 0, 0)


def test_times_of_a_span_are_read():
    """A day is its begin in UTC; a time keeps its zone; other texts, and empty spans, are refused."""
    assert time_ms("2026-05-12", "--from") == 1_778_544_000_000
    assert time_ms("2026-05-12T02:00:00+02:00", "--from") == time_ms("2026-05-12", "--from")
    with pytest.raises(UsageError, match="--until '5/12' is no time"):
        selection_of(until="5/12")
    with pytest.raises(UsageError, match="is not before"):
        selection_of("2026-05-12", "2026-05-12")
