"""What an engine does about a timeline of records, in short."""

from __future__ import annotations

from retrain.engine.engine import Engine
from retrain.messages.action import Action, PublishRequest


def told(engine: Engine, *records) -> list[Action]:
    """All actions on these records."""
    return [action for record in records for action in engine.handle(record)]


def reasons(actions: list[Action]) -> str:
    """The reasons of actions, in order."""
    return " ".join(action.reason for action in actions)


def asked(actions: list[Action]) -> list[str]:
    """The models that a retrain is asked for, in order."""
    return [action.request.model_id for action in actions if isinstance(action, PublishRequest)]
