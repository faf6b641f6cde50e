"""The timeline of a trail: its records as lines for people, each with its numbers and its named reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from retrain.messages.alert import Alert, AlertKind, AlertState, TrainingWindow
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.lifecycle import REFUSALS
from retrain.messages.outcome import Outcome
from retrain.messages.request import RetrainRequest
from retrain.policy.settings import RetrainSettings
from streamer.audit.explanation import AlertOutcome, AlertOutcomes
from streamer.audit.reasons import EventCounts, clock, many, number
from streamer.audit.trail import Record, Trail

INDENT: Final = " " * 18


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One record of the timeline."""

    at: datetime
    rank: int  # among records of one time: causes precede effects
    record: Record
    lines: tuple[str, ...]  # the first one lacks its time


def entries(
    trail: Trail,
    wanted: Callable[[Record], bool],
    settings: RetrainSettings | None = None,
    events: EventCounts = dict,
) -> list[TimelineEntry]:
    """The selected records in order of time. `settings` and `events`: see `AlertOutcomes`."""
    outcomes = AlertOutcomes(trail, settings, events)
    found = [
        *(_of_alert(outcomes, alert) for alert in trail.alerts if wanted(alert)),
        *_of_incidents(trail, [incident for incident in trail.incidents if wanted(incident)]),
        *(_of_request(request) for request in trail.requests if wanted(request)),
        *(_of_decision(decision) for decision in trail.decisions if wanted(decision)),
    ]
    return sorted(found, key=lambda entry: (entry.at, entry.rank))


def text_of(timeline: Iterable[TimelineEntry]) -> Iterator[str]:
    """The lines of the timeline; the details of a record are indented."""
    for entry in timeline:
        first, *more = entry.lines
        yield f"{clock(entry.at)}  {first}"
        for line in more:
            yield INDENT + line


def _of_alert(outcomes: AlertOutcomes, alert: Alert) -> TimelineEntry:
    ends = [f"=> {_why(outcome)}" for outcome in outcomes.of(alert)]
    head = f"alert     {alert.alert_id} {alert.state} ({alert.resolution or alert.kind})"
    if alert.state is AlertState.RESOLVED:
        return TimelineEntry(alert.event_time, 0, alert, (head, *ends))
    said = [alert.summary] if alert.summary else []
    if alert.state is AlertState.READY:  # measured again where the record says how certainly
        again = [_move_of(alert), _since(alert)] if alert.effect_se is not None else []
        return TimelineEntry(alert.event_time, 0, alert, (head, *said, *again, *ends))
    if alert.kind is AlertKind.LIMIT:
        full = f"rejected {alert.category!r}: {alert.column} is reached, {many(alert.n_reference, 'name')}"
        where = f"offset {alert.onset.offset} of {_partition_of(alert)}; later names are only counted"
        return TimelineEntry(alert.event_time, 0, alert, (head, *said, full, where, *ends))
    if alert.kind is AlertKind.BETTER_VERSION:
        return TimelineEntry(alert.event_time, 0, alert, (head, *said, *ends))
    by = f"by {alert.detector} (statistic {number(alert.statistic)}, threshold {number(alert.threshold)})"
    return TimelineEntry(alert.event_time, 0, alert, (head, *said, f"{_move_of(alert)}, {by}", _since(alert), *ends))


def _move_of(alert: Alert) -> str:
    """Where the column came from, where it is, and the effect, with its standard error where that is known."""
    what = f"{alert.column}{f' ({alert.category})' if alert.category else ''} {alert.direction}"
    error = f" ± {number(alert.effect_se)}" if alert.effect_se is not None else ""
    effect = f"effect {number(alert.effect)}{error} {alert.effect_unit}"
    return f"{what}: {number(alert.before)} -> {number(alert.after)}, {effect}"


def _since(alert: Alert) -> str:
    """The onset, and how many values were compared with what."""
    against = f"training data {alert.reference_digest[:8]}" if alert.reference_digest else "its own earlier values"
    onset = f"since {clock(alert.onset.event_time)}, offset {alert.onset.offset} of {_partition_of(alert)}"
    return f"{onset}; {many(alert.n_current, 'value')} against {alert.n_reference:,} of {against}"


def _partition_of(alert: Alert) -> str:
    return f"{alert.onset.topic}[{alert.onset.partition}]"


def _why(outcome: AlertOutcome) -> str:
    why = f" ({outcome.text})" if outcome.text else ""
    return f"{outcome.decision or 'not decided'}{why}{f', {outcome.by}' if outcome.by else ''}"


def _of_incidents(trail: Trail, incidents: Iterable[Incident]) -> Iterator[TimelineEntry]:
    """The changes of incidents, except alerts that join: those appear with the alert."""
    promoted = [one for one in trail.decisions if one.reason is Outcome.PROMOTED]
    for incident in incidents:
        if incident.reason is Outcome.ABSORBED:
            continue
        is_over = incident.state is IncidentState.CLOSED
        at = incident.last_alert_at
        if incident.reason is Outcome.PROMOTED:
            at = next((one.at for one in promoted if one.model_id == incident.model_id and one.at >= at), at)
        size = f", {incident.model_count:,} models" if incident.model_count > 1 else ""
        head = f"incident  {incident.incident_id} {incident.state}: {incident.reason}"
        facts = f"{incident.model_id}, {many(incident.alerts, 'alert')}{size}; {_moves(incident)}"
        said = [incident.summary] if incident.summary and not is_over else []
        yield TimelineEntry(at, 3 if is_over else 1, incident, (head, *said, facts))


def _moves(incident: Incident) -> str:
    return ", ".join(f"{move.column} {number(move.effect)} {move.effect_unit}" for move in incident.columns[:5])


def _of_request(request: RetrainRequest) -> TimelineEntry:
    windows = [f"train on {_stretch(one)}" for one in request.training_window]
    windows += [f"history {_stretch(one)}" for one in request.history]
    return TimelineEntry(
        request.requested_at,
        2,
        request,
        (
            f"request   {request.request_id} ({request.reason}, of {request.incident_id})",
            *([request.summary] if request.summary else []),
            *windows,
            f"approval {request.approval}, open until {clock(request.expires_at)}",
        ),
    )


def _stretch(window: TrainingWindow) -> str:
    """A window of a request, in words."""
    what = f"{window.role}, {many(window.events, 'event')}" if window.events else f"{window.role}"
    where = f"{window.topic}[{window.partition}] {window.start_offset} to {window.end_offset}"
    return f"{where}, {clock(window.start_time)} to {clock(window.end_time)} ({what})"


def _of_decision(decision: Decision) -> TimelineEntry:
    by = f" by {decision.actor}" if decision.actor else ""
    why = f": {decision.comment}" if decision.comment else ""
    change = "refused, " if decision.reason in REFUSALS else ""
    lines = [f"decision  {decision.request_id} {change}{decision.reason}{by}{why}"]
    if decision.silence:
        matcher, until = decision.silence.matcher, clock(decision.silence.until)
        kind, last = matcher.kind or "*", f", the last of {decision.model_id}" if decision.model_id else ""
        lines.append(
            f"model {matcher.model}, column {matcher.column}, kind {kind}, until {until}; "
            f"{many(decision.silence.alerts, 'alert')} silenced{last}"
        )
    elif decision.state:
        until = f" until {clock(decision.answer_by)}" if decision.answer_by else ""
        version = f", version {decision.model_version}" if decision.model_version else ""
        lines.append(f"now {decision.state}{until}{version}{_metrics(decision)}")
    return TimelineEntry(decision.at, 2, decision, tuple(lines))


def _metrics(decision: Decision) -> str:
    """The metrics of champion and challenger."""
    pairs = [
        f"{name} {number(value)} -> {number(decision.challenger[name])}"
        for name, value in decision.champion.items()
        if name in decision.challenger
    ]
    return f"; {', '.join(pairs)}" if pairs else ""
