"""The columns of a model, from checkpoints or recordings. Nothing is written, and no broker is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamer.app.folds import ConfiguredFolds
from streamer.app.replay import folded
from streamer.checkpoints.store import CheckpointStore
from streamer.clock import SystemClock
from streamer.config import Config
from streamer.detect.fold import DetectFold
from streamer.detect.inspect import WatchedColumn, columns_of
from streamer.errors import UsageError
from streamer.eventlog.units import DETECT


def columns_of_checkpoints(config: Config, model: str) -> list[WatchedColumn]:
    """The columns of a model in the newest usable checkpoint of each unit.

    Raises `UsageError` when there is no checkpoint.
    """
    where = config.checkpoints.url
    store = None if where is None else CheckpointStore(where, config.kafka.group)
    units = [] if store is None else [unit for unit in store.units() if unit.startswith(DETECT)]
    if store is None or not units:
        raise UsageError(
            f"there is no checkpoint of group {config.kafka.group} in {where or 'checkpoints.url, which is null'}: "
            "a running service writes one every checkpoints.interval_s; or name a recording instead"
        )
    folds = ConfiguredFolds(config)
    found: list[WatchedColumn] = []
    for unit in units:
        for checkpoint in store.newest_first(unit):
            snapshot = checkpoint.read()
            if snapshot is None:
                continue
            fold = folds.fresh(unit, checkpoint.settings)
            fold.load(snapshot)
            if isinstance(fold, DetectFold):
                found += columns_of(unit, fold, model)
            break
    return found


def columns_of_recordings(
    config: Config,
    model: str,
    recordings: Sequence[str],
    topic: str | None,
    progress: Callable[[int, int | None], None],
) -> list[WatchedColumn]:
    """The columns of a model at the end of recordings; see `replay`."""
    service = folded(config, recordings, topic, lambda _: None, progress, SystemClock())
    units = sorted(service.units.items(), key=lambda entry: (len(entry[0]), entry[0]))
    folds = [(name, unit.fold) for name, unit in units]
    return [one for name, fold in folds if isinstance(fold, DetectFold) for one in columns_of(name, fold, model)]
