"""The state in checkpoints or recordings: models, columns, and what a restart under other settings resets.

Nothing is written, and no broker is needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from streamer.app.folds import ConfiguredFolds
from streamer.app.replay import folded
from streamer.clock import SystemClock
from streamer.config import Config
from streamer.config.patterns import unmatched_in
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import Fates, WatchedColumn, WatchedModel, columns_of, events_of_pending, models_of
from streamer.errors import UsageError
from streamer.eventlog.units import DECIDE, DETECT
from streamer.events import Names
from streamer.runtime.checkpoints.store import CheckpointStore, StoredCheckpoint
from streamer.runtime.snapshot import Snapshot


class Inspected(NamedTuple):
    """What is watched of a model."""

    columns: list[WatchedColumn]
    fates: Fates
    unmatched: list[str]  # patterns of settings that fit no model or column


def columns_of_checkpoints(config: Config, model: str) -> Inspected:
    """What the newest usable checkpoint of each unit has of a model.

    Raises `UsageError` when there is no checkpoint.
    """
    return _inspected(config, model, _folds_of_checkpoints(config))


def _inspected(config: Config, model: str, folds: Iterable[tuple[str, DetectFold]]) -> Inspected:
    columns, fates, tables = list[WatchedColumn](), Fates(model), list[Names]()
    for unit, fold in folds:
        found = list(columns_of(unit, fold, model))
        fates.add(fold, found)
        columns += found
        tables.append(fold.context.names)
    return Inspected(columns, fates, unmatched_in(config, tables))


@dataclass(frozen=True, slots=True)
class WatchedFleet:
    """The fleet in the newest usable checkpoint of each unit."""

    models: Sequence[WatchedModel]
    events: Mapping[str, int]  # alert that waits for data -> events since its onset


def fleet_of_checkpoints(config: Config) -> WatchedFleet:
    """The fleet as of the newest checkpoints. Raises `UsageError` when there is no checkpoint."""
    models, events = list[WatchedModel](), dict[str, int]()
    for unit, fold in _folds_of_checkpoints(config):
        models += models_of(unit, fold)
        events |= events_of_pending(fold)
    return WatchedFleet(models, events)


def _folds_of_checkpoints(config: Config) -> Iterator[tuple[str, DetectFold]]:
    where = config.checkpoints.url
    store = None if where is None else CheckpointStore(where, config.kafka.group)
    units = [] if store is None else [unit for unit in store.units() if unit.startswith(DETECT)]
    if store is None or not units:
        raise UsageError(
            f"there is no checkpoint of group {config.kafka.group} in {where or 'checkpoints.url, which is null'}: "
            "a running service writes one every checkpoints.interval_s; or name a recording instead"
        )
    folds = ConfiguredFolds(config)
    for unit in units:
        for checkpoint in store.newest_first(unit):
            snapshot = checkpoint.read()
            if snapshot is None:
                continue
            fold = folds.fresh(unit, checkpoint.settings)
            fold.load(snapshot)
            if isinstance(fold, DetectFold):
                yield unit, fold
            break


def columns_of_recordings(
    config: Config,
    model: str,
    recordings: Sequence[str],
    topic: str | None,
    progress: Callable[[int, int | None], None],
) -> Inspected:
    """What is watched of a model at the end of recordings; see `replay`."""
    service, *_ = folded(config, recordings, topic, lambda _: None, progress, SystemClock())
    units = sorted(service.units.items(), key=lambda entry: (len(entry[0]), entry[0]))
    folds = [(name, unit.fold) for name, unit in units]
    return _inspected(config, model, [(name, fold) for name, fold in folds if isinstance(fold, DetectFold)])


ABSENT: Final = object()  # the value of a setting that only the other side has


@dataclass(frozen=True, slots=True)
class Reset:
    """The columns whose statistics a restart loses, of one detector in one unit."""

    detector: str
    columns: dict[str, int]  # by model; empty for what has no statistics by column


@dataclass(frozen=True, slots=True)
class UnitDiff:
    """What a restart does to the state of one unit."""

    unit: str
    epoch: int  # of the newest usable checkpoint; -1: there is none, so a restart folds the whole log again
    settings: Sequence[tuple[str, str, str]] = ()  # changed ones: name, value of the checkpoint, value now
    reset: Sequence[Reset] = ()  # detectors whose settings changed: they restart with empty state
    started: Sequence[str] = ()  # detectors that did not run: they begin with empty state
    dropped: Sequence[str] = ()  # detectors that no longer run: their state goes
    kept: Sequence[str] = ()  # detectors that continue with their state


def state_diff(config: Config, where: str | None = None) -> list[UnitDiff]:
    """The effect of these settings on each unit of the group; `where` is another folder or URL of checkpoints.

    Raises `UsageError` when there is no checkpoint, or this version can't read its settings.
    """
    where = where or config.checkpoints.url
    store = None if where is None else CheckpointStore(where, config.kafka.group)
    units = [] if store is None else store.units()
    if store is None or not units:
        raise UsageError(
            f"there is no checkpoint of group {config.kafka.group} in {where or 'checkpoints.url, which is null'}; "
            "name the folder of a service with --against-state=DIR, and its kafka.group in the configuration"
        )
    folds = ConfiguredFolds(config)
    return [_unit_diff(folds, unit, store) for unit in units]


def _unit_diff(folds: ConfiguredFolds, unit: str, store: CheckpointStore) -> UnitDiff:
    for checkpoint in store.newest_first(unit):
        snapshot = checkpoint.read()
        if snapshot is not None:
            return _diff(folds, unit, checkpoint, snapshot)
    return UnitDiff(unit, -1)


def _diff(folds: ConfiguredFolds, unit: str, checkpoint: StoredCheckpoint, snapshot: Snapshot) -> UnitDiff:
    number, settings = checkpoint.epoch.number, [*changed_settings(checkpoint.settings, folds.settings)]
    if unit == DECIDE:
        return UnitDiff(unit, number, settings)
    changed = folds.reset_by(checkpoint.settings)
    before, now = folds.detectors_of(checkpoint.settings), folds.detectors
    lost = [name for name in before if name in now and name in changed]
    columns = _columns_by_detector(folds, unit, checkpoint.settings, snapshot) if lost else {}
    return UnitDiff(
        unit,
        number,
        settings,
        reset=[Reset(name, columns.get(name, {})) for name in lost],
        started=[name for name in now if name not in before],
        dropped=[name for name in before if name not in now],
        kept=[name for name in now if name in before and name not in lost],
    )


def _columns_by_detector(
    folds: ConfiguredFolds, unit: str, settings: str, snapshot: Snapshot
) -> dict[str, dict[str, int]]:
    """How many columns of each model a detector watches, by detector and model, in order of first sight."""
    fold = folds.fresh(unit, settings)
    fold.load(snapshot)
    found: dict[str, dict[str, int]] = {}
    if isinstance(fold, DetectFold):
        subjects = fold.context.subjects
        for monitor in fold.monitors:
            for status in monitor.describe(range(len(subjects.ids))):
                for detector in status.detectors if not status.kind else ():
                    of_model = found.setdefault(detector, {})
                    model = subjects.model_and_segment(status.subject)[0]
                    of_model[model] = of_model.get(model, 0) + 1
    return found


def changed_settings(before: str, now: str) -> Iterator[tuple[str, str, str]]:
    """The settings that differ between two texts of settings: name, value before, value now, as JSON."""
    yield from _differences(json.loads(before), json.loads(now), "")


def _differences(before: Any, now: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key, ABSENT), now.get(key, ABSENT), f"{path}.{key}" if path else key)
    elif before != now:
        yield path, _shown(before), _shown(now)


def _shown(value: Any) -> str:
    return "(none)" if value is ABSENT else json.dumps(value)
