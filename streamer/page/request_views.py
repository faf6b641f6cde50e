"""The view of one request, held storm or held source: why, which data, who decided what, and what may be decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from retrain.messages.decision import Decision
from retrain.messages.incident import Incident
from retrain.messages.lifecycle import REFUSALS
from retrain.messages.request import RequestState, RetrainRequest
from retrain.messages.shift import Shift
from streamer.audit.reasons import many
from streamer.audit.requests import RequestStatus
from streamer.audit.trail import Trail
from streamer.page.drawing import Missing, Page, Parameters
from streamer.page.model_views import strongest
from streamer.page.reader import ReadView

_S = RequestState
STEPS: Final[Sequence[tuple[str, Sequence[RequestState]]]] = (
    ("Asked", (_S.REQUESTED,)), ("Approved", (_S.APPROVED,)), ("Training", (_S.TRAINING,)),
    ("Trained", (_S.TRAINED, _S.AWAITING_REVIEW)), ("Promoted", (_S.WATCHING,)), ("Helped", (_S.HELPED,)),
)  # fmt: skip
WAITS: Final[Mapping[RequestState, str]] = {
    _S.REQUESTED: "waits for approval",
    _S.AWAITING_REVIEW: "waits for review",
    _S.TRAINED: "waits for promotion",
}
ACTIONS: Final[Mapping[RequestState, Sequence[str]]] = {
    _S.REQUESTED: ("approve", "reject"),
    _S.APPROVED: ("reject",),
    _S.TRAINING: ("reject",),
    _S.TRAINED: ("promote", "reject"),
    _S.AWAITING_REVIEW: ("promote", "reject"),
}


def request_view(view: ReadView, given: Parameters) -> Page:
    """One request."""
    name = given.get("id", "")
    status = view.request(name)
    if status is None:
        raise Missing(f"no request, held storm or held source has the id {name}", name)
    trail = view.trail([status.model_id])
    made = next((one for one in trail.requests if one.request_id == name), None)
    decisions = [one for one in trail.decisions if one.request_id == name]
    incident = view.incident(made.incident_id if made else name)
    reports = view.runs(name)
    data = {
        "status": status,
        "request": made,
        "incident": incident,
        "shift": _drawn(trail, made.evidence if made else incident.columns if incident else ()),
        "decisions": decisions,
        "steps": steps_of(status, made, decisions),
        "metrics": metrics_of(decisions),
        "version": next((one.model_version for one in reversed(decisions) if one.model_version), ""),
        "run": next((one for one in reversed(reports) if one.get("run") or one.get("link")), None),
        "waits_for": WAITS.get(status.state, ""),
        "actions": list(ACTIONS.get(status.state, ())),
        "effects": {kind: effects_of(kind, status, made, incident) for kind in ACTIONS.get(status.state, ())},
        "pending": _pending(reports, decisions),
    }
    sent = given.get("sent", "")
    waits = bool(sent) and not any(rfc3339(one.at) == sent for one in decisions)
    return Page("request.html", data, {"waits": waits, "sent": sent})


def _drawn(trail: Trail, evidence: Sequence[Shift]) -> Shift | None:
    """The strongest of the evidence that has a picture; it may be in the record of the alert alone."""
    ids = {one.alert_id for one in evidence}
    return strongest(one for one in trail.alerts if one.alert_id in ids and one.distribution is not None) or next(
        (one for one in evidence if one.distribution is not None), None
    )


def rfc3339(at: datetime) -> str:
    """A time as in control records, to the millisecond."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def steps_of(status: RequestStatus, made: RetrainRequest | None, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """How far a request is: each step with its time, its author, and whether it is done or here."""
    at: dict[RequestState, Any] = {made.initial_state: (made.requested_at, "")} if made else {}
    for one in decisions:
        if one.state is not None and one.reason not in REFUSALS:
            at.setdefault(one.state, (one.at, one.actor))
    steps = []
    for name, states in STEPS:
        hit = next((state for state in reversed(states) if state in at), None)
        when, actor = at[hit] if hit else (None, "")
        here = status.state in states
        steps.append({"name": name, "at": when, "actor": actor, "is_here": here, "is_done": hit is not None})
    if made and not steps[0]["is_done"]:
        steps[0] |= {"at": made.requested_at, "is_done": True}
    reached = max((i for i, one in enumerate(steps) if one["is_done"]), default=-1)
    for step in steps[:reached]:
        step["is_done"] = True
    if status.state not in {state for _, states in STEPS for state in states}:
        words = status.state.replace("_", " ").capitalize()
        steps[reached + 1 :] = [
            {"name": words, "at": status.since, "actor": status.actor, "is_here": True, "is_done": True}
        ]
    return steps


def metrics_of(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """The metrics of champion and challenger, side by side: of the hold-out, and of a comparison of both in shadow."""
    champion, challenger = dict[str, float](), dict[str, float]()
    for one in decisions:
        champion |= one.champion
        challenger |= one.challenger
    names = dict.fromkeys([*champion, *challenger])
    return [{"name": name, "champion": champion.get(name), "challenger": challenger.get(name)} for name in names]


def effects_of(kind: str, status: RequestStatus, made: RetrainRequest | None, incident: Incident | None) -> list[str]:
    """What a decision will do, in sentences."""
    record = f"Writes one record to the control topic: {kind}, by you, with your comment."
    if made is None:
        of = f"{incident.model_count:,} models" if incident else status.comment
        return [record, *_OF_HOLD.get(kind, ()), f"It concerns {of}."]
    return [record, *(text.format(model=made.model_id, data=_data_of(made)) for text in _OF_REQUEST.get(kind, ()))]


def _data_of(made: RetrainRequest) -> str:
    """The first window of a request, and how many more there are."""
    if not made.training_window:
        return "no window"
    first, more = made.training_window[0], len(made.training_window) - 1
    events = f" ({many(first.events, 'event')})" if first.events else ""
    where = f"{first.topic}[{first.partition}] from offset {first.start_offset} to {first.end_offset}{events}"
    return f"{where} and {many(more, 'further window')}" if more else where


_OF_HOLD: Final[Mapping[str, Sequence[str]]] = {
    "approve": (
        "The hold ends. The service judges each held model by its rules, and asks for the retrains that pass.",
        "A budget of the service may spread these requests over time.",
    ),
    "reject": (
        "What is held is dropped: none of these models is retrained for it.",
        "All of them go on being watched.",
    ),
}
_OF_REQUEST: Final[Mapping[str, Sequence[str]]] = {
    "approve": ("The trainer may start: it trains {model} on {data}.",),
    "reject": (
        "The request ends. The version that serves now goes on serving.",
        "No other request for {model} is made before its cooldown has passed.",
    ),
    "promote": (
        "Reports that the challenger serves from now on. Driftline deploys nothing itself.",
        "The incident closes. Further drift then shows whether the retrain helped.",
    ),
}


def _pending(reports: Sequence[Mapping[str, Any]], decisions: Sequence[Decision]) -> dict[str, Any] | None:
    """The last command that the service has not answered yet."""
    if not reports:
        return None
    last = dict(reports[-1])
    at = datetime.fromisoformat(str(last.get("at")))
    same = (last.get("actor"), last.get("comment", ""), at)
    return None if any((one.actor, one.comment, one.at) == same for one in decisions) else last
