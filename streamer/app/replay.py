"""Replay of recordings through the service's own loop, without Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from streamer.app.folds import ConfiguredFolds, units
from streamer.app.offline.recorded_tables import TableSource, open_recordings
from streamer.app.offline.selection import EVERYTHING, Selection
from streamer.app.offline.table_files import NamedTable
from streamer.app.offline.warnings import warnings_of
from streamer.clock import Clock, SystemClock
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.errors import UsageError
from streamer.eventlog.base import Epoch, Log, Output, Records
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings.log import RecordedLog
from streamer.eventlog.recordings.places import shown
from streamer.eventlog.recordings.recording import Recording
from streamer.events import time_of
from streamer.runtime.epoch_size import CommitSettings
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery
from streamer.telemetry.observers import ReplayObserver

POLL_S = 0.2
POLL_RECORDS_MAX = 100_000
SAMPLED_RECORDS: Final = 100  # of each topic


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a replay: its input and its outputs."""

    records: int
    events: int
    values: int
    understood: int  # values that are no list or object, and labels
    dead_letters: int
    eventless: int  # records that gave neither an event nor a dead letter, such as skipped tombstones
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
    recordings: Sequence[str | NamedTable],
    topic: str | None,
    publish: Callable[[Output], None],
    progress: Callable[[int, int | None], None],
    selection: Selection = EVERYTHING,
) -> Summary:
    """Fold recordings as the service does. `publish` gets every output, `progress` gets (done, total or None).

    `selection` is the part of their events that is folded.

    Without configured topics, all topics of the recordings hold canonical JSON events. Raises `UsageError` when a
    recording can't be read, or holds no record of a configured topic.
    """
    clock = SystemClock()
    started_s = clock.monotonic_s()
    service, sample, of_tables = folded(config, recordings, topic, publish, progress, clock, selection)
    summary = _summary(service, clock.monotonic_s() - started_s)
    span = summary.first_event_time, summary.last_event_time
    summary = replace(summary, warnings=(*warnings_of(config, service, sample, span), *of_tables))
    if summary.records == 0 and config.topics:
        raise UsageError(
            f"{', '.join(map(_name, recordings))}: no record of a configured topic: {', '.join(config.topics)}. Name "
            "topics as in the recording, or leave the configuration out"
        )
    return summary


def folded(
    config: Config,
    recordings: Sequence[str | NamedTable],
    topic: str | None,
    publish: Callable[[Output], None],
    progress: Callable[[int, int | None], None],
    clock: Clock,
    selection: Selection = EVERYTHING,
) -> tuple[Service, dict[str, list[bytes]], list[str]]:
    """The service at the end of the recordings, the first events of each topic, and warnings about tables."""
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

        observer = ReplayObserver(pass_on, forget_decided, report)
        service = service_over(config, source, clock, observer, selection)
        service.run(stopped=lambda: False)
    tables = [file.source for file in files if isinstance(file.source, TableSource)]
    return service, source.sample, [warning for table in tables for warning in table.warnings()]


def service_over(
    config: Config, source: Log, clock: Clock, observer: Observer, selection: Selection = EVERYTHING
) -> Service:
    """A service over a recording or a log in memory: without checkpoints, and with an epoch for each poll."""
    nothing = NoCheckpoints()
    folds = ConfiguredFolds(config, selection.of)
    if folds.store is not None:  # its epochs are cut as the recording is read, so all references precede it
        folds.store.every_model = True
        folds.store.refresh()
    recovery = Recovery(source, folds, nothing)
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
        eventless=tally["eventless"],
        models=len({name for fold in detect for name in fold.context.subjects.models(0)}),
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


def _name(recording: str | NamedTable) -> str:
    return shown(recording) if isinstance(recording, str) else recording.name
