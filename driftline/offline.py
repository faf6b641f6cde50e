"""Replays of files, folders and tables in memory, and training references of frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from driftline.findings import Findings
from streamer.app.folds import reference_size_by_default
from streamer.app.offline.injection import injections_of
from streamer.app.offline.selection import selection_of
from streamer.app.offline.table_files import NamedTable, TableMapping
from streamer.app.replay import replay as folded
from streamer.audit.source import kinds_of
from streamer.config import Config, load_config
from streamer.config.models import ReferencesSection
from streamer.detect.references.build import Built, references_from
from streamer.detect.references.file import write_references
from streamer.detect.references.training import TrainingData
from streamer.detect.settings import ErrorKind
from streamer.errors import UsageError
from streamer.eventlog.base import Output

FRAME_TOPIC: Final = "frame"  # of a table in memory without another name


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
    return NamedTable(name, arrow_of(source))


def arrow_of(frame: Any) -> pa.Table:
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
    pq.write_table(arrow_of(frame), path)
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
