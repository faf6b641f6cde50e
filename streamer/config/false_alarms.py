"""The false-alarm budget of all models together, and the rate of each detector that follows from it.

`arl0` is the mean number of events of an unchanged model, or values of an unchanged series, before an alarm. Expected
numbers of alarms add up, also under dependence: N events, of any number of models, raise N / arl0. So the number of
alarms in a period and its traffic give one arl0 for all, and series and units need not coordinate.

Where no traffic is stated, each model has the rate of its own: the fold measures its traffic (`detectors/series/
offsets.py`), and a span of time between false alarms becomes one of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from detectors.base import shares_rate
from detectors.registry import bank
from streamer.clock import seconds_of

MARKS: Final = 4  # fault series that `rate` keeps of a column: missing, type fault, out of range, unseen
EVENTS_PER_S_MAX: Final = 1e7
COLUMNS_MAX: Final = 10_000
MODELS_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FalseAlarmSettings:
    """The mean number of false alarms: of so many models at their own traffic, or of all at a stated one.

    events_per_s: mean events/s of all models together, over days; twice as many with segments. Without it, the traffic
        of each model is measured, and `at_most` holds for each `models` of them.
    at_most: false alarms in a period, shared equally by detectors that have a stated rate and no `arl0` of their own.
    per: the period, in event time: a duration such as 12h or 30d.
    columns: monitored columns of an event: its features, the prediction and the error.
    models: models that raise `at_most` together, where traffic is measured. Versions, and segments, count as models.
    """

    events_per_s: float | None = None
    at_most: float = 1.0
    per: str = "30d"
    columns: int = 20
    models: int = 100

    def __post_init__(self) -> None:
        if self.events_per_s is not None and not 0.0 < self.events_per_s <= EVENTS_PER_S_MAX:
            raise ValueError(f"events_per_s must be above 0 and at most 10 million, not {self.events_per_s}")
        if not 0.0 < self.at_most <= 1e6:
            raise ValueError(f"at_most must be above 0 and at most a million, not {self.at_most}")
        try:
            seconds_of(self.per)
        except ValueError as problem:
            raise ValueError(f"per must be a span of time: {problem}") from None
        if not 1 <= self.columns <= COLUMNS_MAX:
            raise ValueError(f"columns must be 1 to {COLUMNS_MAX:,}, not {self.columns}")
        if not 1 <= self.models <= MODELS_MAX:
            raise ValueError(f"models must be 1 to {MODELS_MAX:,}, not {self.models}")

    @property
    def is_measured(self) -> bool:
        """Whether each model has a rate by its own traffic."""
        return self.events_per_s is None

    @property
    def events(self) -> float:
        """Events in a period, of all models together, where traffic is stated."""
        return (self.events_per_s or 0.0) * seconds_of(self.per)


def keeping(detectors: Mapping[str, Any]) -> list[str]:
    """The detectors that share the budget: they have a stated rate, at its default."""
    return [
        name
        for name, settings in detectors.items()
        for field in fields(settings)
        if field.name == "arl0" and settings.arl0 == field.default
    ]


def allotted(detectors: Mapping[str, Any], allowed: FalseAlarmSettings | None) -> dict[str, Any]:
    """The settings of all detectors, with each shared `arl0` derived from the budget.

    Raises ValueError where a detector has no rate so low, with what to change. One that has no rate so high keeps its
    default, which gives fewer alarms. Where traffic is measured, the settings stay, and `spans` states the rates.
    """
    if allowed is None or allowed.is_measured:
        return dict(detectors)
    sharing = keeping(detectors)
    return {
        name: _with_rate(name, settings, allowed, len(sharing)) if name in sharing else settings
        for name, settings in detectors.items()
    }


def spans(detectors: Mapping[str, Any], allowed: FalseAlarmSettings | None) -> dict[str, float]:
    """By detector that shares the budget, seconds of a model's events to a false alarm; none if traffic is stated.

    So many events, at the model's traffic, are the detector's `arl0`.
    """
    if allowed is None or not allowed.is_measured:
        return {}
    sharing = keeping(detectors)
    apart_s = seconds_of(allowed.per) * allowed.models / allowed.at_most
    return {
        name: apart_s * len(sharing) * _judged_of_an_event(name, detectors[name], allowed.columns) for name in sharing
    }


def _with_rate(name: str, settings: Any, allowed: FalseAlarmSettings, sharers: int) -> Any:
    judged = allowed.events * _judged_of_an_event(name, settings, allowed.columns)
    arl0 = float(f"{judged * sharers / allowed.at_most:.3g}")  # three digits
    try:
        return replace(settings, arl0=arl0)
    except ValueError as problem:
        if arl0 < settings.arl0:
            return settings
        raise ValueError(
            f"{allowed.at_most:g} in {allowed.per}, of {allowed.events:.3g} events, is below the lowest rate "
            f"({problem}): allow more, or in a shorter period"
        ) from None


def _judged_of_an_event(name: str, settings: Any, columns: int) -> int:
    """How many of the units of its `arl0` a detector takes from an event with so many columns."""
    one = bank(name, settings, 0)
    if shares_rate(one) or one.takes == "rows":
        return 1
    return columns * (MARKS if one.takes == "marks" else 1)
