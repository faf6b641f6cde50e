"""Alarms as they are found, one by one. They are rare, so plain lists are fast enough."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from detectors.base import NO_CATEGORY, Alarms

NO_ALARMS = Alarms.none()  # shared: making empty arrays would be half the cost of one value


class Evidence(NamedTuple):
    """The fields of an alarm apart from its place; see `Alarms`."""

    statistic: float
    threshold: float
    effect: float
    before: float
    after: float
    onset_ago: int
    n_reference: int
    n_current: int
    category: int = NO_CATEGORY


@dataclass(slots=True)
class AlarmList:
    """Collects alarms; `alarms()` turns them into arrays."""

    at: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)

    def append(self, at: int, row: int, evidence: Evidence) -> None:
        """Add the alarm of value `at` of the call, which belongs to series `row`."""
        self.at.append(at)
        self.row.append(row)
        self.evidence.append(evidence)

    def alarms(self) -> Alarms:
        """All alarms as arrays, in the order of `at`."""
        if not self.at:
            return NO_ALARMS
        found = zip(Evidence._fields, zip(*self.evidence, strict=True), strict=True)
        columns: dict[str, Any] = {name: np.array(column) for name, column in found}
        alarms = Alarms(at=np.array(self.at), row=np.array(self.row), **columns)
        if (np.diff(alarms.at) >= 0).all():
            return alarms
        order = np.argsort(alarms.at, kind="stable")
        return Alarms(**{one.name: getattr(alarms, one.name)[order] for one in fields(Alarms)})
