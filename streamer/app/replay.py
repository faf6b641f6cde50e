"""Replay of recordings through the service's own loop, without Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

import msgspec

from streamer.app.folds import ConfiguredFolds, units
from streamer.app.recorded_tables import open_recordings
from streamer.clock import Clock, SystemClock
from streamer.codecs.base import Reason
from streamer.codecs.field_paths import Envelope, FieldMap, follow, parse_path
from streamer.config import Config
from streamer.config.patterns import unmatched_in, unmatched_text
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import nested_columns, remedy_of_nested
from streamer.errors import UsageError
from streamer.eventlog.base import Epoch, Output, Records
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings.log import RecordedLog
from streamer.eventlog.recordings.recording import Recording
from streamer.events import time_of
from streamer.runtime.fold import Tally
from streamer.runtime.loop import CommitSettings, Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery
from streamer.telemetry.mapping_watch import counts_by_topic, fault_of, sentence_of
from streamer.telemetry.observers import ReplayObserver

POLL_S = 0.2
POLL_RECORDS_MAX = 100_000
SAMPLED_RECORDS: Final = 100  # of each topic
NAMES_SHOWN: Final = 6
LABELS_JUDGED_MIN: Final = 10  # labels without a prediction; fewer are ordinary
NESTED_SHOWN: Final = 20
# Causes of labels without a prediction.
PARTITIONS: Final = (
    "of models whose predictions are on another partition: give both the same key, and their topics equally many "
    "partitions, or set labels.repartition"
)
MODELS: Final = "of models without any prediction: compare model_id"
IDS: Final = "of models with predictions on their partition, but none of their prediction_id"
FIRST_LIKELY_YEAR: Final = 1972  # times of today that are read in a wrong unit lie before it


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a replay: its input and its outputs."""

    records: int
    events: int
    values: int
    understood: int  # values that are no list or object, and labels
    dead_letters: int
    models: int
    series: int
    alarms: int
    alerts: int
    incidents: int
    requests: int
    ahead: int  # events and alerts that were too far ahead to move time
    labels: Mapping[str, int]  # what became of labels, by fate; `waiting` for a prediction at the end
    value_fates: Mapping[str, int]  # what became of the values of columns, by fate
    first_event_time: datetime | None
    last_event_time: datetime | None
    seconds: float
    warnings: tuple[str, ...] = ()  # input that is probably not read as meant, with what to set


class SampledLog(RecordedLog):
    """A recorded log that keeps the first events of each topic, to explain what no setting reads."""

    def __init__(self, files: Sequence[Recording], outputs: MemoryLog, topics: Sequence[str], control: str) -> None:
        super().__init__(files, outputs, [*topics, control] if topics else None, aside=[control])
        self._others = {control, *outputs.subscribed}
        self.sample: dict[str, list[bytes]] = {}

    def poll(self, timeout_s: float = 0.0) -> list[Records]:
        stretches = super().poll(timeout_s)
        for records in stretches:
            if records.topic not in self._others:
                kept = self.sample.setdefault(records.topic, [])
                wanted = range(min(SAMPLED_RECORDS - len(kept), len(records)))
                kept += [value for i in wanted if (value := records.value_of(i)) is not None]
        return stretches


def replay(
    config: Config,
    recordings: Sequence[str],
    topic: str | None,
    publish: Callable[[Output], None],
    progress: Callable[[int, int | None], None],
) -> Summary:
    """Fold recordings as the service does. `publish` gets every output, `progress` gets (done, total or None).

    Without configured topics, all topics of the recordings hold canonical JSON events. Raises `UsageError` when a
    recording can't be read, or holds no record of a configured topic.
    """
    clock = SystemClock()
    started_s = clock.monotonic_s()
    service, sample = folded(config, recordings, topic, publish, progress, clock)
    summary = _summary(service, clock.monotonic_s() - started_s)
    warnings = (*_mapping_warnings(service), *_time_warnings(service, summary), *_column_warnings(config, sample))
    warnings += (*_label_warnings(service), *_nested_warnings(service))
    warnings += (*_pair_warnings(service), *_pattern_warnings(config, service))
    summary = replace(summary, warnings=warnings)
    if summary.records == 0 and config.topics:
        raise UsageError(
            f"{', '.join(recordings)}: no record of a configured topic: {', '.join(config.topics)}. Name topics as "
            "in the recording, or leave the configuration out"
        )
    return summary


def folded(
    config: Config,
    recordings: Sequence[str],
    topic: str | None,
    publish: Callable[[Output], None],
    progress: Callable[[int, int | None], None],
    clock: Clock,
) -> tuple[Service, dict[str, list[bytes]]]:
    """The service at the end of the recordings, and the first events of each topic."""
    with ExitStack() as opened:
        files, config = open_recordings(list(recordings), topic, config)
        for file in files:
            opened.enter_context(file)
        outputs = MemoryLog([config.outputs.alerts, config.outputs.watermarks])
        outputs.end_input()
        source = SampledLog(files, outputs, list(config.topics), config.outputs.control)

        def report() -> None:
            at = source.progress()
            progress(at.done, at.total)

        def pass_on(output: Output) -> None:
            publish(output)
            if output.topic not in outputs.subscribed:  # no fold reads it back
                outputs.store.forget(output.topic, 0, outputs.store.end(output.topic))

        def forget_decided(epoch: Epoch) -> None:
            for name in outputs.subscribed:  # read back and decided
                if name in epoch.ends:
                    outputs.store.forget(name, 0, epoch.ends[name])

        service = _service(config, source, clock, ReplayObserver(pass_on, forget_decided, report))
        service.run(stopped=lambda: False)
    return service, source.sample


def _service(config: Config, source: RecordedLog, clock: Clock, observer: Observer) -> Service:
    """A service over a recording: without checkpoints, and with an epoch for each poll."""
    nothing = NoCheckpoints()
    recovery = Recovery(source, ConfiguredFolds(config), nothing)
    return Service(units(config), recovery, CommitSettings(interval_s=0), clock, observer, nothing)


def _summary(service: Service, seconds: float) -> Summary:
    tally: Counter[str] = Counter()
    detect = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    for unit in service.units.values():
        for (what, *which), n in unit.fold.tally.items():
            tally[which[0] if what == "outcomes" else what] += n
            if what == "alerts" and which[-1] != "firing":
                tally["repeated"] += n
    for fold in detect:
        tally["read"] += sum(n for key, n in fold.tally.items() if key[0] == "records")
    seen = [fold for fold in detect if fold.newest_event_time_ms >= 0]
    return Summary(
        records=tally["read"],
        events=tally["events"],
        values=tally["values"],
        understood=tally["usable"] + tally["labelled"],
        dead_letters=tally["dead_letters"],
        models=len({name for fold in detect for name in fold.context.names.models.names}),
        series=sum(fold.series for fold in detect),
        alarms=tally["alarms"],
        alerts=tally["alerts"] - tally["repeated"],
        incidents=tally["incident_opened"],
        requests=tally["request_made"],
        ahead=tally["ahead"],
        labels=_fates(detect, "label_fates") | {"waiting": sum(fold.labels.counts["early"] for fold in detect)},
        value_fates=_fates(detect, "value_fates") | {"dropped": tally["dropped"]},
        first_event_time=min((time_of(fold.intake.event_times_ms[0]) for fold in seen), default=None),
        last_event_time=max((time_of(fold.intake.event_times_ms[1]) for fold in seen), default=None),
        seconds=seconds,
    )


def _fates(folds: Sequence[DetectFold], what: str) -> dict[str, int]:
    """Counts of one kind, by fate, over all units."""
    total: Counter[str] = Counter()
    for fold in folds:
        total.update({key[1]: n for key, n in fold.tally.items() if key[0] == what})
    return dict(total)


def _mapping_warnings(service: Service) -> Iterator[str]:
    """Topics of which nothing was understood."""
    tally: Tally = Counter()
    for unit in service.units.values():
        if isinstance(unit.fold, DetectFold):
            tally.update(unit.fold.tally)
    topics = [key[1] for key in tally if key[0] == "records"]
    for topic, counts in counts_by_topic(tally, topics).items():
        if (fault := fault_of(counts)) is not None:
            yield sentence_of(topic, counts, fault)


def _time_warnings(service: Service, summary: Summary) -> Iterator[str]:
    """Signs that numeric event times are in another unit than they are read in."""
    how = "set event_time_unit of the topic, or write RFC 3339"
    first = summary.first_event_time
    if first is not None and first.year < FIRST_LIKELY_YEAR:
        yield f"event times begin on {first:%Y-%m-%d}, so they are probably read in the wrong unit: {how}"
    bad = sum(
        n
        for unit in service.units.values()
        for (what, *which), n in unit.fold.tally.items()
        if what == "dead_letters" and which[-1:] == [Reason.BAD_EVENT_TIME.value]
    )
    if bad:
        yield f"{bad:,} dead letters have no event time that can be read (bad_event_time): {how}"


def label_causes(folds: Sequence[DetectFold]) -> dict[str, int]:
    """Why labels have no prediction: sentences, each with how many labels that wait it is about."""
    predicted = {name for fold in folds for name in fold.models_with_predictions()}
    causes: Counter[str] = Counter()
    for fold in folds:
        names = fold.context.names.models.names
        for model, (n, is_here) in fold.labels.waiting_by_model.items():
            causes[IDS if is_here else PARTITIONS if names[model] in predicted else MODELS] += n
    return {cause: n for cause, n in causes.items() if n}


def _label_warnings(service: Service) -> Iterator[str]:
    """Labels that have no prediction, where these are most."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    counts = [fold.labels.counts for fold in folds]
    matched = sum(one["matched"] for one in counts)
    lost = sum(one["unmatched"] + one["early"] for one in counts)
    if lost >= LABELS_JUDGED_MIN and lost > matched:
        causes = sorted(label_causes(folds).items(), key=lambda cause: (-cause[1], cause[0]))
        why = "".join(f"; {n:,} are {cause}" for cause, n in causes)
        yield (
            f"{lost:,} of {lost + matched:,} labels have no prediction of their model and prediction_id within "
            f"labels.timeout_s: compare the ids and the keys of both{why}"
        )


def _pair_warnings(service: Service) -> Iterator[str]:
    """Inputs and outputs that wait for their other half, where these are most."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    joined, alone = (sum(fold.tally["pairs", outcome] for fold in folds) for outcome in ("joined", "alone"))
    waiting = sum(len(fold.pairing) for fold in folds)
    if waiting and alone + waiting > joined:
        yield (
            f"{waiting:,} inputs or outputs at the end wait for their other half, and are not watched; {joined:,} "
            "pairs were found: if a topic holds one of both only, set its pairing to null, else compare the ids of both"
        )


def _pattern_warnings(config: Config, service: Service) -> Iterator[str]:
    """Patterns of settings that fit no model or column."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    if found := unmatched_in(config, [fold.context.names for fold in folds]):
        yield unmatched_text(found, "these recordings")


def _nested_warnings(service: Service) -> Iterator[str]:
    """Columns that hold objects or lists, once for each model and column, the first `NESTED_SHOWN`."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    found = dict.fromkeys(one for fold in folds if fold.tally["nested",] for one in nested_columns(fold))
    for model, column in islice(found, NESTED_SHOWN):
        yield f"column {column} of {model} holds objects or lists, which are not watched: {remedy_of_nested(column)}"
    if len(found) > NESTED_SHOWN:
        yield f"{len(found) - NESTED_SHOWN:,} more columns hold objects or lists; `driftline columns MODEL` shows them"


def _column_warnings(config: Config, sample: Mapping[str, Sequence[bytes]]) -> Iterator[str]:
    """Topics whose events hold columns, but none where the settings look for features."""
    for topic, values in sample.items():
        settings = config.topics.get(topic)
        if settings is not None and (settings.preset is not None or settings.format not in ("json", "json_schema")):
            continue
        fields: FieldMap = settings.fields if settings is not None else FieldMap()
        events = [event for value in values if isinstance(event := _parsed(value), dict)]
        if not isinstance(fields.features, str) or not fields.features.startswith("$.") or fields.rows:
            continue
        at = parse_path(fields.features, "features")
        if any(isinstance(follow(Envelope(event), at), dict) for event in events):
            continue
        read = {path[1] for path in fields.paths().values() if len(path) > 1 and path[0] == at[0]}
        flat = _unread(events, read, (bool, int, float, str))
        nested = [name for name in _unread(events, read, (dict,)) if _members_of(events, name)]
        path, columns = (
            ("$", flat) if flat else (f"$.{nested[0]}", _members_of(events, nested[0])) if nested else ("", [])
        )
        if columns:
            yield (
                f"{topic}: 0 of {len(columns)} columns are watched ({_names(columns)}), as no event has "
                f"{fields.features}: set fields.features of the topic to {path}"
            )


def _members_of(events: Sequence[dict[str, Any]], name: str) -> list[str]:
    """The members with values of one object of the events."""
    return _unread([event[name] for event in events if isinstance(event.get(name), dict)], (), (bool, int, float, str))


def _unread(events: Sequence[dict[str, Any]], read: Collection[Any], types: tuple[type, ...]) -> list[str]:
    """The members of these types that no field reads, in order of first sight."""
    found = (name for event in events for name, value in event.items() if isinstance(value, types))
    return [name for name in dict.fromkeys(found) if name not in read]


def _parsed(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None


def _names(columns: Sequence[str]) -> str:
    more = len(columns) - NAMES_SHOWN
    return ", ".join(columns[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
