"""Training-time distributions: what each column of each model looked like when the model was trained.

They come from a Parquet file of training data: a text column `model_id`, optionally `model_version`, and one numeric
column a feature (`prediction` and `error` included, if they are to be compared). Rows of one model are its sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detectors.reference import Reference
from streamer.errors import UsageError

KEYS = ("model_id", "model_version")


@dataclass(frozen=True, slots=True)
class References:
    """References by (model, version, column); version "" stands for every version that has none of its own."""

    by_series: Mapping[tuple[str, str, str], Reference] = field(default_factory=dict)

    def of(self, model: str, version: str, column: str) -> Reference | None:
        """The reference to compare this column with, if there is one."""
        found = self.by_series.get((model, version, column))
        return found if found is not None else self.by_series.get((model, "", column))

    def __len__(self) -> int:
        return len(self.by_series)


def load_references(path: str, size_max: int) -> References:
    """Read training data from Parquet, thinning samples to `size_max` values. Raises `UsageError` if it can't."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as problem:
        raise UsageError(f"{path}: the training reference can't be read: {problem}") from problem
    if "model_id" not in table.column_names:
        have = ", ".join(table.column_names)
        raise UsageError(f"{path}: a training reference needs a column model_id that names the model; it has {have}")
    features = [
        f.name
        for f in table.schema
        if f.name not in KEYS and (pa.types.is_floating(f.type) or pa.types.is_integer(f.type))
    ]
    if not features:
        raise UsageError(f"{path}: a training reference needs numeric feature columns beside model_id; it has none")
    if "model_version" not in table.column_names:
        table = table.append_column("model_version", pa.array([""] * len(table), pa.string()))
    try:
        return References(_samples(table, features, size_max))
    except pa.ArrowException as problem:
        raise UsageError(
            f"{path}: model_id and model_version of a training reference must be text: {problem}"
        ) from None


def _samples(table: object, features: list[str], size_max: int) -> dict[tuple[str, str, str], Reference]:
    """The sample of each feature of each model and version."""
    import pyarrow.compute as pc

    samples: dict[tuple[str, str, str], Reference] = {}
    keys = [pc.fill_null(table[k].cast("string"), "").to_numpy() for k in KEYS]  # type: ignore[index]
    whose, inverse = np.unique(np.stack(keys).astype(str), axis=1, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    edges = np.searchsorted(inverse[order], np.arange(whose.shape[1] + 1))
    for feature in features:
        values = table[feature].cast("double").to_numpy().astype(np.float64)[order]  # type: ignore[index]
        for w in range(whose.shape[1]):
            sample = values[edges[w] : edges[w + 1]]
            sample = sample[np.isfinite(sample)]
            if len(sample):
                samples[str(whose[0, w]), str(whose[1, w]), feature] = Reference.of(sample, size_max)
    return samples
