"""The package `driftline`: its page is true, and it gives what the command gives."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import wasserstein_distance

import driftline
from streamer.app import replay as app
from streamer.app.offline.table_files import NamedTable, TableMapping
from streamer.config import Config, ConfigError
from streamer.errors import UsageError


def rides(n=1_500):
    rng = np.random.default_rng(2)
    gap = rng.normal(300, 30, n) + 150 * (np.arange(n) >= 900)
    return pa.table({
        "at": pa.array(1_772_431_200_000 + 60_000 * np.arange(n), pa.timestamp("ms")), "line": ["<b>"] * n,
        "gap": gap.round(2), "eta": (gap / 60).round(2), "took": (gap / 60 + 0.1).round(2),
    })  # fmt: skip


NAMED = {"time": "at", "model_column": "line", "features": ["gap"], "prediction": "eta", "label": "took"}


@pytest.fixture(scope="module")
def found():
    return driftline.replay(rides(), **NAMED)


def test_the_page_is_true():
    """Every example of docs/python.md gives the output that the page shows."""
    flags = doctest.IGNORE_EXCEPTION_DETAIL
    failed, tried = doctest.testfile(
        str(Path(__file__).parents[2] / "docs/python.md"), module_relative=False, optionflags=flags
    )
    assert (failed, tried > 20) == (0, True)


def test_the_import_loads_nothing_of_the_service():
    """Names are imported at their first use; an unknown name is an error that lists the known ones."""
    code = "import sys, driftline; print(sorted(m for m in sys.modules if m.split('.')[0] in ('streamer', 'numba')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
    assert {*driftline.__all__} <= {*dir(driftline)}
    with pytest.raises(AttributeError, match="it has ClassHistory, FakeTrainer, Findings"):
        _ = driftline.reply


def test_the_api_finds_what_a_replay_publishes(found):
    """The records are those of the same replay by the command, in their order."""
    published = []
    mapping = TableMapping(**{**NAMED, "features": ("gap",)})
    table = NamedTable("frame", rides())
    app.replay(mapping.configured(Config(), [table]), [table], None, published.append, lambda *_: None)
    alerts = [one.value for one in published if one.topic == "driftline.alerts"]
    assert [value for kind, value in found.records if kind == "alert"] == alerts
    assert len(found.alerts) == len({json.loads(one)["alert_id"] for one in alerts}) > 0
    assert {one.column for one in found.alerts} == {"gap", "prediction"}
    assert all(one.state.value == "ready" for one in found.alerts)


def test_tables_have_a_row_for_each_record(found):
    """Types of columns don't depend on the rows; an empty kind is a table without rows."""
    table = found.alerts_table()
    assert table.num_rows == len(found.alerts)
    assert table.schema.field("onset").type == pa.timestamp("ms", "UTC")
    assert table["model_id"].to_pylist() == ["<b>"] * table.num_rows
    quiet = driftline.replay(rides(100), **NAMED)
    assert quiet.alerts_table().schema == table.schema
    assert [quiet.alerts, quiet.incidents_table().num_rows, quiet.requests_table().num_rows] == [(), 0, 0]
    assert found.requests_table()["request_id"].to_pylist() == [one.request_id for one in found.requests]
    assert found.decisions_table().num_rows == len(found.decisions)


def test_distances_are_those_of_the_values(found):
    """Four numbers of each measured alert: Wasserstein is that of the values within a tenth, KS at most the effect."""
    table = found.distances_table()
    assert table.num_rows == 4 * len(found.alerts)
    alert = next(one for one in found.alerts if one.column == "gap")
    of, at = alert.distribution, alert.onset.offset
    gaps = rides()["gap"].to_numpy()
    was, now = gaps[at - of.n_before : at], gaps[at : at + of.n_after]
    measured = {one["distance"]: one for one in table.to_pylist() if one["alert_id"] == alert.alert_id}
    assert measured["wasserstein"]["value"] == pytest.approx(wasserstein_distance(was, now), rel=0.1)
    assert measured["ks"]["value"] <= alert.effect + 0.05
    assert all(one["low"] <= one["value"] <= one["high"] for one in measured.values())
    assert all(one["by_chance"] < one["low"] for one in measured.values())
    assert {(one["n_before"], one["n_after"]) for one in measured.values()} == {(of.n_before, of.n_after)}
    assert driftline.replay(rides(100), **NAMED).distances_table().schema == table.schema


def test_html_escapes_names(found):
    """A model may have any name."""
    html = found._repr_html_()
    assert "<b></td>" not in html
    assert "&lt;b&gt;" in html


def test_anything_with_the_stream_of_arrow_is_a_frame(found):
    """Frames hand over their columns as pandas and polars do; anything else is refused."""

    class Frame:
        def __arrow_c_stream__(self, requested_schema=None):
            index = pa.array(np.arange(rides().num_rows))
            return rides().append_column("__index_level_0__", index).__arrow_c_stream__(requested_schema)

    assert driftline.replay(Frame(), **NAMED).records == found.records
    with pytest.raises(UsageError, match="a list is no table"):
        driftline.replay([1, 2], time="at")


def test_rows_in_any_order_and_without_times(found):
    """Sorted, a shuffled frame gives the same records; `every` gives times, without which a frame is refused."""
    shuffled = rides().take(np.random.default_rng(3).permutation(rides().num_rows))
    assert driftline.replay(shuffled, **NAMED, sort=True).records == found.records
    untimed = rides().drop_columns(["at"])
    alerts = driftline.watch(untimed, every="1m", model="m", features=["gap"]).alerts
    assert {(one.model_id, one.column, one.at.event_time.year) for one in alerts} == {("m", "gap", 2000)}
    with pytest.raises(UsageError, match="no column event_time: name the column of the time"):
        driftline.watch(untimed)


def test_training_data_are_a_frame_a_file_or_references(tmp_path):
    """All three give the same alerts, and their digest stands in them."""
    train, live = rides(800), rides()
    references = driftline.reference_from(
        train, model="m", prediction="eta", label="took", columns=["gap", "eta", "error"]
    )
    pq.write_table(train, tmp_path / "train.parquet")
    options = {name: value for name, value in NAMED.items() if name != "model_column"} | {"model": "m"}
    by_frame = driftline.watch(live, reference=train, **options)
    assert references.columns == ("gap", "prediction", "error")
    assert by_frame.alerts[0].reference_digest
    assert driftline.watch(live, reference=references, **options).records == by_frame.records
    saved = references.save(tmp_path / "m.reference")
    assert driftline.watch(live, reference=saved, **options).records == by_frame.records


def test_a_configuration_is_a_mapping_or_a_file(tmp_path, found):
    """Both are checked as by the command."""
    config = {"retrain": {"approval": "not_required"}, "detectors": {"+ks_window": None}}
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    by_mapping = driftline.replay(rides(), config=config, **NAMED)
    assert by_mapping.records == driftline.replay(rides(), config=tmp_path / "c.yaml", **NAMED).records
    assert "ks_window" in {one.detector for one in by_mapping.alerts}
    with pytest.raises(ConfigError, match="did you mean retrain"):
        driftline.replay(rides(), config={"retrian": {}}, **NAMED)
