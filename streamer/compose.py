"""From a configuration to the folds it describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from detectors.registry import DETECTORS
from streamer.codecs import CODECS
from streamer.codecs.base import Codec
from streamer.config import Config
from streamer.decide import DecideFold
from streamer.detect import DetectFold, DetectSettings
from streamer.epochs import Units
from streamer.references import References, load_references
from streamer.unit import Fold


class CanonicalCodecs(dict[str, Codec]):
    """A codec for whatever topic comes: canonical JSON events. For replays without a configuration."""

    def __missing__(self, topic: str) -> Codec:
        settings, codec = CODECS["json"]
        return self.setdefault(topic, codec(settings()))


def units(config: Config) -> Units:
    return Units(decide=frozenset({config.outputs.alerts}))


def folds(config: Config) -> Callable[[str], Fold]:
    """A maker of fresh folds by unit name. Codecs and references are shared: they hold no state of a unit."""
    settings = DetectSettings(
        codecs=_codecs(config),
        detectors=config.detectors,
        min_events_after_onset=config.retrain.min_events_after_onset,
        labels=config.labels,
        limits=config.limits,
        outputs=config.outputs,
        references=_references(config),
    )

    def fold(unit: str) -> Fold:
        return DecideFold(config.retrain, config.outputs) if unit == "decide" else DetectFold(settings)

    return fold


def _codecs(config: Config) -> Mapping[str, Codec]:
    if not config.topics:
        return CanonicalCodecs()
    return {topic: CODECS[settings.codec][1](settings) for topic, settings in config.topics.items()}


def _references(config: Config) -> References:
    """Thinned to what the hungriest of the detectors takes."""
    if config.references.file is None:
        return References()
    sizes = [getattr(settings, "reference_size", 0) for settings in config.detectors.values()]
    return load_references(str(config.references.file), max(sizes, default=0) or _reference_size_by_default())


def _reference_size_by_default() -> int:
    """The size of a reference where no detector states one."""
    return max(getattr(spec.settings(), "reference_size", 0) for spec in DETECTORS.values())
