"""The log, history and checkpoints of a configured service, opened to be folded again without touching anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamer.compose import ConfiguredFolds, units
from streamer.config import Config
from streamer.recovery import NoCheckpoints, Recovery


@contextmanager
def open_archive(config: Config) -> Iterator[tuple[Recovery, list[str]]]:
    """What makes units of it, and the units there are.

    Raises `UsageError` when the reference file can't be used, and `BrokerError` when the cluster can't be read.
    """
    from streamer.logs.kafka_admin import check_topics, preflight
    from streamer.logs.kafka_archive import KafkaArchive

    folds = ConfiguredFolds(config)
    connection = config.kafka.connection()
    preflight(connection)
    topics = (*config.topics, config.outputs.alerts)
    found = check_topics(connection, (*topics, config.outputs.epochs))
    spots = [(topic, partition) for topic in topics for partition in range(found[topic].partitions)]
    log = KafkaArchive(connection, spots, config.kafka.group, config.outputs.epochs, units(config).of)
    try:
        yield Recovery(log, folds, NoCheckpoints()), list(log.units())
    finally:
        log.close()
