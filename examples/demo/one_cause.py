"""The paragraph about a column that moved in many models at once; formats of figures and times."""

from __future__ import annotations

from datetime import datetime, timedelta

from examples.demo.findings import Findings, SharedMove
from examples.demo.fleet import FAHRENHEIT_FROM_DAY, moment
from retrain.messages.ids import FLEET_PREFIX
from retrain.messages.outcome import Outcome

FLEET_UNITS = {"headway_s": "s", "dwell_time_s": "s", "temperature_c": "°C", "prediction": "s", "error": "s"}


def one_cause(crowd: SharedMove, findings: Findings, models: int) -> str:
    before, after = figures(crowd.before, crowd.after)
    asked = sum(any(move.column == crowd.column for move in r.evidence) for r in findings.requests.values())
    within, unit = span_of(crowd.last - crowd.first), FLEET_UNITS.get(crowd.column, "")
    return (
        f"{crowd.column} moved in {len(crowd.models)} of {models} models, all within {within} "
        f"from {minute(crowd.first)} on, {before} → {after} {unit}: looks like one "
        f"upstream cause. (Truth: the feed turned to Fahrenheit on {minute(moment(FAHRENHEIT_FROM_DAY))}.) "
        f"{_storm(findings, crowd.column)} {_consequence(asked)}"
    )


def _storm(findings: Findings, column: str) -> str:
    name = f"{FLEET_PREFIX}{column}"
    storm = next((incident for incident in findings.incidents.values() if incident.model_id == name), None)
    if storm is None:
        return "Driftline handled them one by one."
    joined = sum(incident.reason is Outcome.JOINED_STORM for incident in findings.incidents.values())
    return (
        f"After the alerts of {joined} models, these and all later ones became one incident, {name}, of "
        f"{storm.model_count} models, which is held for the decision of a person."
    )


def _consequence(requests: int) -> str:
    if requests:
        return f"{requests} retrain requests include it."
    return "It caused no retrain request."


def figures(*numbers: float) -> tuple[str, ...]:
    largest = max(map(abs, numbers))
    whole = largest >= 100 or all(number == round(number) for number in numbers)
    digits = 0 if whole else 1 if largest >= 10 else 2
    return tuple(f"{number:,.{digits}f}" for number in numbers)


def minute(time: datetime) -> str:
    return f"{time:%d %b %H:%M}"


def span_of(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h" if minutes < 2880 else f"{span.days} days"
