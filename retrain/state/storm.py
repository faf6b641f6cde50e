"""What the engine remembers of a storm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from retrain.messages.action import Action, PublishIncident
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import Outcome
from retrain.messages.shift import summary_of
from retrain.state.hold import Hold

STORM_MODELS_NAMED_MAX: Final = 100  # in its incident; all are counted


@dataclass(slots=True)
class Storm:
    """Drift of one column in many models."""

    incident: Incident
    models: dict[str, None]  # those that joined, in order; at most `models_max`
    state: Hold = Hold.HELD

    def join(self, model_id: str, models_max: int) -> None:
        """Add a model, if there is room."""
        if len(self.models) < models_max:
            self.models[model_id] = None

    def holds(self, model_id: str) -> bool:
        """Whether the model waits for a person to decide about the storm."""
        return self.state is Hold.HELD and model_id in self.models

    def publish(self, reason: Outcome, state: IncidentState = IncidentState.OPEN) -> Action:
        """Bring the incident up to date with the models, and publish it."""
        models = tuple(islice(self.models, STORM_MODELS_NAMED_MAX))
        self.incident = replace(
            self.incident,
            state=state,
            reason=reason,
            model_count=len(self.models),
            models=models,
            summary=summary_of(self.incident.columns),
        )
        return PublishIncident(self.incident, reason)
