"""What an alert is about, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from retrain.messages.alert import Alert, AlertKind

# what `before` and `after` are, by kind; of other kinds they are locations in the column's units
_SHARES: Final = MappingProxyType(
    {
        AlertKind.MISSING: "is missing in",
        AlertKind.TYPE_FAULT: "has another type in",
        AlertKind.OUT_OF_RANGE: "is out of the range of the training data in",
        AlertKind.UNSEEN: "is a category that the training data lack in",
    }
)
_OTHERS: Final[Mapping[AlertKind, str]] = MappingProxyType(
    {
        AlertKind.ABSENT: "is no longer in the events",
        AlertKind.SILENT: "stopped: {after:.3g} s without any, {before:.3g} s on average before",
        AlertKind.EVENT_RATE: "come {after:.3g} times an hour, {before:.3g} before",
        AlertKind.LABEL_RATE: "come in time for {after:.3g} of the predictions, {before:.3g} before",
        AlertKind.LIMIT: "is reached: further names are only counted",
        AlertKind.SEGMENT_GAP: "departs from the other segments: {before:.3g} there, {after:.3g} here",
        AlertKind.LABEL_LAG: "changed: {before:.3g} s before, {after:.3g} s after",
    }
)
NAME_CHARS_MAX: Final = 200  # of a name in a sentence


def sentence_of(alert: Alert, change: str = "") -> str:
    """One sentence on an alert. `change` reads on from the column's name; "": from the numbers of the alert."""
    column = shortened(alert.column)
    if alert.columns:
        column = f"{column} of {' and '.join(shortened(one) for one in alert.columns)}"
    if alert.segment:
        column += f" of {shortened(alert.segment)}"
    return f"{column} {change or _change_of(alert)}."


def shortened(name: str) -> str:
    """A name as it is, or its beginning."""
    return name if len(name) <= NAME_CHARS_MAX else f"{name[: NAME_CHARS_MAX - 1]}…"


def _change_of(alert: Alert) -> str:
    if alert.kind in _SHARES:
        return f"{_SHARES[alert.kind]} {100 * alert.after:.3g} % of the values, {100 * alert.before:.3g} % before"
    if alert.kind in _OTHERS:
        return _OTHERS[alert.kind].format(before=alert.before, after=alert.after)
    what = f"share of {shortened(alert.category)} " if alert.category else ""
    return f"changed: {what}{alert.before:.3g} before, {alert.after:.3g} after"
