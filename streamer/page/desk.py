"""The desk: the page before a decision, which states what it will do, and the control record that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from retrain.messages.alert import AlertKind
from retrain.messages.ids import derived_id
from streamer.clock import Clock, seconds_of
from streamer.contracts.alert_reader import Unreadable
from streamer.contracts.control_reader import read_control
from streamer.errors import UsageError
from streamer.page.access import User
from streamer.page.drawing import Missing, Page, Parameters
from streamer.page.reader import ReadView
from streamer.page.request_views import ACTIONS, effects_of, rfc3339

Send = Callable[[bytes, bytes], None]  # key and value of a control record; raises `BrokerError`
VERBS: Final[Mapping[str, str]] = {
    "approve": "Approve",
    "reject": "Reject",
    "promote": "Promote",
    "silence": "Silence",
    "unsilence": "End",
}

PREVIEW_MAX: Final = 10  # models of a preview
DURATIONS: Final = ("1h", "4h", "1d", "7d")
_EPOCH: Final = "2000-01-01T00:00:00Z"  # for a check of a duration


class Desk:
    """Checks and sends control records."""

    def __init__(self, send: Send, clock: Clock) -> None:
        self._send, self._clock = send, clock

    def decide(self, view: ReadView, kind: str, form: Mapping[str, str], user: User) -> tuple[str, str]:
        """Send a decision; the id that it is about, and its time.

        Raises `UsageError` or `Missing` if it can't be valid, and so was not sent, and `BrokerError` when Kafka fails.
        """
        now_s = self._clock.now_s()
        at = rfc3339(datetime.fromtimestamp(now_s, UTC))
        record: dict[str, Any] = {"kind": kind, "at": at, "actor": user.name, "proof": user.proof}
        record["comment"] = form.get("comment", "").strip()
        if kind == "silence":
            record |= silence_of(form, at, user.name)
        elif kind in VERBS:
            record |= _about(view, kind, form)
        else:
            raise UsageError(f"there is no decision {kind!r}")
        value = msgspec.json.encode(record)
        control = read_control(value, int(now_s * 1000))
        if isinstance(control, Unreadable):
            raise UsageError(f"{kind} was not sent: {control.detail}")
        self._send(control.request_id.encode(), value)
        return control.request_id, at


def _about(view: ReadView, kind: str, form: Mapping[str, str]) -> dict[str, Any]:
    name = form.get("id", "")
    if kind == "unsilence":
        if not any(one.request_id == name for one in view.silences()):
            raise Missing(f"no silence has the id {name}", name)
        return {"request_id": name}
    status = view.request(name)
    if status is None:
        raise Missing(f"no request, held storm or held source has the id {name}", name)
    if kind not in ACTIONS.get(status.state, ()):
        raise UsageError(f"{name} is {status.state}, so there is nothing to {kind}: reload its page")
    version = form.get("version", "").strip() if kind == "promote" else ""
    return {"request_id": name} | ({"model_version": version} if version else {})


def silence_of(form: Mapping[str, str], at: str, actor: str) -> dict[str, Any]:
    """The fields of a silence from a form. Raises `UsageError` for a duration or a kind that there is none of."""
    model, column = form.get("model", "").strip() or "*", form.get("column", "").strip() or "*"
    kind = form.get("alert_kind", "").strip() or None
    if kind is not None and kind not in set(AlertKind):
        raise UsageError(f"there is no kind of alert {kind!r}")
    try:
        length = timedelta(seconds=seconds_of(form.get("for", "").strip()))
        until = (datetime.fromisoformat(at) + length).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError) as problem:
        raise UsageError(f"the duration: {problem}") from None
    name = model if model != "*" else column
    return {
        "request_id": derived_id("silence", model, column, kind or "", at, until, actor, name=name),
        "matcher": {"model": model, "column": column, "kind": kind},
        "until": until,
    }


def confirm_view(view: ReadView, given: Parameters) -> Page:
    """The form of a decision. Raises `Missing` for a decision or an id that there is none of."""
    kind = given.get("kind", "")
    if kind not in VERBS:
        raise Missing(f"there is no decision {kind!r}", "")
    if kind == "silence":
        return _silence(view, given)
    name = given.get("id", "")
    if kind == "unsilence":
        found = next((one for one in view.silences() if one.request_id == name), None)
        if found is None:
            raise Missing(f"no silence has the id {name}", name)
        effects = ["Alerts that fit are judged from now on. Suppressed alerts that still hold open their incidents."]
        return Page("confirm.html", _data(kind, name, "the silence", effects))
    status = view.request(name)
    if status is None:
        raise Missing(f"no request, held storm or held source has the id {name}", name)
    made = next((one for one in view.trail([status.model_id]).requests if one.request_id == name), None)
    incident = view.incident(made.incident_id if made else name)
    what = f"the {'retrain of ' if made else 'hold of '}{status.model_id}"
    is_late = kind not in ACTIONS.get(status.state, ())
    data = _data(kind, name, what, effects_of(kind, status, made, incident))
    return Page("confirm.html", data | {"late": status.state.value if is_late else ""})


def _data(kind: str, name: str, what: str, effects: list[str]) -> dict[str, object]:
    return {"kind": kind, "id": name, "what": what, "verb": VERBS[kind], "effects": effects, "late": ""}


def _silence(view: ReadView, given: Parameters) -> Page:
    problem = ""
    if given.get("for"):
        try:
            silence_of(given, _EPOCH, "")
        except UsageError as found:
            problem = str(found)
    model, column = given.get("model", "").strip() or "*", given.get("column", "").strip() or "*"
    hits, names = view.silenced(model, column, PREVIEW_MAX)
    fields = {"alert_kind": given.get("alert_kind", ""), "for": given.get("for", "4h")}
    data = {
        "fields": {"model": model, "column": column, **fields},
        "hits": hits,
        "names": names,
        "problem": problem,
        "durations": DURATIONS,
    }
    return Page("silence.html", data)
