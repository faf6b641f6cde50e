"""One process of the service: all of it is the production code, over simulated clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from sim_consumer import SimConsumer
from sim_disk import Disk, no_waiting_for_disks
from sim_folds import ProbedFolds
from sim_host import Host, within
from sim_process import Process
from sim_producer import SimProducer

from streamer.app.folds import units
from streamer.app.run import log_settings
from streamer.clock import Clock
from streamer.config import Config
from streamer.eventlog.kafka import log as kafka_log
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery

MODULES_WITH_DEADLINES = ("log", "commit", "unit_history", "positions")


@contextmanager
def simulated() -> Iterator[None]:
    """Within it, `KafkaLog` makes simulated clients, a deadline costs no thread, and disks are quick."""
    patches = [patch(f"streamer.eventlog.kafka.{module}.within", within) for module in MODULES_WITH_DEADLINES]
    patches += [
        patch("streamer.eventlog.kafka.commit.abandon", lambda _producer: None),  # a simulated one has no threads
        patch.object(kafka_log, "REST_S", 0.0),
        patch.object(kafka_log, "message_bytes_max", lambda *_: {}),
        patch.object(kafka_log, "abort_hanging", lambda *_: None),  # simulated brokers end every transaction
        patch.object(
            kafka_log, "new_consumer", lambda host, member, **_: SimConsumer(host, member and member.instance_id)
        ),
        patch.object(kafka_log, "new_producer", lambda host, _s, _bytes, name=None, _batch=0: SimProducer(host, name)),
    ]
    with ExitStack() as entered:
        for one in (*patches, no_waiting_for_disks()):
            entered.enter_context(one)
        yield


class Worker:
    """A process with its number in the group."""

    def __init__(self, number: int, host: Host, config: Config, clock: Clock, disk: Disk | None) -> None:
        self.number = number
        self.host = host
        self._config, self._clock, self._disk = config, clock, disk
        self.process = host.process = Process(self._work)

    def _work(self) -> None:
        log = kafka_log.KafkaLog(self.host, log_settings(self._config, self.number), units(self._config).of)
        store = scheduler = NoCheckpoints()
        if self._disk is not None:
            store = self._disk.store()
            scheduler = self._disk.scheduler(store, self.host, self._clock)
        folds = ProbedFolds(self._config, deadly=True)
        recovery = Recovery(log, folds, store, self._config.commit.on_gap == "degrade")
        Service(units(self._config), recovery, self._config.commit, self._clock, Observer(), scheduler).run(
            lambda: self.host.stopping
        )
        log.close()
