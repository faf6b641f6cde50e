"""Warm-up: compiles what folding calls, or loads it from numba's cache, before a worker joins its group.

On a slow core, compiling takes minutes. A member of the group that does not poll meanwhile loses its partitions, and
supervisors end a process whose loop stands still. So folds with the detectors of the configuration fold a sample that
brings about what calls a kernel: drift and recovery, faults, dependent values, labels, silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

import numpy as np
from numba.core import event

from detectors.profile.bank import ProfileSettings
from detectors.reference import CategoryReference, Reference
from detectors.registry import DEFAULT, settings_of
from streamer.codecs import CODECS
from streamer.codecs.tables.layout_decoder import compile_layouts
from streamer.detect.fold import DetectFold
from streamer.detect.references.table import AnyReference, Key, References
from streamer.detect.settings import DetectSettings, SegmentSettings
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.fetch import compile_reading
from streamer.eventlog.record_times import ahead
from streamer.logs import log_of, log_to_stderr

TOPIC: Final = "warm-up"
MODEL: Final = "warm-up"
START_MS: Final = 1_767_225_600_000  # any time will do
EVENTS: Final = 5_000  # dependence is learnt from thousands of values
STEP_MS: Final = 300_000  # so the sample spans weeks, as calendars need
OTHER_MODELS: Final = 100  # more than the tables have room for at first
READING: Final = {
    "reading": compile_reading,
    "layouts": compile_layouts,
    "order": lambda: ahead(np.zeros(1, np.int64), 0),
}

LOG_EVERY: Final = 20  # kernels of a step

log = log_of("app")


class WarmUpStopped(BaseException):
    """Ends the warm-up at the next begin of a compilation."""


class WarmUp:
    """Compiles kernels step by step, and reports that it is alive."""

    def __init__(
        self,
        detectors: Iterable[str],
        *,
        has_references: bool = False,
        has_segments: bool = False,
        has_profiles: bool = False,
        others: Mapping[str, Callable[[], object]] = READING,
        alive: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """`detectors` are names of the registry, and `others` further steps, by name.

        `alive` and `stopped` are called at the begin of each step and of each compilation.
        """
        self._alive = alive
        self._stopped = stopped
        self._has_segments = has_segments
        self._profiles = ProfileSettings(publish=has_profiles, values_min=20)
        self._references = References(dict(_references())) if has_references else References()
        self._sample = [sample()]
        folding = {name: self._folding((name,)) for name in detectors}
        self._steps = {"monitors": self._folding(()), **folding, **others}
        self._step, self._kernels = "", 0

    def run(self) -> bool:
        """Take all steps; false if `stopped` came before the end."""
        compilations = _Compilations(self._compiling)
        event.register("numba:compile", compilations)  # type: ignore[no-untyped-call]
        try:
            for n, (name, step) in enumerate(self._steps.items(), 1):
                self._step = f"compiling detectors: {n} of {len(self._steps)}, {name}"
                self._kernels = 0
                self._take(name, step)
        except WarmUpStopped:
            return False
        finally:
            event.unregister("numba:compile", compilations)  # type: ignore[no-untyped-call]
        return True

    def _take(self, name: str, step: Callable[[], object]) -> None:
        self._go_on()
        try:
            step()
        except Exception as error:  # a detector of another package may refuse the sample, and yet its own values not
            log.warning("%s can't be compiled ahead, so its first values take longer: %s", name, error)
        self._go_on()

    def _compiling(self) -> None:
        """A compilation begins."""
        self._go_on()
        if self._kernels % LOG_EVERY == 0:
            log.info("%s%s ...", self._step, f", after {self._kernels} kernels" if self._kernels else "")
        self._kernels += 1

    def _go_on(self) -> None:
        self._alive()
        if self._stopped():
            raise WarmUpStopped

    def _folding(self, detectors: Sequence[str]) -> Callable[[], object]:
        codec_settings, codec = CODECS["json"]
        settings = DetectSettings(
            codecs={TOPIC: codec(codec_settings())},
            detectors={name: settings_of(name, **DEFAULT.get(name, {})) for name in detectors},
            references=self._references,
            segments={"*": SegmentSettings(by="line", gap_baseline=30)} if self._has_segments else {},
            tells_time=True,
            profiles=self._profiles,
            false_alarm_spans=dict.fromkeys(detectors, 1e9),
        )
        return lambda: DetectFold(settings).step(self._sample)


class _Compilations(event.Listener):
    def __init__(self, compiling: Callable[[], None]) -> None:
        self._compiling = compiling

    def on_start(self, event: Any) -> None:  # noqa: ARG002
        self._compiling()

    def on_end(self, event: Any) -> None:
        pass


def sample() -> Records:
    """Records of canonical events; the same each time."""
    return Records.build(TOPIC, 0, [(i, *row, ()) for i, row in enumerate(_rows())])


def _rows() -> Iterator[tuple[int, None, bytes]]:
    rng, swing = Random(1), 0.0
    for i in range(EVENTS):
        at_ms, is_odd = START_MS + i * STEP_MS, EVENTS * 5 // 8 <= i < EVENTS * 6 // 8
        swing = 0.9 * swing + rng.gauss(0.0, 1.0 + abs(swing))
        features = {
            "level": rng.gauss(3.0 * is_odd, 1.0),
            "swing": swing,
            "weather": rng.choice(["snow", "fog"] if is_odd else ["rain", "sun"]),
            "line": rng.choice(["1", "2"]),
            "count": (None, "many")[i % 2] if is_odd and i % 4 < 2 else rng.randrange(5),
        }
        if i < EVENTS // 2:
            features["early"] = 1.0
        ids = {"model_id": _model_of(i), "prediction_id": f"p{i}"}
        yield _row(at_ms, **ids, event_time=at_ms, model_version="1", features=features, prediction=features["level"])
        if i % 16:
            yield _row(at_ms, **ids, event_time=at_ms + STEP_MS // 2, label=rng.gauss(0.0, 1.0))


def _model_of(i: int) -> str:
    """One of many for every eighth event; one that falls silent for others."""
    if i % 8 == 0:
        return f"{MODEL}-{i // 8 % OTHER_MODELS}"
    return f"{MODEL}-silent" if i % 8 == 4 and i < EVENTS // 2 else MODEL


def _row(time_ms: int, **fields: object) -> tuple[int, None, bytes]:
    return time_ms, None, json.dumps(fields).encode()


def _references() -> Iterator[tuple[Key, AnyReference]]:
    rng = Random(2)
    for column in ("level", "swing"):
        yield (MODEL, "", column), Reference.of([rng.gauss(0.0, 1.0) for _ in range(500)], 500)
    yield (MODEL, "", "weather"), CategoryReference.of({"rain": 50, "sun": 50})


if __name__ == "__main__":
    log_to_stderr()
    WarmUp(DEFAULT, has_references=True, has_segments=True, has_profiles=True).run()
    log.info("the kernels of %s are compiled", ", ".join(DEFAULT))
