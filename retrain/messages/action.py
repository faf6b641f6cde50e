"""The actions that the engine returns. Each names its reason."""

from __future__ import annotations

from retrain.messages.control import Control
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident
from retrain.messages.lifecycle import RequestRecord
from retrain.messages.outcome import Outcome
from retrain.messages.request import RetrainRequest
from retrain.messages.value import record


@record
class PublishIncident:
    """Publish the incident as it is now."""

    incident: Incident
    reason: Outcome


@record
class PublishRequest:
    """Publish a retrain request."""

    request: RetrainRequest
    reason: Outcome = Outcome.REQUEST_MADE


@record
class PublishDecision:
    """Publish a change of a request or silence, or why a control record changed nothing."""

    decision: Decision
    reason: Outcome


@record
class NoAction:
    """Publish nothing: the alert led to no request, for this reason."""

    alert_id: str
    reason: Outcome


Action = PublishIncident | PublishRequest | PublishDecision | NoAction


def answer(control: Control, reason: Outcome, model_id: str = "", record: RequestRecord | None = None) -> Action:
    """The answer to a control record; `record` is the request as it stands now, None if it is unknown."""
    return PublishDecision(Decision.answer(control, reason, model_id, record), reason)
