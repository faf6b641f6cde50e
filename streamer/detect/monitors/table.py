"""The one table of monitors.

To add one: write a `Monitor` in a file of this folder, then add a line to `MONITORS`. The fold, the reset of state when
settings change, the metrics, `driftline columns` and the checks in
`tests/streamer/detect/monitors/test_monitor_checks.py` walk the table.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamer.detect.context import Context
from streamer.detect.monitor import Monitor
from streamer.detect.monitors.absence import AbsenceMonitor
from streamer.detect.monitors.drift import DriftMonitor
from streamer.detect.monitors.flow import FlowMonitor
from streamer.detect.monitors.joint import JointMonitor
from streamer.detect.monitors.quality import QualityMonitor
from streamer.detect.monitors.segment_gap import SegmentGapMonitor
from streamer.detect.monitors.shadow import ShadowMonitor
from streamer.detect.settings import DetectSettings

# The order is that of the alarms of one event, and so of their alerts: another order is a change of behaviour.
MONITORS: tuple[type[Monitor], ...] = (
    DriftMonitor,
    QualityMonitor,
    AbsenceMonitor,
    JointMonitor,
    SegmentGapMonitor,
    FlowMonitor,
    ShadowMonitor,
)


def monitors_of(context: Context) -> Iterator[Monitor]:
    """The monitors that the settings switch on, before the first event."""
    for kind in MONITORS:
        monitor = kind.create(context)
        if monitor is not None:
            yield monitor


def detectors_of(settings: DetectSettings) -> list[str]:
    """The names that alarms are counted under."""
    return [name for kind in MONITORS for name in kind.detectors(settings)]


def reset_by(before: DetectSettings, after: DetectSettings) -> list[str]:
    """The detectors whose state a change of settings resets."""
    known = {name: rests for kind in MONITORS for name, rests in kind.depends_on(before).items()}
    now = {name: rests for kind in MONITORS for name, rests in kind.depends_on(after).items()}
    return [name for name, rests in now.items() if name not in known or known[name] != rests]
