"""Training data as they lie about."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from situation_kit import built, event, reference, replayed


def test_ids_of_64_bits_are_left_out_by_name(tmp_path):
    """A snowflake or hash stands among the columns (apache/arrow#34901, pandas-dev/pandas#52827)."""
    rng = np.random.default_rng(1)
    columns = {"model_id": ["m"] * 300, "x": rng.normal(size=300), "user_id": rng.integers(2**61, 2**62, 300)}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    assert "left out: user_id: whole numbers beyond 2^53" in built(tmp_path, str(tmp_path / "train.parquet"))
    assert set(reference(tmp_path)) == {"x"}


def test_files_of_two_schemas(tmp_path):
    """Whole numbers in one month, fractions and a further column in the next (dask/dask#5759)."""
    rng, folder = np.random.default_rng(2), tmp_path / "t"
    folder.mkdir()
    pq.write_table(pa.table({"model_id": ["m"] * 300, "x": rng.integers(0, 9, 300)}), folder / "a.parquet")
    both = {"model_id": ["m"] * 300, "x": rng.normal(4, 1, 300), "y": rng.normal(size=300)}
    pq.write_table(pa.table(both), folder / "b.parquet")
    built(tmp_path, str(folder))
    found = reference(tmp_path)
    assert set(found) == {"x", "y"}


def test_codes_with_leading_zeros_in_csv(tmp_path):
    """Postcodes are categories, and are compared with training (NannyML/nannyml#292)."""
    zips = ["00501", "94110", "10001"]
    (tmp_path / "train.csv").write_text("model_id,zip\n" + "".join(f"m,{zips[i % 3]}\n" for i in range(600)))
    built(tmp_path, str(tmp_path / "train.csv"), "--format", "csv")
    records = [event(i, features={"zip": zips[i % 3]}, prediction=1.0) for i in range(300)]
    column = replayed(tmp_path, records, references={"file": str(tmp_path / "ref")}).columns("m")["zip"]
    assert (column["kind"], bool(column["reference"]), column["faults"]) == ("categories", True, 0)
