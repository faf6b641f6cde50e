"""Which incident an alert belongs to."""

from __future__ import annotations

from retrain.messages.alert import Alert
from retrain.messages.incident import Incident
from retrain.messages.outcome import Outcome
from retrain.state.state import ModelState


def incident_with(model: ModelState, alert: Alert, decision: Outcome, *, is_new: bool, columns_max: int) -> Incident:
    """The model's incident with this alert in it, of which this was decided; a new one if none is open."""
    incident, version = model.incident_for(is_new), model.versions.newest
    if incident is None:
        return Incident.opened(alert, version, model.now, decision)
    return incident.absorb(alert, version, model.now, decision, is_new=is_new, columns_max=columns_max)
