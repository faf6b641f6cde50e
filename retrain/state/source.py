"""What the engine remembers of a source that models share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Final

from retrain.messages.alert import Alert

NAMED_MAX: Final = 100  # models in the incident of a source


class Standing(StrEnum):
    """What becomes of drift of a source."""

    FREE = "free"  # few models use it: each is asked for if its own rules agree
    HELD = "held"  # many do: nothing is asked for until a person says
    RELEASED = "released"  # as if there were few
    DISMISSED = "dismissed"  # nothing is asked for while its incident lasts


@dataclass(slots=True)
class SourceState:
    """One source: its models, and how its open incident stands."""

    patterns: list[str]  # under which the models were found
    models: dict[str, None] = field(default_factory=dict)  # in the order in which they became known; bounded
    incident_id: str = ""  # which incident of the source the rest is about
    standing: Standing = Standing.FREE
    held: Alert | None = None  # what to ask with once it is released

    @property
    def first_models(self) -> tuple[str, ...]:
        """Those of the models that an incident names; all are counted."""
        return tuple(islice(self.models, NAMED_MAX))
