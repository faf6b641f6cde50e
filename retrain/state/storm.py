"""What the engine remembers of a storm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from retrain.messages.action import Action, PublishIncident
from retrain.messages.incident import Incident, IncidentState
from retrain.messages.outcome import Outcome


class StormState(StrEnum):
    """What becomes of alerts that join a storm."""

    HELD = "held"  # nothing is asked for until a person says
    RELEASED = "released"  # as if there were no storm
    DISMISSED = "dismissed"  # nothing is asked for


@dataclass(slots=True)
class Storm:
    """One column that moves in many models."""

    incident: Incident
    models: dict[str, None]  # those that have joined, in that order; at most as many as there are
    state: StormState = StormState.HELD

    def join(self, model_id: str, models_max: int) -> None:
        """Let a model join, if there is room."""
        if len(self.models) < models_max:
            self.models[model_id] = None

    def holds(self, model_id: str) -> bool:
        """Whether a person's word on it is one on this model."""
        return self.state is StormState.HELD and model_id in self.models


STORM_MODELS_NAMED_MAX = 100  # in its incident; all are counted


def publish_storm(storm: Storm, reason: Outcome, state: IncidentState = IncidentState.OPEN) -> Action:
    """Publish a storm's incident, with its models as they are now."""
    models = tuple(islice(storm.models, STORM_MODELS_NAMED_MAX))
    storm.incident = replace(storm.incident, state=state, reason=reason, model_count=len(storm.models), models=models)
    return PublishIncident(storm.incident, reason)
