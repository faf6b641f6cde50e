"""The training table of a retrain request: the rows of its windows, from the broker or from recordings.

The records are read twice: first the label of each row, the types of the columns and the cut of the hold-out are found,
then the rows are written. So memory holds 40 bytes a row, and what waits for its label or its place in the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from importlib.metadata import version
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from detectors.arrays.types import I64, Bools
from retrain.messages.patterns import first_match
from streamer.codecs.base import Codec
from streamer.config import Config
from streamer.errors import GapError, UsageError
from streamer.events import EventBatch, Names
from streamer.training.events import EventOrder, OrderedEvents, RowLabels, Span, Spot, ordered, row_masks
from streamer.training.sources import Spans, WindowSource
from streamer.training.table import ColumnTypes, RowWriter, holdout_from

Report = Callable[[int, int | None], None]
LABELS: Final = "labels"  # the role of a window that gives labels alone
PREDICTIONS: Final = "predictions"
SOURCE: Final = "source"  # the role of a window of a feature source


class Window(msgspec.Struct, frozen=True):
    """A window of a request. Requests of earlier versions name no role."""

    topic: str
    partition: int
    start_offset: int
    end_offset: int
    start_time: datetime
    end_time: datetime
    role: str = PREDICTIONS

    @property
    def spot(self) -> Spot:
        """Its topic-partition."""
        return self.topic, self.partition


class TrainingRequest(msgspec.Struct, frozen=True):
    """What a training run needs of a retrain request; `raw` is the whole record."""

    request_id: str
    model_id: str
    training_window: tuple[Window, ...]
    model_version: str = ""
    history: tuple[Window, ...] = ()
    raw: bytes = b""

    @classmethod
    def of(cls, record: bytes) -> TrainingRequest:
        """Read the record of a request. Raises `UsageError`."""
        try:
            found = msgspec.json.decode(record, type=cls)
        except msgspec.MsgspecError as problem:
            raise UsageError(f"this is no retrain request: {problem}") from None
        if not found.training_window:
            raise UsageError(f"{found.request_id} names no training window")
        return msgspec.structs.replace(found, raw=record)


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """Which rows a table has. Raises `UsageError` for a share out of range.

    history: also those of the request's history, which the column `history` marks
    until_now: up to the end of the topics, instead of the end of the windows
    holdout: the share of the rows, the latest by event time, which the column `holdout` marks; 0 to less than 1
    partial: without an error where the log has lost a part
    """

    history: bool = False
    until_now: bool = False
    holdout: float = 0.0
    partial: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.holdout < 1:
            raise UsageError(f"the hold-out must be a share from 0 to less than 1, such as 0.2, not {self.holdout}")


def spots_of(request: TrainingRequest, config: Config, options: WindowOptions) -> list[Spot]:
    """The topic-partitions of a request, and those where its labels may be."""
    windows = [*request.training_window, *(request.history if options.history else ())]
    found = dict.fromkeys(one.spot for one in windows)
    if not any(one.role == LABELS for one in windows):
        found |= dict.fromkeys((topic, p) for topic in _labelling(config, windows) for _, p in [*found])
    return [*found]


def _labelling(config: Config, windows: Sequence[Window]) -> list[str]:
    """The topics that may hold labels; without configured topics, those of the windows."""
    fields = {topic: getattr(settings, "fields", None) for topic, settings in config.topics.items()}
    mapped = [topic for topic, of_topic in fields.items() if of_topic is None or "label" in of_topic.paths()]
    return mapped if config.topics else sorted({one.topic for one in windows})


def planned(request: TrainingRequest, config: Config, options: WindowOptions, source: WindowSource) -> Spans:
    """The offsets to read. Raises `GapError` where a part of a window is gone, unless `partial`."""
    windows = [(one, False) for one in request.training_window]
    windows += [(one, True) for one in request.history] if options.history else []
    found: dict[Spot, list[Span]] = {}
    for one, is_history in windows:
        first, end = source.bounds(one.spot)
        start, stop = one.start_offset, one.end_offset
        stop = max(stop, end) if options.until_now and not is_history else stop
        if not options.partial:
            _check_there(request, one, first, end)
        found.setdefault(one.spot, []).append(Span(max(start, first), min(stop, end), one.role != LABELS, is_history))
    if not any(one.role == LABELS for one, _ in windows):
        _add_labels(found, [one for one, _ in windows], config, options, source)
    return {spot: spans for spot, spans in found.items() if any(one.start < one.end for one in spans)}


def _check_there(request: TrainingRequest, window: Window, first: int, end: int) -> None:
    where = f"{window.topic}[{window.partition}]"
    if window.start_offset < first:
        gone = min(first, window.end_offset) - window.start_offset
        raise GapError(
            f"{where} begins at offset {first:,}, but {request.request_id} begins at {window.start_offset:,} "
            f"({window.start_time:%Y-%m-%d %H:%M} UTC): retention has deleted {gone:,} of its "
            f"{window.end_offset - window.start_offset:,} offsets. Take the rest with --partial, or read a recording "
            "that has them with --recording"
        )
    if window.end_offset > end:
        raise GapError(
            f"{where} ends at offset {end:,}, but {request.request_id} ends at {window.end_offset:,}: the topic was "
            "made again, or the recording ends too early. Take what is there with --partial"
        )


def _add_labels(
    found: dict[Spot, list[Span]], windows: list[Window], config: Config, options: WindowOptions, source: WindowSource
) -> None:
    """Where a request names no labels: look for them in all topics that have some, as long as they may come."""
    start_ms = min(int(one.start_time.timestamp() * 1000) for one in windows)
    end_ms = max(int(one.end_time.timestamp() * 1000) for one in windows)
    end_ms += int(config.labels.timeout_s * 1000) if not options.until_now else 1 << 50
    for topic in _labelling(config, windows):
        for partition in sorted({one.partition for one in windows}):
            start, end = source.between((topic, partition), start_ms, end_ms)
            if start < end:
                found.setdefault((topic, partition), []).append(Span(start, end, gives_rows=False))


@dataclass(slots=True)
class TrainingRows:
    """The rows of a request, ready to be read. `rows` counts them, `labelled` those with a label."""

    request: TrainingRequest
    config: Config
    options: WindowOptions
    source: WindowSource
    codecs: Callable[[str], Codec]
    report: Report
    rows: int = 0
    labelled: int = 0
    dead_letters: int = 0
    span: tuple[int, int] = (0, 0)  # event times of the first and the last row in ms
    schema: pa.Schema = None
    _spans: Spans = field(default_factory=dict)
    _batches: Callable[[], Iterator[pa.RecordBatch]] = lambda: iter(())

    def prepare(self) -> TrainingRows:
        """Read once: labels, types and the hold-out. Raises `UsageError` where there is no row."""
        self._spans = planned(self.request, self.config, self.options, self.source)
        error = self.config.labels.errors.get(self.request.model_id, self.config.labels.error)
        labels, digest = RowLabels(self.config.labels, error), blake2b(digest_size=16)
        names = Names.fresh(
            self.config.limits.models_max, self.config.limits.columns_max, self.config.limits.categories_max
        )
        names.classes = {}
        types, times, history = ColumnTypes(names, self.config.cast), list[I64](), list[Bools]()
        for events, is_row, is_label, is_history in self._events(names, 0):
            labels.add(events, is_row, is_label)
            types.add(events.batch, is_row, is_label)
            times.append(events.batch.event_time_ms[is_row])
            history.append(is_history[is_row])
            digest.update(_content(events, is_row | is_label))
        label, label_time_ms = labels.found()
        self.rows, self.labelled = len(label), int((label_time_ms >= 0).sum())
        if not self.rows:
            raise UsageError(f"{self.request.request_id}: its windows hold no event of {self.request.model_id}")
        all_times = np.concatenate(times)
        self.span = int(all_times.min()), int(all_times.max())
        self.schema = types.schema(self._metadata(digest.hexdigest()))
        settings = first_match(self.config.segments, self.request.model_id)
        cut = holdout_from(times, history, self.options.holdout)
        writer = RowWriter(types, self.schema, error, settings.by if settings else None, cut)

        def batches() -> Iterator[pa.RecordBatch]:
            done = 0
            for events, is_row, _, is_history in self._events(names, 1):
                batch, n = events.batch.only(is_row), int(is_row.sum())
                if n:
                    yield writer.batch(
                        batch, label[done : done + n], label_time_ms[done : done + n], is_history[is_row]
                    )
                    done += n

        self._batches = batches
        return self

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read again: the rows in order."""
        return self._batches()

    def _events(self, names: Names, reading: int) -> Iterator[tuple[OrderedEvents, Bools, Bools, Bools]]:
        """The events in order, with the masks of rows, labels and history."""
        spots = [*self._spans]
        owners = {self.request.model_id}
        if any(one.role == SOURCE for one in self.request.training_window):
            used = (name for name, source in self.config.sources.items() if source.uses(self.request.model_id))
            owners |= {f"source:{name}" for name in used}
        codecs = {topic: self.codecs(topic) for topic, _ in spots}
        order = EventOrder(spots, codecs, owners, self.config.limits, names)
        total = sum(max(s.end for s in spans) - min(s.start for s in spans) for spans in self._spans.values())
        done = reading * total

        def counted() -> Iterator[Any]:
            nonlocal done
            for one in self.source.read(self._spans, order):
                done += 0 if isinstance(one, tuple) else len(one)
                self.report(min(done, 2 * total), 2 * total)
                yield one

        for events in ordered(counted(), order):
            yield (events, *row_masks(events, [*self._spans.values()]))
        self.dead_letters = order.dead_letters

    def _metadata(self, digest: str) -> Mapping[str, str]:
        """What it takes to make the same table again."""
        spans = [
            {"topic": topic, "partition": partition, **msgspec.to_builtins(msgspec.structs.asdict(_Read.of(one)))}
            for (topic, partition), of_spot in self._spans.items()
            for one in of_spot
        ]
        return {
            "driftline.request_id": self.request.request_id,
            "driftline.request": self.request.raw.decode(),
            "driftline.request_digest": sha256(self.request.raw).hexdigest(),
            "driftline.windows": msgspec.json.encode(spans).decode(),
            "driftline.data_digest": digest,
            "driftline.settings": self.config.fingerprint,
            "driftline.holdout": str(self.options.holdout),
            "driftline.version": version("driftline"),
        }


class _Read(msgspec.Struct):
    """A span as the metadata of a table name it."""

    start_offset: int
    end_offset: int
    gives: str

    @classmethod
    def of(cls, span: Span) -> _Read:
        return cls(span.start, span.end, HISTORY_ROWS if span.history else "rows" if span.gives_rows else "labels")


HISTORY_ROWS: Final = "history"


def _content(events: OrderedEvents, used: Bools) -> bytes:
    """What identifies the rows and labels among events, one after the other."""
    batch: EventBatch = events.batch
    columns = (events.spot, batch.offset, batch.row, batch.event_time_ms, batch.prediction.view(np.int64))
    return np.column_stack([*columns, batch.label.view(np.int64)])[used].astype("<i8").tobytes()
