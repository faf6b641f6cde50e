"""How many false alarms all models together may raise, and the rate that each detector is asked for because of it.

A detector with a setting `arl0` lets on average so many events of an unchanged model, or values of an unchanged series,
pass before an alarm. Expected numbers of alarms add up, whatever depends on what: N events, of however many models,
raise N / arl0. So a number of alarms in a period, and the traffic of the period, give one arl0 for all; no series needs
to know of another, and no unit of another unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from detectors.base import shares_rate
from detectors.registry import bank
from streamer.clock import seconds_of

MARKS: Final = 4  # series of zeros and ones that `rate` keeps of a column: missing, type fault, out of range, unseen
EVENTS_PER_S_MAX: Final = 1e7
COLUMNS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class FalseAlarmSettings:
    """How many false alarms all models together may raise, on average, and the traffic that is expected.

    events_per_s: events of all models together, averaged over days; twice as many where segments are watched.
    at_most: alarms in a period; shared alike by the detectors that keep a rate and are not given their own `arl0`.
    per: the period of event time: a number and s, m, h, d or w.
    columns: what is watched in an event: its features, the prediction and the error.
    """

    events_per_s: float
    at_most: float = 1.0
    per: str = "30d"
    columns: int = 20

    def __post_init__(self) -> None:
        if not 0.0 < self.events_per_s <= EVENTS_PER_S_MAX:
            raise ValueError(f"events_per_s must be above 0 and at most 10 million, not {self.events_per_s}")
        if not 0.0 < self.at_most <= 1e6:
            raise ValueError(f"at_most must be above 0 and at most a million, not {self.at_most}")
        try:
            seconds_of(self.per)
        except ValueError as problem:
            raise ValueError(f"per must be a span of time: {problem}") from None
        if not 1 <= self.columns <= COLUMNS_MAX:
            raise ValueError(f"columns must be 1 to {COLUMNS_MAX:,}, not {self.columns}")

    @property
    def events(self) -> float:
        """In a period, of all models together."""
        return self.events_per_s * seconds_of(self.per)


def keeping(detectors: Mapping[str, Any]) -> list[str]:
    """Those of the detectors that share the allowance: they keep a rate, and theirs is the default one."""
    return [
        name
        for name, settings in detectors.items()
        for field in fields(settings)
        if field.name == "arl0" and settings.arl0 == field.default
    ]


def allotted(detectors: Mapping[str, Any], allowed: FalseAlarmSettings | None) -> dict[str, Any]:
    """The settings of all detectors, each `arl0` such that the allowance holds.

    ValueError where a detector can't keep so low a rate, with what could be changed. One that can keep no rate as high
    as allowed stays with its default, so that there are fewer alarms.
    """
    if allowed is None:
        return dict(detectors)
    sharing = keeping(detectors)
    return {
        name: _asked(name, settings, allowed, len(sharing)) if name in sharing else settings
        for name, settings in detectors.items()
    }


def _asked(name: str, settings: Any, allowed: FalseAlarmSettings, sharers: int) -> Any:
    judged = allowed.events * _judged_of_an_event(name, settings, allowed.columns)
    arl0 = float(f"{judged * sharers / allowed.at_most:.3g}")  # as people would write it
    try:
        return replace(settings, arl0=arl0)
    except ValueError as problem:
        if arl0 < settings.arl0:
            return settings
        raise ValueError(
            f"{allowed.at_most:g} in {allowed.per}, of {allowed.events:.3g} events, is less than can be kept "
            f"({problem}): allow more, or a shorter period"
        ) from None


def _judged_of_an_event(name: str, settings: Any, columns: int) -> int:
    """How many of what its `arl0` counts a detector sees in an event of so many columns."""
    one = bank(name, settings, 0)
    if shares_rate(one) or one.takes == "rows":
        return 1
    return columns * (MARKS if one.takes == "marks" else 1)
