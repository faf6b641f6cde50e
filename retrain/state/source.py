"""What the engine remembers of a source that models share."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from retrain.messages.alert import Alert
from retrain.state.hold import Hold

NAMED_MAX: Final = 100  # models in the incident of a source; all are counted


@dataclass(slots=True)
class SourceState:
    """One source: its models, and how its open incident stands."""

    patterns: list[str]  # the settings that `models` were found by
    models: dict[str, None] = field(default_factory=dict)  # in the order of their discovery; at most `models_max`
    incident_id: str = ""  # the incident of the source that the fields below are about
    standing: Hold = Hold.FREE
    held: Alert | None = None  # the alert to request retrains with once it is released

    @property
    def first_models(self) -> tuple[str, ...]:
        """The models that an incident names."""
        return tuple(islice(self.models, NAMED_MAX))

    def reset(self) -> None:
        """Hold nothing, as for a new incident."""
        self.standing, self.held = Hold.FREE, None
