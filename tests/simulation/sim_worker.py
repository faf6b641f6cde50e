"""One process of the service: all of it is the production code, over simulated clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from sim_consumer import SimConsumer
from sim_host import Host, within
from sim_input import MAGIC
from sim_process import Crash, Process
from sim_producer import SimProducer

from streamer.clock import Clock
from streamer.compose import ConfiguredFolds, units
from streamer.config import Config
from streamer.live import log_settings
from streamer.logs import kafka_log
from streamer.logs.base import Output, Records
from streamer.recovery import Recovery
from streamer.service import Service
from streamer.unit import Fold

MODULES_WITH_DEADLINES = ("kafka_log", "kafka_commit", "kafka_history", "kafka_places")


class Nobody:
    """An observer that looks away."""

    def turned(self, service):
        pass

    def committed(self, outputs, epochs, seconds):
        pass

    def left(self, unit):
        pass


class DeadlyFolds(ConfiguredFolds):
    """Folds of which the process dies when they meet a magic record."""

    def __init__(self, config: Config, world: object) -> None:
        super().__init__(config)
        self.world = world

    def fresh(self, unit: str, settings: str) -> Fold:
        fold = super().fresh(unit, settings)
        step = fold.step

        def die_of_magic(stretch: Sequence[Records]) -> list[Output]:
            if any(MAGIC in records.value_of(i) for records in stretch for i in range(len(records))):
                raise Crash
            return step(stretch)

        fold.step = die_of_magic
        return fold


@contextmanager
def simulated_clients() -> Iterator[None]:
    """Within it, `KafkaLog` makes simulated clients, and a deadline costs no thread."""
    with patch.multiple(
        kafka_log,
        new_consumer=lambda host, member, **_: SimConsumer(host, member.instance_id if member else None),
        new_producer=lambda host, _deadline_s, _bytes, transactional_id=None: SimProducer(host, transactional_id),
        REST_S=0.0,
    ):
        patches = [patch(f"streamer.logs.{module}.within", within) for module in MODULES_WITH_DEADLINES]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()


class Worker:
    """A process with its number in the group."""

    def __init__(self, number: int, host: Host, config: Config, clock: Clock, disk) -> None:
        self.number = number
        self.host = host
        self.service: Service | None = None
        self._config, self._clock, self._disk = config, clock, disk
        self._folds = DeadlyFolds(config, host.cluster)
        self.process = host.process = Process(self._work)

    def _work(self) -> None:
        log = kafka_log.KafkaLog(self.host, log_settings(self._config, self.number), units(self._config).of)
        keeper = self._disk.mounted(self.host)
        recovery = Recovery(log, self._folds, keeper)
        self.service = Service(units(self._config), recovery, self._config.commit, self._clock, Nobody(), keeper)
        self.service.run(lambda: self.host.stopping)
        log.close()
