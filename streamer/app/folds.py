"""Builds the folds of a configuration, for the service, and read-only beside its log for verification."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from detectors.registry import DEFAULT, DETECTORS
from streamer.codecs import CODECS
from streamer.codecs.base import Codec
from streamer.config import Config
from streamer.contracts.watermarks import SKEW_MAX_S
from streamer.decide import DecideFold
from streamer.detect.fold import DetectFold
from streamer.detect.monitors.detector_set import reference_size
from streamer.detect.monitors.table import detectors_of, reset_by
from streamer.detect.references.store import ReferenceStore
from streamer.detect.references.table import References, load_references
from streamer.detect.settings import DetectSettings
from streamer.errors import UsageError
from streamer.eventlog.units import DECIDE, Units
from streamer.runtime.checkpoints.store import CheckpointStore, StoredCheckpoint
from streamer.runtime.fold import Fold
from streamer.runtime.recovery import Checkpoints, NoCheckpoints, Recovery

Codecs = Mapping[str, Codec]  # by topic

# What settings mean that were written before a section existed, where its default is another behaviour.
_BEFORE: Final = {"profiles": {"publish": False}, "shadow": {"error_rate": None}}


class CanonicalCodecs(dict[str, Codec]):
    """Canonical JSON events for every topic, for replays without a configuration."""

    def __missing__(self, topic: str) -> Codec:
        settings, codec = CODECS["json"]
        return self.setdefault(topic, codec(settings()))


def units(config: Config) -> Units:
    return Units(decide=frozenset(read_by_decide(config)))


def read_by_decide(config: Config) -> tuple[str, ...]:
    """The topics of the decide fold."""
    return config.outputs.alerts, config.outputs.control, config.outputs.watermarks


class ConfiguredFolds:
    """Builds the folds of a configuration, or of earlier settings of the same service.

    All units share codecs and references, which hold no state. References of `references.file` are always the current
    ones: a history holds the text of settings, not the training data. Those of `references.url` are in the epochs.
    """

    def __init__(self, config: Config, wrapped: Callable[[Codecs], Codecs] = lambda codecs: codecs) -> None:
        """`wrapped` makes the codecs of the folds from those of the configuration.

        Raises `UsageError` when the reference file can't be used.
        """
        self._wrapped = wrapped
        self.settings = config.settings_text
        self.fingerprint = config.fingerprint
        self._references = _references(config)
        self._store_url = config.references.url
        self._configs = {self.settings: config}
        self._detect: dict[str, DetectSettings] = {}

    @property
    def detectors(self) -> list[str]:
        """The names that alarms are counted under."""
        return self.detectors_of(self.settings)

    def detectors_of(self, settings: str) -> list[str]:
        """The same of other settings. Raises `UsageError` when this version can't read them."""
        return detectors_of(self._detect_settings(settings))

    def reset_by(self, before: str) -> list[str]:
        """The detectors that start with empty state when a fold with the settings `before` takes the present ones."""
        return reset_by(self._detect_settings(before), self._detect_settings(self.settings))

    @property
    def store(self) -> ReferenceStore | None:
        """The store of references that live folds load from; None without `references.url`."""
        return self._detect_settings(self.settings).reference_store

    def fresh(self, unit: str, settings: str) -> Fold:
        """A fold without state. Raises `UsageError` when this version can't read the settings."""
        config = self._config(settings)
        if unit == DECIDE:
            skew_max_s = max((topic.skew_max_s for topic in config.topics.values()), default=SKEW_MAX_S)
            url = config.references.named or ""
            return DecideFold(config.retrain, config.outputs, config.sources, skew_max_s, url)
        return DetectFold(self._detect_settings(settings))

    def moved(self, unit: str, fold: Fold, settings: str) -> tuple[Fold, list[str]]:
        """A fold with the state of this one and other settings, and the detectors that those reset."""
        moved = self.fresh(unit, settings)
        if not (isinstance(fold, DetectFold) and isinstance(moved, DetectFold)):
            moved.load(fold.dump())
            return moved, []
        reset = reset_by(fold.settings, moved.settings)
        moved.load(fold.dump(), reset)
        return moved, reset

    def _store_of(self, config: Config) -> ReferenceStore | None:
        """The store, with samples as these settings take them."""
        return None if self._store_url is None else ReferenceStore(self._store_url, reference_values(config))

    def _config(self, settings: str) -> Config:
        if settings not in self._configs:
            try:
                self._configs[settings] = Config.model_validate_json(json.dumps(_BEFORE | json.loads(settings)))
            except ValueError as problem:
                raise UsageError(
                    f"The state has settings that this version can't read ({problem}): run the version that wrote it "
                    "until it has folded the whole log, stop it with SIGTERM, then start this one"
                ) from problem
        return self._configs[settings]

    def _detect_settings(self, settings: str) -> DetectSettings:
        if settings not in self._detect:
            config = self._config(settings)
            self._detect[settings] = DetectSettings(
                codecs=self._wrapped(_codecs(config)),
                detectors=config.watching,
                min_events_after_onset=config.retrain.min_events_after_onset,
                history_events=config.retrain.history,
                labels=config.labels,
                shadow_error_rate=config.shadow.error_rate,
                limits=config.limits,
                outputs=config.outputs,
                tells_time=True,
                references=self._references,
                reference_store=self._store_of(config),
                sources=config.sources,
                segments=config.segments,
                watch=config.watch,
                flows=config.flows,
                absence=config.absence,
                cast=config.cast,
                false_alarm_spans=config.false_alarm_spans,
                profiles=config.profiles,
            )
        return self._detect[settings]


def _codecs(config: Config) -> Codecs:
    if not config.topics:
        return CanonicalCodecs()
    return {topic: codec_of(config, topic) for topic in config.topics}


def codec_of(config: Config, topic: str) -> Codec:
    """The codec of a configured topic."""
    settings = config.topics[topic]
    codec: Codec = CODECS[settings.format][1](settings)
    return codec


def _references(config: Config) -> References:
    """The references, thinned to the largest size of a detector."""
    if config.references.file is None:
        return References()
    return load_references(config.references.file, reference_values(config))


def reference_values(config: Config) -> int:
    """How many values of a reference the detectors take."""
    sizes = [reference_size(settings) for settings in config.detectors.values()]
    return max(sizes, default=0) or reference_size_by_default()


def reference_size_by_default() -> int:
    """The size of a reference where no detector states one."""
    return max(reference_size(DETECTORS[name].settings()) for name in DEFAULT)


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
