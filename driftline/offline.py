"""What users do with tables and recordings: replays, training references, and the scores of classes by time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.notebook.named import ShiryaevRoberts
from detectors.profile.classes import calibration, class_scores
from driftline.findings import Findings
from streamer.app.folds import reference_size_by_default
from streamer.app.offline.injection import injections_of
from streamer.app.offline.selection import selection_of
from streamer.app.offline.table_files import NamedTable, TableMapping, loaded
from streamer.app.replay import replay as folded
from streamer.audit.source import kinds_of
from streamer.clock import seconds_of
from streamer.codecs.times import UNREADABLE, times_ms
from streamer.config import Config, load_config
from streamer.config.models import ReferencesSection
from streamer.detect.references.build import Built, references_from
from streamer.detect.references.file import write_references
from streamer.detect.references.training import TrainingData
from streamer.detect.settings import ErrorKind
from streamer.errors import UsageError
from streamer.eventlog.base import Output

FRAME_TOPIC: Final = "frame"  # of a table in memory without another name
Z_95: Final = 1.959964
_TIME: Final = pa.timestamp("ms", "UTC")
_SCORES: Final = pa.schema([
    ("start", _TIME), ("class", pa.string()), ("n_labels", pa.int64()), ("n_predicted", pa.int64()),
    *((f"{name}{end}", pa.float64()) for name in ("precision", "recall") for end in ("", "_low", "_high")),
    ("f1", pa.float64()), ("calibration_error", pa.float64()), ("brier", pa.float64()),
])  # fmt: skip
_DRIFTS: Final = pa.schema([
    ("class", pa.string()), ("score", pa.string()), ("onset", _TIME), ("seen_at", _TIME), ("before", pa.float64()),
    ("after", pa.float64()),
])  # fmt: skip


@dataclass(frozen=True, repr=False)
class TrainingReferences:
    """The distributions of the columns of training data, from `reference_from`."""

    built: Built

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with a reference, in order of the data."""
        return tuple(dict.fromkeys(column for _, _, column in self.built.by_series))

    @property
    def left_out(self) -> dict[str, str]:
        """The columns without one, with the reason."""
        return dict(self.built.left_out)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the file that `references.file` of a configuration names."""
        write_references(fspath(path), self.built.by_series)
        return Path(path)

    def __repr__(self) -> str:
        return f"TrainingReferences: {', '.join(self.columns)}; from {self.built.rows:,} rows"


def replay(
    source: Any, *,
    config: str | PathLike[str] | Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None,
    reference: Any = None, topic: str | None = None, time: str | None = None, model: str | None = None,
    model_column: str | None = None, version: str | None = None, id: str | None = None,
    features: Sequence[str] = (), prediction: str | None = None, label: str | None = None, segment: str | None = None,
    since: str | None = None, until: str | None = None, models: Sequence[str] = (), columns: Sequence[str] = (),
    inject: Sequence[str] = (), seed: int = 0, sort: bool = False, every: str | None = None,
) -> Findings:  # fmt: skip
    """Fold a recording or table as the service does, without a broker.

    By name:

        source: path of a recording, a table (Parquet, Arrow, CSV) or a folder of tables; or a table in memory, of
            pyarrow, pandas, polars or another with `__arrow_c_stream__`.
        config: path of a configuration, or the same as a mapping; none: the defaults.
        reference: training data to compare with: a path, a `TrainingReferences`, or a table in memory of one model.
        topic: the topic of a source that names none; by default the name of the file, or `frame`.
        time, model, model_column, version, id, features, prediction, label, segment: the columns of a table, by name;
            `model` is the model of all rows. See `driftline replay --help`.
        since, until, models, columns: the part that is folded: times as in "2026-05-12", and patterns.
        inject, seed: changes of events, as of `--inject`, and the seed of their shares.
        sort, every: fold the rows of a table in order of time; how far apart rows without a time are, as in "1m".
        settings: single settings by their dotted name, as in {"retrain.cooldown_s": 0}.

    Raises `UsageError` for a source that can't be read, and `ConfigError` for wrong settings.
    """
    named = time, model, model_column, version, id, tuple(features), prediction, label, segment, sort, every
    mapping = TableMapping(*named)
    selection = selection_of(since, until, models, columns, injections_of(inject, seed))
    (table,) = mapping.arranged([_table_of(source, topic or FRAME_TOPIC)])
    with TemporaryDirectory(prefix="driftline-") as folder:
        loaded = config_of(config, settings, Path(folder))
        if mapping.is_given:
            loaded = mapping.configured(loaded, [table], topic)
        if reference is not None:
            loaded = _compared(loaded, reference, mapping, Path(folder))
        kinds, found = kinds_of(loaded.outputs), list[tuple[str, bytes]]()

        def keep(output: Output) -> None:
            if output.value is not None and (kind := kinds.get(output.topic)) is not None:
                found.append((kind, output.value))

        summary = folded(loaded, [table], topic, keep, lambda *_: None, selection)
    return Findings(summary, loaded, tuple(found))


def watch(
    frame: Any, *, time: str | None = None, reference: Any = None, model: str = "model", **options: Any
) -> Findings:
    """Fold the rows of one model, compared with its training data, or with its own first rows.

    By name:

        frame: a table in memory, or a path; see `replay`.
        time: the column with the time of a row; without one, `every` says how far apart rows are.
        reference: training data of the same columns: a table in memory, a path, or a `TrainingReferences`.
        model: the name of the model in what is found.
        options: further ones of `replay`, such as `prediction` and `label`.

    Raises as `replay` does.
    """
    return replay(frame, time=time, reference=reference, model=model, **options)


def reference_from(
    frame: Any,
    *,
    model: str | None = "model",
    model_column: str = "model_id",
    prediction: str = "prediction",
    label: str = "label",
    error: str = "absolute",
    columns: Sequence[str] = (),
    without: Sequence[str] = (),
    size: int | None = None,
) -> TrainingReferences:
    """The distributions of training data: a table in memory, or paths as of `driftline reference build`.

    By name:

        frame: a table in memory, or the path of a file or folder of Parquet or CSV.
        model: the model of all rows; None: as `model_column` says.
        prediction, label: with both, the distribution of the error is computed, of the kind `error`.
        columns, without: patterns of columns to take and to leave out.
        size: values kept of a column; None: the largest that a default detector takes.

    Raises `UsageError` for data without a usable column.
    """
    with TemporaryDirectory(prefix="driftline-") as folder:
        data = TrainingData(
            [_as_file(frame, Path(folder))], model=model, model_column=model_column, prediction=prediction,
            label=label, error=ErrorKind(error), columns=tuple(columns), without=tuple(without),
        )  # fmt: skip
        return TrainingReferences(references_from(data, size or reference_size_by_default()))


def _table_of(source: Any, name: str) -> str | NamedTable:
    """A path, or a table in memory. Raises `UsageError`."""
    if isinstance(source, str | PathLike):
        return fspath(source)
    return NamedTable(name, _arrow_of(source))


def _arrow_of(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, Mapping) or not hasattr(frame, "__arrow_c_stream__"):
        raise UsageError(
            f"a {type(frame).__name__} is no table; give a path, or a table of pyarrow, pandas 2.2 or polars"
        )
    return pa.table(frame)


def _as_file(frame: Any, folder: Path) -> str:
    if isinstance(frame, str | PathLike):
        return fspath(frame)
    path = folder / "training.parquet"
    pq.write_table(_arrow_of(frame), path)
    return str(path)


def config_of(
    config: str | PathLike[str] | Mapping[str, Any] | None, settings: Mapping[str, Any] | None, folder: Path
) -> Config:
    """The configuration of a path or a mapping, with single settings. Raises `ConfigError`."""
    sets = [f"{name}={json.dumps(value)}" for name, value in (settings or {}).items()]
    if isinstance(config, Mapping):
        path = folder / "config"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        return load_config(str(path), needs=(), sets=sets)
    return load_config(None if config is None else fspath(config), needs=(), sets=sets)


def _compared(config: Config, reference: Any, mapping: TableMapping, folder: Path) -> Config:
    """The configuration with training data to compare with."""
    if isinstance(reference, str | PathLike):
        file = fspath(reference)
    else:
        if not isinstance(reference, TrainingReferences):
            named = {name: value for name in ("prediction", "label") if (value := getattr(mapping, name))}
            others = (mapping.time, mapping.id, mapping.segment, mapping.version)
            reference = reference_from(
                reference, model=mapping.model, model_column=mapping.model_column or "model_id",
                columns=tuple(_chosen(mapping)), without=tuple(filter(None, others)),
                error=config.labels.error.value, **named,
            )  # fmt: skip
        file = fspath(reference.save(folder / "training.reference"))
    return config.model_copy(update={"references": ReferencesSection(file=file)})


def _chosen(mapping: TableMapping) -> Iterator[str]:
    """The columns of training data that are compared; none: all."""
    if mapping.features:
        yield from mapping.features
        yield from filter(None, (mapping.prediction or "prediction", "error"))


@dataclass(frozen=True, slots=True)
class ClassHistory:
    """What `class_history` found, as tables of Arrow."""

    scores: pa.Table  # a row an interval and class, in order; null where a score has no case
    drifts: pa.Table  # a row a class and score that changed: since when, when it was seen, its mean before and after


def class_history(
    frame: Any, *, time: str, prediction: str, label: str, every: str = "1d",
    probabilities: Mapping[str, str] | None = None, arl0: float = 1e5,
) -> ClassHistory:  # fmt: skip
    """The scores of each class of a table whose rows have a prediction and a label, and which of them drifted.

    By name:

        frame: a table in memory, or a path; see `replay`. Rows without a prediction or label are left out.
        time, prediction, label: columns: when the event happened, the predicted class, the true one. Classes are
            compared as texts.
        every: length of an interval, as in "1d".
        probabilities: for each class whose calibration is wanted, the column with its predicted probability.
        arl0: events of a class between false alarms of a drift, on average.

    `_low` and `_high` bound precision and recall at 95 %, by the score interval of E. B. Wilson (1927), for events that
    do not depend on each other. `calibration_error` is the mean absolute difference of probability and share, in ten
    bins. Drifts are those of `ShiryaevRoberts` on whether each event of a class was predicted so (recall), and whether
    each one predicted so was of it (precision). Raises `UsageError` for a table without the columns, and ValueError for
    times and probabilities that are none.
    """
    table = loaded(_table_of(frame, FRAME_TOPIC)).table
    wanted = [time, prediction, label, *(probabilities or {}).values()]
    if lacking := [name for name in wanted if name not in table.column_names]:
        raise UsageError(f"the table has no column {lacking[0]}; it has {', '.join(table.column_names)}")
    table = table.select(list(dict.fromkeys(wanted))).drop_null()
    at_ms = _times(table[time], time)
    order = np.argsort(at_ms, kind="stable")
    at_ms, truth, said = at_ms[order], _texts(table[label])[order], _texts(table[prediction])[order]
    chances = {of: table[name].to_numpy()[order] for of, name in (probabilities or {}).items()}
    step_ms = 1000 * seconds_of(every, least=1)
    rows = [
        row
        for start in np.unique(at_ms // step_ms)
        for row in _scores(int(start * step_ms), at_ms // step_ms == start, truth, said, chances)
    ]
    drifts = [row for name in np.unique(truth) for row in _drifts(name, at_ms, truth, said, arl0)]
    return ClassHistory(pa.Table.from_pylist(rows, _SCORES), pa.Table.from_pylist(drifts, _DRIFTS))


def _scores(start_ms: int, here: Any, truth: Any, said: Any, chances: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = class_scores(truth[here], said[here])
    for i, name in enumerate(found.name.tolist()):
        n, predicted, both = int(found.n_labels[i]), int(found.n_predicted[i]), int(found.n_both[i])
        row = {"start": start_ms, "class": name, "n_labels": n, "n_predicted": predicted}
        for score, of in (("precision", predicted), ("recall", n)):
            row |= dict(zip((score, f"{score}_low", f"{score}_high"), _wilson(both, of), strict=True))
        row["f1"] = float(found.f1[i])  # each class has a label or a prediction
        if name in chances:
            of_class = calibration(chances[name][here], truth[here] == name)
            row |= {"calibration_error": of_class.error, "brier": of_class.brier}
        yield row


def _wilson(part: int, whole: int) -> tuple[float | None, float | None, float | None]:
    """A share, and its bounds."""
    if not whole:
        return None, None, None
    share, z2 = part / whole, Z_95**2 / whole
    middle = (share + z2 / 2) / (1 + z2)
    reach = Z_95 / (1 + z2) * (share * (1 - share) / whole + z2 / whole / 4) ** 0.5
    return share, max(middle - reach, 0.0), min(middle + reach, 1.0)


def _drifts(name: str, at_ms: Any, truth: Any, said: Any, arl0: float) -> Iterator[dict[str, Any]]:
    for score, of in (("precision", said == name), ("recall", truth == name)):
        times, hits = at_ms[of], (truth[of] == said[of]).astype(np.float64)
        for alarm in ShiryaevRoberts(arl0=arl0).update_many(hits):
            onset = alarm.at + 1 - alarm.n_current
            when = {"onset": int(times[onset]), "seen_at": int(times[alarm.at])}
            yield {"class": name, "score": score, **when, "before": alarm.before, "after": alarm.after}


def _texts(column: pa.ChunkedArray) -> Any:
    return np.array([str(value) for value in column.to_pylist()], dtype=object).astype(str)


def _times(column: pa.ChunkedArray, name: str) -> Any:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
    found = times_ms(column.to_pylist(), "auto", np.full(len(column), UNREADABLE))
    if len(wrong := np.flatnonzero(found == UNREADABLE)):
        raise ValueError(f"{name} of row {wrong[0]} is no time: {column[int(wrong[0])].as_py()!r}")
    return found
