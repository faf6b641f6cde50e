"""The interface of everything that watches: events in, alarms out, with a state of its own.

A new kind of watching is one file with a `Monitor`, one line in `monitors/table.py`, and one section of settings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np

from detectors.arrays.types import I64
from streamer.detect.alarm import Alarm, Remeasures, Verdict
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.remap import Array, Arrays, Mask, Remap, Remaps
from streamer.detect.settings import DetectSettings


class MonitorFindings(NamedTuple):
    """What one monitor found in one batch."""

    alarms: Sequence[Alarm] = ()  # those of one event in the order in which their alerts are published
    verdicts: Sequence[Verdict] = ()  # on series that had alarmed before, in order of events


@dataclass(frozen=True, slots=True)
class ColumnStatus:
    """What one monitor watches of one column of a subject."""

    subject: int
    column: str
    detectors: tuple[str, ...] = ()  # that get the values of the column
    reference: str = ""  # digest of the training reference; "" if the first values serve as one
    states: tuple[str, ...] = ()  # of `streamer.detect.inspect.STATES`
    kind: str = ""  # of what is no column of events, such as "rows"; "" for a column of events ...
    values: int = 0  # ... and how many such values there were


def in_order_of_events(found: Sequence[MonitorFindings]) -> tuple[list[Alarm], list[Verdict]]:
    """The alarms and verdicts of all monitors; those of one event stay in the order of the monitors."""
    alarms = sorted((alarm for one in found for alarm in one.alarms), key=lambda alarm: alarm.event)
    return alarms, sorted((verdict for one in found for verdict in one.verdicts), key=lambda verdict: verdict.event)


class Monitor(Protocol):
    """One kind of watching in one fold unit.

    A monitor names this class as its base, and so inherits the methods that it does not need. How the stream is cut
    into batches never changes findings or state. Arrays in a snapshot are named `<key>/<name>`; only the monitor itself
    reads them.
    """

    name: ClassVar[str]  # in metrics
    keys: ClassVar[tuple[str, ...]]  # prefixes of its arrays in a snapshot, unique among monitors

    @classmethod
    @abstractmethod
    def create(cls, context: Context) -> Self | None:
        """The monitor before the first event; None if the settings switch it off."""

    @classmethod
    @abstractmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        """The names that its alarms are counted under; empty if the settings switch it off."""

    @classmethod
    def depends_on(cls, settings: DetectSettings) -> Mapping[str, object]:  # noqa: ARG003
        """The settings on which the state of each detector rests. A detector whose settings change is reset."""
        return {}

    @abstractmethod
    def observe(self, batch: Batch) -> MonitorFindings:
        """Fold a batch into the state; returns what it found."""

    def remeasures(self) -> Mapping[str, Remeasures]:
        """By detector, what measures its alerts again when they become ready; alerts of others keep their numbers."""
        return {}

    def settle(self) -> None:
        """Let go of the batch: its alerts are known by now."""

    def describe(self, subjects: Sequence[int]) -> Iterator[ColumnStatus]:  # noqa: ARG002
        """What it watches of these subjects, for `driftline columns`."""
        return iter(())

    def phases(self) -> Mapping[str, int]:
        """How many series are in each phase, by its name; empty for monitors that do not count them."""
        return {}

    @abstractmethod
    def dump(self) -> Arrays:
        """The state; it shows the monitor's own memory until the next batch."""

    @abstractmethod
    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:
        """Restore what was dumped, in a fold whose shared tables are restored.

        reset: detectors that begin with an empty state. owned: the monitor may keep the arrays and write to them.
        """

    @staticmethod
    @abstractmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """A dumped state without the evicted ids. It takes over the arrays, and may move what is in them."""

    def versions(self, models: Mask) -> I64:  # noqa: ARG002
        """Ids of the model versions that its state names, of the models that survive an eviction; -1 is none."""
        return np.empty(0, np.int64)

    def alarm_rows(self, remaps: Remaps) -> Mapping[str, Remap]:  # noqa: ARG002
        """The rows that its alarms name, by detector, if their alerts wait to become ready."""
        return {}
