"""`python -m benchmarks.throughput.deciding`: time of the decide fold for alerts of 16,000 models, by outcome."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from retrain.messages.alert import Alert
from retrain.policy.settings import RetrainSettings
from streamer.app.memory import collect_cycles_less_often
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.testing.alerts import firing, ready

MODELS: Final = 16_000
TAKES: Final = 5
EPOCH: Final = 1000  # alerts that are folded at once
CALM: Final = RetrainSettings(storm_models_min=None)


def main() -> None:
    """Print a line a case: alerts a second, the best of five, from bytes to bytes."""
    collect_cycles_less_often()
    names = [f"bus-{i:05}" for i in range(MODELS)]
    fired = [firing("1h", name) for name in names]
    became_ready = [ready("2h", "1h", name) for name in names]
    elsewhere = [replace(alert, column="dwell_s") for alert in fired]
    # First, while the process has no freed memory that the state could go into.
    print(f"{'state with incidents and requests':33} {_state_mb(_stretches([*elsewhere, *became_ready])):8,.0f} MB")
    cases: dict[str, tuple[RetrainSettings, Sequence[Alert]]] = {
        "each opens an incident": (CALM, fired),
        "each makes a request": (CALM, became_ready),
        "two columns fire, then one asks": (CALM, [*fired, *elsewhere, *became_ready]),
        "a storm of all of them": (RetrainSettings(), fired),
    }
    for name, (settings, alerts) in cases.items():
        stretches = _stretches(alerts)
        seconds = min(_seconds(settings, stretches) for _ in range(TAKES))
        print(f"{name:33} {len(alerts) / seconds:8,.0f} alerts/s  {seconds:5.2f} s", flush=True)


def _seconds(settings: RetrainSettings, stretches: Sequence[Records]) -> float:
    fold = DecideFold(settings)
    gc.collect()
    started = time.process_time()
    for records in stretches:
        fold.step([records])
    return time.process_time() - started


def _state_mb(stretches: Sequence[Records]) -> float:
    """How much a fold grows by, in memory that the process holds."""
    gc.collect()
    before = _resident_mb()
    fold = DecideFold(CALM)
    for records in stretches:
        fold.step([records])
    gc.collect()
    assert fold.models == MODELS  # noqa: S101 -- or the figure is of something else
    return _resident_mb() - before


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _stretches(alerts: Sequence[Alert]) -> list[Records]:
    topic = OutputTopics().alerts
    rows = [(i, -1, None, msgspec.json.encode(alert), ()) for i, alert in enumerate(alerts)]
    return [Records.build(topic, 0, rows[i : i + EPOCH]) for i in range(0, len(rows), EPOCH)]


if __name__ == "__main__":
    main()
