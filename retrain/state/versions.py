"""Which version of a model is the newest, according to its alerts and promotions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

OLDER_MAX = 32  # superseded versions remembered for a model; beyond, the one superseded longest ago is dropped


class Order(Enum):
    """How a version compares to the newest one known."""

    SAME = auto()
    NEWER = auto()
    OLDER = auto()


@dataclass(slots=True)
class Versions:
    """The versions of one model. The newest is the one whose first alert has the latest event time.

    Version names are opaque ("7", "2026-11-23", a commit), so their order is that of their first alerts. An alert
    without a version ("") counts as one of the newest.
    """

    newest: str
    since: datetime  # event time of the first alert of `newest`
    older: list[str] = field(default_factory=list)  # in the order they were superseded

    def add(self, version: str, event_time: datetime) -> Order:
        """Compare a version with those known, and remember it. The same call again changes nothing."""
        if version in ("", self.newest):
            return Order.SAME
        if version in self.older:
            return Order.OLDER
        if self.newest and event_time < self.since:
            self._supersede(version)
            return Order.OLDER
        named_before = self.newest
        if named_before:
            self._supersede(named_before)
        self.newest, self.since = version, event_time
        return Order.NEWER if named_before else Order.SAME

    def promote(self, version: str, event_time: datetime) -> None:
        """Make a version the newest, whether it is new or an older one; "" changes nothing."""
        if version in ("", self.newest):
            return
        if version in self.older:
            self.older.remove(version)
        if self.newest:
            self._supersede(self.newest)
        self.newest, self.since = version, event_time

    def _supersede(self, version: str) -> None:
        self.older.append(version)
        del self.older[:-OLDER_MAX]
