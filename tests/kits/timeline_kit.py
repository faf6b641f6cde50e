"""Short forms of what an engine does about a timeline of records."""

from __future__ import annotations

from retrain.engine.engine import Engine
from retrain.messages.action import Action, PublishRequest


def handle_all(engine: Engine, *records) -> list[Action]:
    """The actions on all these records, in order."""
    return [action for record in records for action in engine.handle(record)]


def reasons(actions: list[Action]) -> str:
    """The reasons of actions, in order."""
    return " ".join(action.reason for action in actions)


def requested(actions: list[Action]) -> list[str]:
    """The models with a request among the actions, in order."""
    return [action.request.model_id for action in actions if isinstance(action, PublishRequest)]
