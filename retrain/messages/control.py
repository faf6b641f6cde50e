"""Commands of people and trainers about a request or a silence: the records of the topic `driftline.control`.

`docs/schemas/control.v1.json` is generated from them. Commands are idempotent. The engine trusts every writer of the
topic, so restrict who may write to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from retrain.messages.silence import Matcher


class ControlKind(StrEnum):
    """What a control record commands or reports."""

    APPROVE = "approve"  # the trainer may start
    REJECT = "reject"  # no training, or no promotion of what was trained
    STARTED = "started"  # by the trainer: training has begun
    TRAINED = "trained"  # by the trainer: there is a challenger
    FAILED = "failed"  # by the trainer: there will be none
    PROMOTE = "promote"  # the challenger serves from now on
    SILENCE = "silence"  # suppress alerts that fit `matcher` until `until`
    UNSILENCE = "unsilence"  # end that silence now


# Always the decision of a person; `promote` is one where the request waits for review.
OF_PEOPLE = frozenset({ControlKind.APPROVE, ControlKind.REJECT, ControlKind.SILENCE, ControlKind.UNSILENCE})


class Proof(StrEnum):
    """How the writer of a control record proved who its actor is."""

    NONE = ""  # not at all, as in `driftline approve`
    LOCAL = "local"  # the user of the machine of the page
    PROXY = "proxy"  # a proxy that the page trusts
    OIDC = "oidc"  # a login of the page at an OpenID provider


@dataclass(frozen=True, slots=True)
class Control:
    """One command about one request or silence. A repeated record changes nothing."""

    kind: ControlKind  # the command: `started`, `trained` and `failed` come from the trainer, the others from people
    request_id: str  # the request that it is about; for `silence` and `unsilence`, the id of the silence
    at: datetime  # event time of the command; UTC, at most an hour after the record's own time
    actor: str  # the author of the command; never ""
    proof: Proof = Proof.NONE  # how the page proved the author; "" by other writers
    comment: str = ""  # the reason, for people
    model_version: str = ""  # of `trained` and `promote`: version of the challenger; "" when versions have no names
    champion: dict[str, float] = field(default_factory=dict)  # of `trained`: hold-out metrics of the champion, by name
    challenger: dict[str, float] = field(default_factory=dict)  # of `trained`: the same metrics of the challenger
    run: str = ""  # of `started`, by a launcher: what the target knows the training run by
    link: str = ""  # of `started`, by a launcher: where people look at the run
    matcher: Matcher | None = None  # of `silence`, required there: which alerts it suppresses
    until: datetime | None = None  # of `silence`, required there: event time of its end; UTC, at most 366 days on
