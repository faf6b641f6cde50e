"""What the engine says is to be done. Every action names its reason."""

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
    """Ask for a retrain."""

    request: RetrainRequest
    reason: Outcome = Outcome.REQUEST_MADE


@record
class PublishDecision:
    """Publish what became of a request, or why a control record changed nothing."""

    decision: Decision
    reason: Outcome


@record
class NoAction:
    """No request came of this alert, and this is why. Nothing to publish."""

    alert_id: str
    reason: Outcome


Action = PublishIncident | PublishRequest | PublishDecision | NoAction


def answer(control: Control, reason: Outcome, model_id: str = "", life: RequestRecord | None = None) -> Action:
    """The answer to a control record about a request that stands now as `life` says."""
    return PublishDecision(Decision.answer(control, reason, model_id, life), reason)
