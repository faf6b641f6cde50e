"""The answer of the service to a command: the decision it published, as a sentence with what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from retrain.messages.control import Control
from retrain.messages.decision import Decision
from retrain.messages.lifecycle import REFUSALS
from retrain.messages.outcome import Outcome
from streamer.audit.reasons import clock, many
from streamer.errors import RefusedError
from streamer.eventlog.base import Records

REFUSED: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        Outcome.UNKNOWN_REQUEST: "no request has this id, or its model has a later one",
        Outcome.NOT_APPROVED: "a person must approve it first: `driftline approve`",
        Outcome.NOT_TRAINED: "it has no trained challenger yet: `driftline result REQUEST_ID trained`",
        Outcome.TOO_LATE: "it is beyond the state for this command",
        Outcome.SAME_ACTOR: "the same actor approved or reported its training, so another one must promote it",
        Outcome.UNKNOWN_SILENCE: "no silence has this id, or it has expired",
        Outcome.TOO_MANY_SILENCES: "there are as many silences as the service holds; end one first",
    }
)


def answer_in(stretches: Iterable[Records], control: Control) -> Decision | None:
    """The answer to this command among new records of the decisions topic; None if it is not there."""
    name = control.request_id.encode()
    for records in stretches:
        for i in range(len(records)):
            if records.key_of(i) != name:
                continue
            decision = msgspec.json.decode(records.value_of(i) or b"", type=Decision)
            if (decision.actor, decision.at, decision.comment) == (control.actor, control.at, control.comment):
                return decision
    return None


def sentence_of(control: Control, decision: Decision) -> str:
    """What the service made of a command. Raises `RefusedError` with the reason if it refused it."""
    is_over = decision.silence is not None and decision.silence.is_over
    repeated = decision.reason is Outcome.NO_CHANGE
    if repeated and not (is_over and control.kind == "silence"):
        return f"no change: {_now(decision)} already"
    if decision.reason in REFUSALS or repeated:
        why = REFUSED.get(decision.reason, "")
        now = f". {_now(decision)}" if decision.state or decision.silence else ""
        raise RefusedError(
            f"{control.kind} of {control.request_id} was refused: {decision.reason}{f' ({why})' if why else ''}{now}"
        )
    return f"{decision.reason}: {_now(decision)}"


def _now(decision: Decision) -> str:
    silence = decision.silence
    if silence is not None:
        state = "over" if silence.is_over else f"active until {clock(silence.until)}"
        return f"{decision.request_id} is {state}, {many(silence.alerts, 'alert')} suppressed"
    of = f" of {decision.model_id}" if decision.model_id else ""
    until = f" until {clock(decision.answer_by)}" if decision.answer_by else ""
    return f"{decision.request_id}{of} is {decision.state or 'unknown'}{until}"
