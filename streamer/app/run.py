"""The service on Kafka: one worker of `driftline run`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace

from streamer.app.folds import ConfiguredFolds, read_by_decide, units
from streamer.app.memory import give_memory_back, share_one_heap
from streamer.app.rekey import Rekeyed, rekey
from streamer.app.warm_up import WarmUp
from streamer.clock import Clock, SystemClock
from streamer.config import Config
from streamer.config.detector_names import default_detectors_off
from streamer.config.patterns import unmatched_in, unmatched_text
from streamer.contracts.dead_letters import fitted
from streamer.detect.fold import DetectFold
from streamer.detect.monitors.label_mismatch import LABELS
from streamer.detect.references.store import ReferenceStore
from streamer.eventlog.kafka.clients import KafkaLogSettings
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.kafka.log import KafkaLog
from streamer.eventlog.units import DECIDE
from streamer.logs import log_of
from streamer.runtime.checkpoints.scheduler import CheckpointScheduler
from streamer.runtime.checkpoints.store import CheckpointStore
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery
from streamer.telemetry.health import Health, Watchdog
from streamer.telemetry.mapping_watch import MappingWatch
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.models_page import ModelsPage
from streamer.telemetry.observers import MetricsObserver, Observers, ProgressLog, ProgressObserver

POLL_RECORDS_MAX = 100_000
TRIM_EVERY_S = 30.0
REKEY = "rekey"  # as a unit in the metrics

log = log_of("app")


def run(config: Config, stop: threading.Event, worker: int, progressed: Callable[[], None]) -> None:
    """Join the group and fold until `stop` is set; calls `progressed` at every commit.

    Raises `UsageError` for a file or an address of the config that can't be used and for outputs of another service,
    `BrokerError` when Kafka is unreachable, a right or a topic is missing, or a topic has a wrong number of partitions,
    `GapError` when the log has lost records that the state needs, and `InDoubtError` when the outcome of a commit is
    not certain.
    """
    share_one_heap()
    folds = ConfiguredFolds(config)  # first, because a wrong file shows without a broker
    for line in default_detectors_off(config):
        log.info("%s", line)
    connection = config.kafka.connection()
    settings = log_settings(config, worker)
    _check_cluster(connection, config, settings)
    clock = SystemClock()
    metrics = Metrics(clock, models_page(config))
    metrics.expect(settings.topics, [*folds.detectors, LABELS])
    with ExitStack() as opened:
        _serve(config, metrics, folds.store, opened)
        if not warm_up(config, metrics.health, stop):
            return
        # Closed at a normal end only: after an error its clients may block, and the process ends anyway.
        source = KafkaLog(connection, settings, units(config).of, fitted)

        def lag() -> Iterable[tuple[tuple[str, int], int]]:
            return source.lag().items()

        store = open_store(config)
        shown = MetricsObserver(metrics, lag)
        scheduler = NoCheckpoints() if store is None else CheckpointScheduler(store, config.checkpoints, clock, shown)
        recovery = Recovery(source, folds, store or NoCheckpoints(), config.commit.on_gap == "degrade")
        watches = MappingWatch(metrics, config.topics), ProgressLog(clock, lag), MemoryTrim(clock)
        copying = Copying(config, clock, metrics)
        observer = Observers(shown, *watches, ProgressObserver(progressed, clock), copying)
        log.info("reading %s as %s", ", ".join(config.topics), settings.member.instance_id)
        service = Service(units(config), recovery, config.commit, clock, observer, scheduler)
        service.run(stop.is_set)
        metrics.ready(False)
        copying.close()
        log_unmatched(config, service)
        source.close()
        log.info("stopped; all folded records are committed")


def _serve(config: Config, metrics: Metrics, references: ReferenceStore | None, opened: ExitStack) -> None:
    """Serve metrics and health, and watch the loop and the store of references, until the stack closes."""
    if references is not None:
        opened.callback(references.close)
        references.watch()
    endpoint = metrics.serve(config.metrics.host, config.metrics.port)
    opened.callback(endpoint.stop)
    log.info("metrics at http://%s:%d/metrics", config.metrics.host, endpoint.port)
    opened.callback(Watchdog(metrics.health.idle_s).stop)


def log_unmatched(config: Config, service: Service) -> None:
    """Log the patterns of settings that fit no model or column of this worker's units."""
    folds = [unit.fold for unit in service.units.values() if isinstance(unit.fold, DetectFold)]
    if found := unmatched_in(config, [fold.context.names for fold in folds]):
        log.warning("%s", unmatched_text(found, "the events of this worker"))


def models_page(config: Config) -> ModelsPage | None:
    """The metrics by model, if the configuration names any."""
    named = config.metrics.models
    return None if named is None else ModelsPage(named, config.metrics.models_max)


def _check_cluster(connection: KafkaConnection, config: Config, settings: KafkaLogSettings) -> None:
    """Check all that a service needs of its cluster before it writes anything. Raises as `run` does."""
    from streamer.app.provisioning import check_needed, needed_topics, rekey_topics
    from streamer.app.rights import check_rights
    from streamer.eventlog.kafka.admin import preflight
    from streamer.eventlog.kafka.owners import check_owners

    preflight(connection)
    check_rights(connection, config)
    copied = rekey_topics(config) if config.copies else ()
    check_needed(connection, [*needed_topics(config), *copied], grows=True)
    check_owners(connection, settings.group_id, settings.epochs_topic, settings.outputs)


def log_settings(config: Config, worker: int) -> KafkaLogSettings:
    """The settings by which a worker reads and writes Kafka."""
    from streamer.app.provisioning import needed_topics

    written = [topic.name for topic in needed_topics(config) if topic.name not in config.topics]
    return KafkaLogSettings(
        topics=(*config.topics, *read_by_decide(config)),
        group_id=config.kafka.group,
        worker=worker,
        delivery=config.kafka.delivery,
        epochs_topic=config.outputs.epochs,
        outputs=tuple(name for name in written if name != config.outputs.epochs),
        start=config.kafka.start,
        session_timeout_s=config.kafka.session_timeout_s,
        records_max=min(config.commit.records_max, POLL_RECORDS_MAX),
        commit_deadline_s=config.commit.deadline_s,
    )


def open_store(config: Config) -> CheckpointStore | None:
    """The checkpoint store, if one is configured. Raises `UsageError` when its URL can't be used."""
    return None if config.checkpoints.url is None else CheckpointStore(config.checkpoints.url, config.kafka.group)


def warm_up(config: Config, health: Health, stop: threading.Event) -> bool:
    """Compile all that folding needs; false if `stop` was set meanwhile. A compilation counts as a turn of the loop."""

    def alive() -> None:
        health.turned()
        health.progressed()

    return WarmUp(
        config.detectors,
        has_references=config.references.file is not None or config.references.url is not None,
        has_segments=bool(config.segments),
        has_profiles=config.profiles.publish,
        alive=alive,
        stopped=stop.is_set,
    ).run()


class Copying(Observer):
    """Does what `driftline rekey` does, beside the worker that has the decide unit: so in one process of a group.

    It has one transactional id, so a worker that takes over ends what its predecessor still copies.
    """

    def __init__(self, config: Config, clock: Clock, metrics: Metrics) -> None:
        self._config, self._clock, self._metrics = config, clock, metrics
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._counted = Rekeyed()

    def on_turn(self, service: Service) -> None:
        if not self._config.copies:
            return
        is_ours = DECIDE in service.units
        if self._thread is not None and not self._thread.is_alive():
            failure, self._failure, self._thread = self._failure, None, None
            if failure is not None and is_ours:
                raise failure
        if is_ours and self._thread is None:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._copy, args=(self._stop,), name="rekey", daemon=True)
            self._thread.start()
        elif not is_ours:
            self._stop.set()

    def close(self) -> None:
        """Let the transaction that is under way end, and copy no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _copy(self, stop: threading.Event) -> None:
        copied = ", ".join(f"{source} to {target}" for source, target in self._config.rekeyed.items())
        log.info("copying %s, with the model as key", copied)
        self._counted = Rekeyed()
        try:
            rekey(self._config, self._clock, until_end=False, stop=stop, progress=self._show)
        except BaseException as failure:  # raised by the worker's loop
            self._failure = failure
        finally:
            self._metrics.forget_lag(REKEY, self._counted.behind)

    def _show(self, done: Rekeyed) -> None:
        """Show in the metrics what is done since the last call."""
        before, self._counted = self._counted, replace(done, unreadable=done.unreadable.copy())
        self._metrics.add("driftline_rekeyed_records_total", done.records - before.records)
        if done.records > before.records:
            self._metrics.set_to_now("driftline_commit_timestamp_seconds", REKEY)
        for (topic, reason), n in (done.unreadable - before.unreadable).items():
            self._metrics.add("driftline_dead_letters_total", n, topic, reason)
        for (topic, partition), n in done.behind.items():
            self._metrics.set("driftline_lag_records", n, topic, str(partition), REKEY)


class MemoryTrim(Observer):
    """Gives freed memory back to the system, every `TRIM_EVERY_S`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._trimmed_s = clock.monotonic_s()

    def on_turn(self, service: Service) -> None:  # noqa: ARG002
        if self._clock.monotonic_s() - self._trimmed_s >= TRIM_EVERY_S:
            self._trimmed_s = self._clock.monotonic_s()
            give_memory_back()
