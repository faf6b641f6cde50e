"""What the engine remembers of a storm."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from retrain.messages.incident import Incident


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
