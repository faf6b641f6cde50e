"""What a command is about, read from published records, and the answer of the service to it, as a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec

from retrain.messages.control import Control
from retrain.messages.decision import Decision
from retrain.messages.ids import FLEET_PREFIX, SOURCE_PREFIX
from retrain.messages.lifecycle import REFUSALS
from retrain.messages.outcome import Outcome
from streamer.audit.reasons import clock, many
from streamer.errors import RefusedError, UsageError
from streamer.eventlog.base import Records
from streamer.logs import one_line

NAMES_MAX: Final = 1_000_000  # ids of each sort that are remembered, the newest
SEARCHED_MAX: Final = 50_000  # the newest ids, among which near ones are searched
NEAR: Final = 3  # ids that are suggested
HELD: Final = (FLEET_PREFIX, SOURCE_PREFIX)
T = TypeVar("T")


class _Silence(msgspec.Struct):
    """The silence in a decision; nothing of it is needed here."""


class _Named(msgspec.Struct):
    """The fields of a record that name what it is about."""

    model_id: str = ""
    request_id: str | None = None
    incident_id: str | None = None
    silence: _Silence | None = None


class Targets:
    """The ids in records of incidents, requests and decisions."""

    def __init__(self) -> None:
        self._requests = dict[str, None]()  # ids of requests, held storms and held sources
        self._silences = dict[str, None]()
        self._incidents = dict[str, str]()  # incident of a model -> its request

    def read(self, kind: str, records: Records) -> None:
        """Add the ids of these records, all of one kind. Raises `UsageError` for one that can't be read."""
        for i in range(len(records)):
            if (value := records.value_of(i)) is None:
                continue
            record = _read(value)
            if kind == "request" and record.request_id:
                _keep(self._requests, record.request_id, None)
            elif kind == "decision" and record.silence and record.request_id:
                _keep(self._silences, record.request_id, None)
            elif kind == "incident" and record.incident_id and record.model_id.startswith(HELD):
                _keep(self._requests, record.incident_id, None)
            elif kind == "incident" and record.incident_id and record.request_id:
                _keep(self._incidents, record.incident_id, record.request_id)

    def check_request(self, name: str) -> None:
        """Raises `UsageError`, with what was probably meant, if no request, held storm or held source has this id."""
        if name in self._requests:
            return
        if name in self._incidents:
            raise UsageError(one_line(f"{name} is an incident; its request is {self._incidents[name]}"))
        raise UsageError(_unknown("request, held storm or held source", name, self._requests, "requests"))

    def check_silence(self, name: str) -> None:
        """Raises `UsageError`, with what was probably meant, if no silence has this id."""
        if name not in self._silences:
            raise UsageError(_unknown("silence", name, self._silences, "silences"))


def _read(value: bytes) -> _Named:
    try:
        return msgspec.json.decode(value, type=_Named)
    except msgspec.MsgspecError as problem:
        raise UsageError(f"a record can't be read ({one_line(str(problem))}): another version wrote it") from problem


def _keep(names: dict[str, T], name: str, value: T) -> None:
    names.pop(name, None)
    names[name] = value
    if len(names) > NAMES_MAX:
        del names[next(iter(names))]


def _unknown(what: str, name: str, near: Collection[str], command: str) -> str:
    found = get_close_matches(name, list(near)[-SEARCHED_MAX:], n=NEAR, cutoff=0.6)
    hint = f"; did you mean {' or '.join(found)}?" if found else f"; `driftline {command} --all` lists them"
    return one_line(f"there is no {what} {name}{hint}")


REFUSED: Final[Mapping[Outcome, str]] = MappingProxyType(
    {
        Outcome.UNKNOWN_REQUEST: "no request has this id, or its model has a later one",
        Outcome.NOT_APPROVED: "a person must approve it first: `driftline approve`",
        Outcome.NOT_TRAINED: "it has no trained challenger yet: `driftline result REQUEST_ID trained`",
        Outcome.TOO_LATE: "it is beyond the state for this command",
        Outcome.SAME_VERSION: "this version serves already and has drifted; name the retrained one with --version",
        Outcome.SAME_ACTOR: "the same actor approved or reported its training, so another one must promote it",
        Outcome.ACTOR_NOT_PROVEN: "`retrain.actor_proofs` demands a proof of its actor: decide on the page",
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
