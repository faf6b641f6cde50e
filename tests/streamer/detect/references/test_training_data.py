"""Training data as they are found: ids, differing files, partitions, CSV of all kinds."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from streamer.cli import main
from streamer.detect.label_matches import error_of
from streamer.detect.references.table import load_references
from streamer.detect.settings import ErrorKind


def build(where, tmp_path, *options):
    out = tmp_path / "out.reference"
    ran = CliRunner().invoke(main, ["reference", "build", str(where), "--out", str(out), *map(str, options)])
    assert ran.exit_code == 0, ran.output
    found = load_references(str(out), 1000)
    left_out = dict(
        line.removeprefix("left out: ").split(": ", 1)
        for line in ran.output.splitlines()
        if line.startswith("left out")
    )
    return found, left_out


def values(found, column, model="m", version=""):
    return found.of(model, version, column).values.tolist()


def counts(found, column, model="m"):
    one = found.categories_of(model, "", column)
    return dict(zip(one.names, one.counts.tolist(), strict=True))


def test_one_bad_column_never_loses_the_build(tmp_path):
    """Ids of 64 bits, times, lists and empty columns are left out with the reason; the rest is built."""
    pq.write_table(pa.table({
        "model_id": ["m", "m"], "x": [1.5, 2.5], "id": pa.array([2**63 - 1, 5], pa.int64()),
        "hash": pa.array([2**64 - 1, 5], pa.uint64()), "small": pa.array([3, 4], pa.uint64()),
        "fare": pa.array([Decimal("1.25"), None], pa.decimal128(9, 2)), "day": [date(2026, 3, 2)] * 2,
        "at": pa.array([1, 2], pa.timestamp("us")), "list": [[1], [2]], "raw": [b"a", b"b"], "none": pa.nulls(2),
        "yes": [True, False],
    }), tmp_path / "t.parquet")  # fmt: skip
    found, left_out = build(tmp_path / "t.parquet", tmp_path)
    assert left_out == {
        "id": "whole numbers beyond 2^53, as ids are",
        "hash": "whole numbers beyond 2^53, as ids are",
        "at": "times (timestamp[us]) are not compared",
        "list": "values of type list<element: int64> are not compared",
        "raw": "values of type binary are not compared",
        "none": "no value",
    }
    assert [values(found, name) for name in ("x", "small", "fare", "yes")] == [[1.5, 2.5], [3, 4], [1.25], [0, 1]]
    assert counts(found, "day") == {"2026-03-02": 2}


def test_files_may_differ_in_columns_and_types(tmp_path):
    """Whole numbers here and fractions there are numbers; a column that one file lacks is missing there."""
    folder = tmp_path / "t"
    folder.mkdir()
    pq.write_table(pa.table({"model_id": ["m"] * 2, "x": [1, 2], "mixed": [1, 2]}), folder / "a.parquet")
    pq.write_table(pa.table({"model_id": ["m"], "y": [7.0], "x": [0.5], "mixed": ["a"]}), folder / "b.parquet")
    found, left_out = build(folder, tmp_path)
    assert (values(found, "x"), values(found, "y"), found.of("m", "", "y").n_missing) == ([0.5, 1, 2], [7.0], 2)
    assert left_out["mixed"].startswith("numbers in some files and text in others; give --type mixed=text")
    found, _ = build(folder, tmp_path, "--type", "mixed=text")
    assert counts(found, "mixed") == {"1": 1, "2": 1, "a": 1}


def test_hive_partitions_are_columns(tmp_path):
    """Folders such as model_id=m/region=north give columns; numbers there are numbers, codes are texts."""
    for model, region, month, x in (("m", "north", "3", 1.0), ("m", "south%20end", "4", 2.0), ("n", "north", "5", 3.0)):
        folder = tmp_path / "t" / f"model_id={model}" / f"region={region}" / f"month={month}" / f"zip=0{month}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"x": [x]}), folder / "part-0.parquet")
    (tmp_path / "t" / "_SUCCESS").touch()
    found, left_out = build(tmp_path / "t", tmp_path)
    assert left_out == {}
    assert (values(found, "x"), values(found, "x", "n"), values(found, "month")) == ([1, 2], [3], [3, 4])
    assert counts(found, "region") == {"north": 1, "south end": 1}
    assert counts(found, "zip") == {"03": 1, "04": 1}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_is_read_by_evidence(tmp_path, separator):
    """Codes with leading zeros are texts, also where one alone has a zero; numbers, booleans and gaps are found."""
    rows = [
        ["model_id", "zip", "age", "open", "note", "007"],
        ["m", "94110", "41.5", "true", '"a, ""b"" ; |"', "1"],
        ["m", "00501", "", "FALSE", "", "2"],
    ]
    (tmp_path / "train.csv").write_bytes("\r\n".join(separator.join(row) for row in rows).encode("utf-8-sig"))
    found, left_out = build(tmp_path / "train.csv", tmp_path)
    assert left_out == {}
    assert counts(found, "zip") == {"94110": 1, "00501": 1}
    assert (values(found, "age"), values(found, "open"), values(found, "007")) == ([41.5], [0, 1], [1, 2])
    assert counts(found, "note") == {'a, "b" ; |': 1}


def test_csv_takes_its_encoding_and_types(tmp_path):
    """`--encoding` reads other bytes; `--type` decides where values would not."""
    (tmp_path / "train.csv").write_bytes("model_id,stop,line,fare\nm,Gare du Midi é,99,x1\nm,b,10,2".encode("latin1"))
    found, _ = build(
        tmp_path / "train.csv", tmp_path, "--encoding", "latin1", "--type", "line=text", "--type", "fare=number"
    )
    assert counts(found, "stop") == {"Gare du Midi é": 1, "b": 1}
    assert counts(found, "line") == {"99": 1, "10": 1}
    assert (values(found, "fare"), found.of("m", "", "fare").n_missing) == ([2.0], 1)


def test_columns_are_chosen_and_left_out(tmp_path):
    """Patterns choose columns; what they leave out is named."""
    pq.write_table(pa.table({"model_id": ["m"], "s_1": [1.0], "s_2": [2.0], "x": [3.0]}), tmp_path / "t.parquet")
    found, left_out = build(tmp_path / "t.parquet", tmp_path, "--columns", "s_*", "--without", "*_2")
    assert ([key[2] for key in found.by_series], left_out) == (["s_1"], {"s_2": "not chosen", "x": "not chosen"})


def test_columns_are_named_as_the_fields_of_a_topic(tmp_path):
    """With --topic, the columns of training data are those that the topic's fields read."""
    fields = {
        "model_id": "$.route",
        "model_version": "=7",
        "prediction": "$.out.eta",
        "features": {"headway": "$.in.h"},
    }
    config = {"topics": {"t": {"fields": fields}}}
    (tmp_path / "driftline.yaml").write_text(json.dumps(config))
    pq.write_table(pa.table({"route": [99, 99], "eta": [1.0, 2.0], "h": [3.0, 4.0]}), tmp_path / "t.parquet")
    found, _ = build(tmp_path / "t.parquet", tmp_path, "--topic", "t", "--config", tmp_path / "driftline.yaml")
    assert sorted(found.by_series) == [("99", "7", "headway"), ("99", "7", "prediction")]


def test_ids_that_pandas_made_floats_are_whole(tmp_path):
    """A model column of 7.0 and a missing one is the model 7."""
    pq.write_table(pa.table({"model_id": [7.0, None, 8.0], "x": [1.0, 2.0, 3.0]}), tmp_path / "t.parquet")
    found, _ = build(tmp_path / "t.parquet", tmp_path)
    assert sorted(key[0] for key in found.by_series) == ["", "7", "8"]


@pytest.mark.parametrize(("options", "words"), [
    (["--type", "zip"], "give COLUMN=TYPE"), (["--type", "zip=date"], "text"), (["--separator", "ab"], "one character"),
    (["--model-column", "route"], "Name it with --model-column"), (["--topic", "t"], "driftline.yaml"),
    (["--columns", "none"], "x: not chosen"), (["--encoding", "utf9", "--format", "csv"], "can't be read"),
])  # fmt: skip
def test_wrong_options_are_a_sentence(tmp_path, options, words):
    """What can't be done is refused with what to give."""
    pq.write_table(pa.table({"model_id": ["m"], "x": [1.0]}), tmp_path / "t.parquet")
    ran = CliRunner().invoke(main, ["reference", "build", str(tmp_path / "t.parquet"), "--out", "x", *options])
    assert ran.exit_code == 2, ran.output
    assert words in str(ran.output) + str(ran.exception)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_errors_are_computed_as_by_the_join(tmp_path, kind):
    """`error` is what the join of labels gives; labels, keys and indexes of pandas are left out."""
    p = [0.25, 0.5, 1.0, 0.0, None, 2.0]
    y = [0.0, 1.0, 1.0, 1.0, 1.0, None]
    table = pa.table({"p": p, "y": y, "x": range(6), "prediction_id": range(6), "__index_level_0__": range(6)})
    pq.write_table(table, tmp_path / "t.parquet")
    found, said = build(tmp_path, tmp_path, "--model", "m", "--prediction", "p", "--label", "y", "--error", kind.value)
    at = list(ErrorKind).index(kind)
    pairs = [(a, b) for a, b in zip(p, y, strict=True) if a is not None and b is not None]
    bits = [[int(np.float64(one).view(np.int64)) for one in pair] for pair in pairs]
    errors = [error_of(at, *pair, *of_pair) for pair, of_pair in zip(pairs, bits, strict=True)]
    wanted = sorted(error for error in errors if not np.isnan(error))
    assert values(found, "error") == pytest.approx(wanted)
    assert {column for _, _, column in found.by_series} == {"x", "prediction", "error"}
    for line in ("y: is a label", "prediction_id: is a key", "__index_level_0__: an index of pandas"):
        name, why = line.split(": ")
        assert said[name] == why


def test_errors_of_texts_need_classes(tmp_path):
    """Texts have no distance: the build says which kind of error they have."""
    pq.write_table(pa.table({"prediction": ["a", "b"], "label": ["a", "a"]}), tmp_path / "t.parquet")
    found, said = build(tmp_path, tmp_path, "--model", "m")
    assert said["error"] == "predictions or labels are texts; give --error zero_one for classes"
    found, _ = build(tmp_path, tmp_path, "--model", "m", "--error", "zero_one")
    assert values(found, "error") == [0.0, 1.0]
