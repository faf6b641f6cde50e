"""`driftline reference build`: training data in, the same references out that the training data themselves give."""

import json
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from damage_kit import damaged
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from detectors.reference import CategoryReference, Reference
from detectors.registry import DETECTORS
from streamer.app import replay as app
from streamer.app.folds import ConfiguredFolds, reference_size_by_default
from streamer.cli import main
from streamer.config import Config
from streamer.config.models import ReferencesSection
from streamer.detect.references.build import CATEGORIES_MAX, references_from
from streamer.detect.references.file import FORMAT_KEY, AnyReference, Key, read_references, write_references
from streamer.detect.references.table import load_references
from streamer.detect.references.training import TrainingData
from streamer.errors import UsageError

KINDS = {name: DETECTORS[name].settings() for name in ("ks_window", "category_window")}


def training(rows=900):
    rng = np.random.default_rng(1)
    x = rng.normal(size=rows)
    x[::11] = np.nan
    return pa.table(
        {
            "model_id": [f"m{i % 3}" for i in range(rows)],
            "model_version": [str(i % 2) for i in range(rows)],
            "x": x,
            "late": pa.array([bool(i % 5) for i in range(rows)]),
            "weather": pa.array([None if i % 7 == 0 else ("sun", "rain")[i % 4 == 0] for i in range(rows)]),
            "when": pa.array(range(rows), pa.timestamp("ms")),
        }
    )


def built(tmp_path, *arguments):
    out = tmp_path / "models.reference"
    ran = CliRunner().invoke(main, ["reference", "build", *map(str, arguments), "--out", str(out)])
    return ran, out


def facts(references):
    return {
        key: (
            one.digest,
            one.n_seen,
            one.n_missing,
            *((one.low, one.high) if isinstance(one, Reference) else one.names),
        )
        for key, one in references.by_series.items()
    }


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_the_file_holds_what_the_training_data_say(tmp_path, kind):
    """Digests, extremes, counts and missing values are those of the rows, whether from Parquet or CSV."""
    given_in = tmp_path / f"training.{kind}"
    table = training()
    if kind == "csv":
        table = table.drop_columns("when")
        pc.write_csv(table.set_column(2, "x", pa.array(table["x"].to_numpy(), from_pandas=True)), given_in)
    else:
        pq.write_table(table, given_in)
    ran, out = built(tmp_path, given_in, "--format", kind)
    assert ran.exit_code == 0, ran.output
    assert "18 columns of 6 versions of 3 models, from 900 rows" in ran.output
    assert ("left out: when: times (timestamp[ms]) are not compared" in ran.output) == (kind == "parquet")
    found = load_references(str(out), 500)
    mine = [i for i in range(900) if i % 3 == 1 and i % 2 == 1]
    x = table["x"].to_numpy()[mine]
    reference = found.of("m1", "1", "x")
    assert reference.digest == Reference.of(x, 500).digest
    assert (reference.low, reference.high) == (np.nanmin(x), np.nanmax(x))
    assert reference.n_missing == np.count_nonzero(np.isnan(x)) > 0
    weather = found.categories_of("m1", "1", "weather")
    texts = [text for text in table["weather"].take(mine).to_pylist() if text]
    assert dict(zip(weather.names, weather.counts.tolist(), strict=True)) == {t: texts.count(t) for t in set(texts)}
    assert weather.n_missing == len(mine) - len(texts)


def test_building_again_gives_the_same_bytes(tmp_path):
    """Neither the order of rows nor a second run changes a byte of the file."""
    table = training()
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table.take(np.random.default_rng(2).permutation(len(table))), tmp_path / "b.parquet")
    first = built(tmp_path, tmp_path / "a.parquet")[1].read_bytes()
    assert built(tmp_path, tmp_path / "b.parquet")[1].read_bytes() == first


def test_a_built_file_and_its_training_data_are_the_same_to_a_service(tmp_path):
    """`references.file` takes both, and a smaller size thins both."""
    pq.write_table(training(), tmp_path / "t.parquet")
    _, out = built(tmp_path, tmp_path / "t.parquet")
    assert facts(load_references(str(out), 500)) == facts(load_references(str(tmp_path / "t.parquet"), 500))
    assert len(load_references(str(out), 70).of("m1", "1", "x").values) == 70


def test_one_model_without_columns_of_names(tmp_path):
    """Data of a single model need no column that names it."""
    pq.write_table(training().select(["x"]), tmp_path / "t.parquet")
    ran, out = built(tmp_path, tmp_path / "t.parquet", "--model", "bus-1", "--model-version", "7")
    assert ran.exit_code == 0, ran.output
    assert load_references(str(out), 500).of("bus-1", "7", "x").n_seen == 818
    ran, _ = built(tmp_path, tmp_path / "t.parquet")
    assert (ran.exit_code, "needs a column model_id that names the model; it has x" in ran.output) == (2, True)


def test_damage_and_other_versions_are_told(tmp_path):
    """A changed value gives another digest; a layout of the future is refused by name."""
    pq.write_table(training(), tmp_path / "t.parquet")
    _, out = built(tmp_path, tmp_path / "t.parquet")
    table = pq.read_table(out)
    values = table["values"].to_pylist()
    next(filter(None, values))[0] += 1.0
    field = table.schema.field("values")
    damaged = table.set_column(table.schema.get_field_index("values"), field, pa.array(values, field.type))
    pq.write_table(damaged, out)
    with pytest.raises(UsageError, match="the file is damaged"):
        load_references(str(out), 500)
    pq.write_table(table.replace_schema_metadata({FORMAT_KEY: b"9"}), out)
    with pytest.raises(UsageError, match="format 9, but this version reads 2"):
        load_references(str(out), 500)


def everything_of(references):
    """All that references hold, as plain values."""
    return {
        key: (one.digest, one.n_seen, one.n_missing)
        + (
            (one.low, one.high, one.values.tobytes())
            if isinstance(one, Reference)
            else (one.names, one.counts.tolist())
        )
        for key, one in references.items()
    }


def test_whatever_is_damaged_is_a_sentence_or_the_same(tmp_path):
    """Wherever a reference file is damaged, also in names and counts, it is refused or read as it was."""
    rng, path = random.Random(7), tmp_path / "models.reference"
    sample = np.random.default_rng(7)
    written: dict[Key, AnyReference] = {("m", "7", f"c{i}"): Reference.of(sample.normal(size=60), 50) for i in range(6)}
    written |= {("m", "", f"k{i}"): CategoryReference.of({"sun": 5, "rain": 1 + i}, i) for i in range(3)}
    write_references(str(path), written)
    whole, wanted = path.read_bytes(), everything_of(read_references(str(path), 50))
    outcomes = Counter()
    for _ in range(1500):
        path.write_bytes(damaged(whole, rng))
        try:
            assert everything_of(load_references(str(path), 50).by_series) == wanted
            outcomes["same"] += 1
        except UsageError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 1000


def test_damaged_training_data_are_a_sentence(tmp_path):
    """Training data hold no digests; what can't be read is refused without a traceback."""
    rng, path = random.Random(8), tmp_path / "t.parquet"
    pq.write_table(training().slice(0, 200), path)
    whole, refused = path.read_bytes(), 0
    for _ in range(500):
        path.write_bytes(damaged(whole, rng))
        try:
            load_references(str(path), 50)
        except UsageError:
            refused += 1
    assert refused > 200


def test_of_many_categories_the_most_frequent_are_kept(tmp_path):
    """A column of texts that never repeat can't make a file of its own size."""
    texts = [f"t{i:05}" for i in range(3000)] + ["often"] * 10
    pq.write_table(pa.table({"model_id": ["m"] * len(texts), "c": texts}), tmp_path / "t.parquet")
    reference = references_from(TrainingData((str(tmp_path / "t.parquet"),)), 500).by_series["m", "", "c"]
    assert len(reference.names) == CATEGORIES_MAX + 1
    assert (reference.n_seen, "often" in reference.names) == (len(texts), True)


keys = st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
numbers = st.builds(
    lambda values, size: Reference.of(values, size), st.lists(st.floats(-1e300, 1e300), min_size=1), st.integers(1, 9)
)
categories = st.builds(
    CategoryReference.of, st.dictionaries(st.text(max_size=3), st.integers(1, 9), min_size=1), st.integers(0, 9)
)


@given(st.dictionaries(keys, numbers | categories))
def test_what_is_written_is_read(tmp_path_factory, references):
    """Every name and number comes back bit for bit."""
    where = str(tmp_path_factory.getbasetemp() / "round.reference")
    write_references(where, references)
    again = read_references(where, 9)
    assert list(again) == sorted(references)
    for key, one in references.items():
        assert (again[key].digest, again[key].n_seen, again[key].n_missing) == (one.digest, one.n_seen, one.n_missing)
        if isinstance(one, Reference):
            assert again[key].values.tobytes() == one.values.tobytes()


def test_categories_are_compared_with_training_data(tmp_path):
    """A model whose weather was never that of its training alerts at once, and names the digest of the reference."""
    rng = np.random.default_rng(1)
    trained = rng.choice(["sun", "cloud", "rain"], 5000, p=[0.8, 0.1, 0.1])
    pq.write_table(pa.table({"model_id": ["m"] * 5000, "weather": trained}), tmp_path / "t.parquet")
    _, out = built(tmp_path, tmp_path / "t.parquet")
    seen = rng.choice(["sun", "cloud", "rain"], 1500, p=[0.4, 0.1, 0.5])
    lines = [{"model_id": "m", "event_time": i, "features": {"weather": w}} for i, w in enumerate(seen.tolist())]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    reported = []
    config = Config(detectors=KINDS, references=ReferencesSection(file=str(out)))
    app.replay(config, [str(tmp_path / "p.jsonl")], "predictions", reported.append, lambda *_: None)
    alert = next(json.loads(output.value) for output in reported if output.topic == "driftline.alerts")
    reference = load_references(str(out), 500).categories_of("m", "", "weather")
    assert (alert["detector"], alert["reference_digest"]) == ("category_window", reference.digest)
    assert alert["category"] in ("sun", "rain")
    assert alert["at"]["offset"] < 600


def test_training_data_and_the_file_may_be_in_an_object_store(s3):
    """Both go through S3's own protocol; a configuration reads the file from there."""
    system, _ = fs.FileSystem.from_uri(s3)
    with system.open_output_stream("bucket/training/part-0.parquet") as sink:
        pq.write_table(training(), sink)
    folder, file = s3.replace("/prefix?", "/training?"), s3.replace("/prefix?", "/models.reference?")
    ran = CliRunner().invoke(main, ["reference", "build", folder, "--out", file])
    assert ran.exit_code == 0, ran.output
    config = Config(detectors=KINDS, references=ReferencesSection(file=file))
    fold = ConfiguredFolds(config).fresh("detect-0", config.settings_text)
    assert len(fold.settings.references) == 18


def test_the_help_states_the_size_in_use():
    """The default of --size in the help is that of the default detectors."""
    text = CliRunner().invoke(main, ["reference", "build", "--help"]).output
    assert f"[default: {reference_size_by_default()}]" in " ".join(text.split())
