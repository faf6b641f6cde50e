"""Replay of recordings through the service's own loop, without Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from streamer.app.folds import ConfiguredFolds, units
from streamer.clock import Clock, SystemClock
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.errors import UsageError
from streamer.eventlog.base import Epoch, Output
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings.log import RecordedLog
from streamer.eventlog.recordings.recording import open_recording
from streamer.events import time_of
from streamer.runtime.loop import CommitSettings, Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery
from streamer.telemetry.observers import ReplayObserver

POLL_S = 0.2
POLL_RECORDS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of a replay: its input and its outputs."""

    records: int
    events: int
    values: int
    dead_letters: int
    models: int
    series: int
    alarms: int
    alerts: int
    incidents: int
    requests: int
    ahead: int  # events and alerts that were too far ahead to move time
    first_event_time: datetime | None
    last_event_time: datetime | None
    seconds: float


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
    service = folded(config, recordings, topic, publish, progress, clock)
    summary = _summary(service, clock.monotonic_s() - started_s)
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
) -> Service:
    """The service after it has folded the recordings to their end."""
    with ExitStack() as opened:
        files = [opened.enter_context(open_recording(path, topic)) for path in recordings]
        outputs = MemoryLog([config.outputs.alerts, config.outputs.watermarks])
        outputs.end_input()
        control = config.outputs.control
        source = RecordedLog(files, outputs, [*config.topics, control] if config.topics else None, aside=[control])

        def report() -> None:
            at = source.progress()
            progress(at.done, at.total)

        def pass_on(output: Output) -> None:
            publish(output)
            if output.topic not in outputs.subscribed:  # no fold reads it back
                outputs.store.forget(output.topic, 0, outputs.store.end(output.topic))

        def folded(epoch: Epoch) -> None:
            for name in outputs.subscribed:  # read back and decided
                if name in epoch.ends:
                    outputs.store.forget(name, 0, epoch.ends[name])

        service = _service(config, source, clock, ReplayObserver(pass_on, folded, report))
        service.run(stopped=lambda: False)
    return service


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
            if what == "alerts" and which != ["firing"]:
                tally["repeated"] += n
    for fold in detect:
        tally["read"] += sum(n for key, n in fold.tally.items() if key[0] == "records")
    seen = [fold for fold in detect if fold.newest_event_time_ms >= 0]
    return Summary(
        records=tally["read"],
        events=tally["events"],
        values=tally["values"],
        dead_letters=tally["dead_letters"],
        models=len({name for fold in detect for name in fold.context.names.models.names}),
        series=sum(fold.series for fold in detect),
        alarms=tally["alarms"],
        alerts=tally["alerts"] - tally["repeated"],
        incidents=tally["incident_opened"],
        requests=tally["request_made"],
        ahead=tally["ahead"],
        first_event_time=min((time_of(fold.intake.event_times_ms[0]) for fold in seen), default=None),
        last_event_time=max((time_of(fold.intake.event_times_ms[1]) for fold in seen), default=None),
        seconds=seconds,
    )
