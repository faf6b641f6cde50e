"""What the engine says is to be done. Every action names its reason."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from retrain.messages.control import Control
from retrain.messages.decision import Decision
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.lifecycle import RequestLife
from retrain.messages.outcome import Outcome
from retrain.messages.request import RetrainRequest
from retrain.messages.value import record
from retrain.state.state import ModelState
from retrain.state.storm import Storm

STORM_MODELS_NAMED_MAX = 100  # in its incident; all are counted


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
class Noted:
    """No request came of this alert, and this is why. Nothing to publish."""

    alert_id: str
    reason: Outcome


Action = PublishIncident | PublishRequest | PublishDecision | Noted


def close(model: ModelState, reason: Outcome) -> list[Action]:
    """Close the model's incident, if one is open."""
    incident = model.open_incident
    if incident is None:
        return []
    if reason is not Outcome.JOINED_STORM:
        model.firing.clear()
    model.incident = incident.closed(reason)
    return [PublishIncident(model.incident, reason)]


def publish_storm(storm: Storm, reason: Outcome, state: IncidentState = IncidentState.OPEN) -> Action:
    """Publish a storm's incident, with its models as they are now."""
    models = tuple(islice(storm.models, STORM_MODELS_NAMED_MAX))
    storm.incident = replace(storm.incident, state=state, reason=reason, model_count=len(storm.models), models=models)
    return PublishIncident(storm.incident, reason)


def answer(control: Control, reason: Outcome, model_id: str = "", life: RequestLife | None = None) -> Action:
    """The answer to a control record about a request that stands now as `life` says."""
    return PublishDecision(Decision.answer(control, reason, model_id, life), reason)
