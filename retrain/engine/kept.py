"""What silences keep back: the newest silenced alert of each series."""

from __future__ import annotations

from retrain.messages.action import Action, Noted
from retrain.messages.alert import Alert
from retrain.messages.outcome import Outcome
from retrain.messages.silence import Kept
from retrain.state.dedup import series_of

KEPT_MAX = 20_000  # series; beyond, the alert that was silenced longest ago is dropped


def keep(kept: dict[str, Kept], alert: Alert, is_new: bool, source: str = "") -> list[Action]:
    """Keep an alert unless a newer one of its series is kept already; returns what is dropped for it, by name."""
    series = _series(alert, source)
    before = kept.pop(series, None)
    if before and before.alert.at.offset > alert.at.offset:
        kept[series] = before
        return []
    same = before if before and before.alert.alert_id == alert.alert_id else None
    kept[series] = Kept(alert, is_new or (same is not None and same.is_new), source)
    if len(kept) <= KEPT_MAX:
        return []
    dropped = kept.pop(next(iter(kept)))
    return [Noted(dropped.alert.alert_id, Outcome.SILENCED_DROPPED)]


def let_go(kept: dict[str, Kept], alert: Alert) -> None:
    """Keep an alert no longer, as it is over."""
    series = _series(alert, "")
    if (known := kept.get(series)) and known.alert.alert_id == alert.alert_id:
        del kept[series]


def let_go_of_source(kept: dict[str, Kept], source: str) -> list[Action]:
    """Keep nothing any more that came to models because of this source; returns what is let go, by name."""
    found = {series: one.alert.alert_id for series, one in kept.items() if one.source == source}
    for series in found:
        del kept[series]
    return [Noted(alert_id, Outcome.WITHDRAWN) for alert_id in found.values()]


def _series(alert: Alert, source: str) -> str:
    return "\n".join((alert.model_id, alert.model_version, series_of(alert), source))
