"""Log, history and checkpoints of a configured service, opened read-only for verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamer.app.folds import ConfiguredFolds, read_by_decide, units
from streamer.checkpoints.store import CheckpointStore, StoredCheckpoint
from streamer.config import Config
from streamer.runtime.recovery import Checkpoints, NoCheckpoints, Recovery


class OldestFirst:
    """Checkpoints in the order that replays as many epochs as possible."""

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store

    def newest_first(self, unit: str) -> Iterator[StoredCheckpoint]:
        """The oldest first: verification replays the log from there on."""
        return iter(list(self._store.newest_first(unit))[::-1])


@contextmanager
def open_archive(config: Config) -> Iterator[tuple[list[Recovery], list[str]]]:
    """Recoveries (from the beginning of the log, and from the oldest checkpoint), and the names of the units.

    Raises `UsageError` when the reference file can't be used, and `BrokerError` when the cluster can't be read.
    """
    from streamer.eventlog.kafka.admin import check_topics, preflight
    from streamer.eventlog.kafka.offline import KafkaArchive

    folds = ConfiguredFolds(config)
    connection = config.kafka.connection()
    preflight(connection)
    topics = (*config.topics, *read_by_decide(config))
    found = check_topics(connection, (*topics, config.outputs.epochs))
    spots = [(topic, partition) for topic in topics for partition in range(found[topic].partitions)]
    store = None if config.checkpoints.url is None else CheckpointStore(config.checkpoints.url, config.kafka.group)
    log = KafkaArchive(connection, spots, config.kafka.group, config.outputs.epochs, units(config).of)
    try:
        kept: list[Checkpoints] = [NoCheckpoints()] if store is None else [NoCheckpoints(), OldestFirst(store)]
        yield [Recovery(log, folds, each) for each in kept], list(log.units())
    finally:
        log.close()
