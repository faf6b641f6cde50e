"""`read_window` and `write_window`: the training table of a request in memory, or as Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamer.app.folds import CanonicalCodecs, codec_of, reference_values
from streamer.codecs.base import Codec
from streamer.config import Config, load_config
from streamer.detect.references.build import references_from
from streamer.detect.references.store import ReferenceStore
from streamer.detect.references.training import TrainingData
from streamer.errors import UsageError
from streamer.eventlog.kafka.reader import read_to_end
from streamer.training.sources import BrokerSource, RecordingSource, WindowSource
from streamer.training.table import HISTORY, HOLDOUT, OWN
from streamer.training.window import Report, TrainingRequest, TrainingRows, WindowOptions, spots_of

GROUP_ROWS: Final = 65_536  # rows of a group of a file
OWN_COLUMNS: Final = (*OWN, HOLDOUT, HISTORY)  # of a training table, beside features
COMPARED: Final = ("prediction", "error")  # of these, those that are compared with training data


@dataclass(frozen=True, slots=True)
class WrittenWindow:
    """What `write_window` has written."""

    request: TrainingRequest
    files: Mapping[str, int]  # path -> rows
    rows: int
    labelled: int
    dead_letters: int
    span: tuple[int, int]  # event times of the first and the last row in ms


def read_window(
    request: str | Path | bytes | Mapping[str, Any],
    *,
    config: str | Config | None = None,
    recordings: Sequence[str] = (),
    topic: str | None = None,
    options: WindowOptions | None = None,
    report: Report = lambda _done, _total: None,
) -> pa.Table:
    """The training table of a request: one row for each prediction, in the order of the service.

    request: its id, the path of a file that holds it, or the record
    config: the configuration of the service or its path; None: `driftline.yaml`, or with recordings, canonical events
    recordings: read these instead of the broker; `topic` is that of JSON lines

    Columns: `event_time`, `model_id`, `model_version`, `segment`, `prediction`, `label`, `label_time` and `error` (null
    where no label joined), `history` and `holdout` (true or false), and the features. Numbers are doubles, all else is
    text; a feature with one of these names is `feature.<name>`. The metadata of the schema hold the request and its
    digest, the offsets that were read, and a digest of the rows and labels.

    Raises `UsageError` for an unknown request, `GapError` where the log has lost a part of its windows, and
    `BrokerError`.
    """
    with _prepared(request, config, recordings, topic, options, report) as rows:
        return pa.Table.from_batches(rows.batches(), rows.schema)


def write_window(
    request: str | Path | bytes | Mapping[str, Any],
    out: str | Path,
    *,
    config: str | Config | None = None,
    recordings: Sequence[str] = (),
    topic: str | None = None,
    options: WindowOptions | None = None,
    report: Report = lambda _done, _total: None,
) -> WrittenWindow:
    """Write that table to `window.parquet` in a folder; with a hold-out, to `train.parquet` and `holdout.parquet`.

    Memory does not hold the table. The files have their names once they are whole. Raises as `read_window` does.
    """
    folder = Path(out)
    with _prepared(request, config, recordings, topic, options, report) as rows:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = ("train", "holdout") if rows.options.holdout else ("window",)
            files = {str(folder / f"{name}.parquet"): 0 for name in names}
            _write(rows, files)
        except OSError as problem:
            raise UsageError(f"{folder} can't be written: {problem}") from problem
        return WrittenWindow(rows.request, files, rows.rows, rows.labelled, rows.dead_letters, rows.span)


def store_reference(
    request: str | Path | bytes | Mapping[str, Any],
    version: str,
    *,
    config: Config,
    data: pa.Table | str | None = None,
    recordings: Sequence[str] = (),
) -> str:
    """Keep what a version was trained on as its reference, in the store of `references.url`; returns its digest.

    data: a table, or the path or URL of a file or folder, with a column for each feature, and optionally `prediction`
        and `error` of this version; None: the features in the windows of the request

    The first reference of a version stays: if there is one, nothing is read. Raises as `read_window` does, and
    `UsageError` without a store.
    """
    if config.references.url is None:
        raise UsageError("references.url is not set: name the folder or URL that keeps the references of versions")
    store, size = ReferenceStore(config.references.url, 2), reference_values(config)
    found = request_of(request, config, recordings)
    if store.has(found.model_id, version):
        return store.add(found.model_id, version, {})
    with TemporaryDirectory() as folder:
        place, without = str(data), tuple[str, ...]()
        if data is None:
            write_window(found.raw, folder, config=config, recordings=recordings)
            place, without = str(Path(folder, "window.parquet")), OWN_COLUMNS
        elif isinstance(data, pa.Table):
            place = str(Path(folder, "given.parquet"))
            pq.write_table(data, place)
        names = {f"feature.{one}": one for one in OWN_COLUMNS if one not in COMPARED}
        form = "parquet" if place.endswith(".parquet") else None
        training = TrainingData((place,), form, model=found.model_id, version=version, without=without, names=names)
        return store.add(found.model_id, version, references_from(training, size).by_series)


def _write(rows: TrainingRows, files: dict[str, int]) -> None:
    """Write each batch to the file of its rows, and count them in `files`."""
    parts = {path: Path(f"{path}.part") for path in files}
    writers = {path: pq.ParquetWriter(part, rows.schema) for path, part in parts.items()}
    try:
        for group in _groups(rows.batches()):
            masks = [pc.invert(group[HOLDOUT]), group[HOLDOUT]]
            for (path, writer), mask in zip(writers.items(), masks, strict=False):
                mine = group if len(files) == 1 else group.filter(mask)
                files[path] += mine.num_rows
                writer.write_table(mine, GROUP_ROWS)
    finally:
        for writer in writers.values():
            writer.close()
    for path, part in parts.items():
        part.replace(path)


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches joined to tables of at least `GROUP_ROWS` rows, but for the last one."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= GROUP_ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


@contextmanager
def _prepared(
    request: str | Path | bytes | Mapping[str, Any],
    config: str | Config | None,
    recordings: Sequence[str],
    topic: str | None,
    options: WindowOptions | None,
    report: Report,
) -> Iterator[TrainingRows]:
    """The rows of a request, after the first reading."""
    wanted = options or WindowOptions()
    settings = config if isinstance(config, Config) else _config(config, needs_broker=not recordings)
    source: BrokerSource | RecordingSource
    if recordings:
        source = RecordingSource(recordings, topic, settings)
        settings = source.config
        found = request_of(request, settings, recordings)
    else:
        found = request_of(request, settings, ())
        source = BrokerSource(settings.kafka.connection(), spots_of(found, settings, wanted))
    codecs = CanonicalCodecs()

    def codec(name: str) -> Codec:
        return codec_of(settings, name) if settings.topics else codecs[name]

    port: WindowSource = source
    try:
        yield TrainingRows(found, settings, wanted, port, codec, report).prepare()
    finally:
        if isinstance(source, BrokerSource):
            source.close()


def _config(path: str | None, needs_broker: bool) -> Config:
    if path is None and not needs_broker:
        return Config()
    return load_config(path or "driftline.yaml") if needs_broker else load_config(str(path), needs=())


def request_of(
    request: str | Path | bytes | Mapping[str, Any], config: Config, recordings: Sequence[str]
) -> TrainingRequest:
    """The request that is meant. Raises `UsageError`, with near ids, if there is none."""
    if isinstance(request, bytes):
        return TrainingRequest.of(request)
    if isinstance(request, Mapping):
        return TrainingRequest.of(msgspec.json.encode(request))
    if Path(request).is_file():
        return TrainingRequest.of(Path(request).read_bytes().strip())
    if recordings:
        raise UsageError(f"{request} is no file; `driftline replay --requests-dir DIR` writes one for each request")
    return _published(str(request), config)


def _published(request_id: str, config: Config) -> TrainingRequest:
    ids: list[str] = []
    for records in read_to_end(config.kafka.connection(), [config.outputs.requests]):
        for i in range(len(records)):
            value = records.value_of(i) or b""
            if request_id.encode() in value and (found := TrainingRequest.of(value)).request_id == request_id:
                return found
            ids.append(msgspec.json.decode(value, type=_Id).request_id)
    near = get_close_matches(request_id, ids, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `driftline requests --all` lists them"
    raise UsageError(f"{config.outputs.requests} has no request {request_id}{hint}")


class _Id(msgspec.Struct):
    request_id: str = ""
