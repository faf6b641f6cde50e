"""Training-time distributions from a file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.registry import settings_of
from streamer.app.folds import ConfiguredFolds
from streamer.config import Config
from streamer.config.models import ReferencesSection
from streamer.detect.references.table import load_references


def written(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_rows_in_any_order_make_the_sample_of_their_model_and_version(tmp_path):
    """Samples are those of a plain loop over the rows; what is not finite is left out, and keys are no features."""
    rng = np.random.default_rng(1)
    n = 500
    model, version = rng.integers(0, 4, n), rng.integers(0, 3, n)
    x, y = rng.normal(size=n), rng.integers(0, 9, n)
    x[::50], x[7] = np.nan, np.inf
    models = pa.array([f"m{i}" for i in model]).dictionary_encode()
    file = written(tmp_path / "t.parquet", y=y, model_id=models, x=x, model_version=version, text=["t"] * n)
    found = load_references(file, 1000)
    assert len(found) == 4 * 3 * 3
    for m in range(4):
        for v in range(3):
            rows = (model == m) & (version == v)
            assert found.of(f"m{m}", str(v), "x").values.tolist() == sorted(x[rows & np.isfinite(x)])
            assert found.of(f"m{m}", str(v), "y").values.tolist() == sorted(y[rows])
            assert found.categories_of(f"m{m}", str(v), "text").counts.tolist() == [np.count_nonzero(rows)]
    assert found.of("m0", "0", "model_version") is None


def test_a_column_without_a_finite_value_has_no_reference(tmp_path):
    """A model whose column is null throughout is compared with its own first values."""
    file = written(tmp_path / "t.parquet", model_id=["a", "b"], x=pa.array([None, 1.0]))
    found = load_references(file, 10)
    assert found.of("a", "", "x") is None
    assert found.of("b", "", "x").values.tolist() == [1.0]


def test_a_version_of_its_own_comes_before_that_of_any(tmp_path):
    """Rows without a version serve every version that has no rows."""
    file = written(tmp_path / "t.parquet", model_id=["m", "m"], model_version=["2", None], x=[2.0, 9.0])
    found = load_references(file, 10)
    assert [found.of("m", version, "x").values.tolist() for version in ("1", "2", "")] == [[9.0], [2.0], [9.0]]
    assert found.of("m", "2", "z") is None
    assert found.of("other", "2", "x") is None


def test_samples_are_thinned_to_what_the_hungriest_detector_takes(tmp_path):
    """Memory follows the settings, not the size of the file."""
    file = written(tmp_path / "t.parquet", model_id=["m"] * 2400, x=np.arange(2400.0))
    for detectors, size in (
        ({"adwin": settings_of("adwin"), "ks_window": settings_of("ks_window", reference_size=70)}, 70),
        ({"adwin": settings_of("adwin")}, 2000),
    ):
        config = Config(detectors=detectors, references=ReferencesSection(file=file))
        fold = ConfiguredFolds(config).fresh("detect-0", config.settings_text)
        assert len(fold.settings.references.of("m", "", "x").values) == size
