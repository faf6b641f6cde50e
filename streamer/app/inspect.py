"""The models and their columns, from checkpoints or recordings. Nothing is written, and no broker is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from streamer.app.folds import ConfiguredFolds
from streamer.app.replay import folded
from streamer.checkpoints.store import CheckpointStore
from streamer.clock import SystemClock
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import WatchedColumn, WatchedModel, columns_of, events_of_pending, models_of
from streamer.errors import UsageError
from streamer.eventlog.units import DETECT


def columns_of_checkpoints(config: Config, model: str) -> list[WatchedColumn]:
    """The columns of a model in the newest usable checkpoint of each unit.

    Raises `UsageError` when there is no checkpoint.
    """
    return [one for unit, fold in _folds_of_checkpoints(config) for one in columns_of(unit, fold, model)]


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
) -> list[WatchedColumn]:
    """The columns of a model at the end of recordings; see `replay`."""
    service, _ = folded(config, recordings, topic, lambda _: None, progress, SystemClock())
    units = sorted(service.units.items(), key=lambda entry: (len(entry[0]), entry[0]))
    folds = [(name, unit.fold) for name, unit in units]
    return [one for name, fold in folds if isinstance(fold, DetectFold) for one in columns_of(name, fold, model)]
