"""Which models the engine remembers: those that were heard of last."""

from __future__ import annotations

from retrain.engine.requests import Register
from retrain.messages.action import Action, close
from retrain.messages.outcome import Outcome
from retrain.state.state import EngineState, ModelState


def make_last(
    state: EngineState, register: Register, models_max: int, model_id: str, model: ModelState
) -> list[Action]:
    """Make this model the one heard of last; forget the one heard of longest ago when there is no room."""
    models = state.models
    actions: list[Action] = []
    if models.pop(model_id, None) is None and len(models) >= models_max:
        forgotten = models.pop(next(iter(models)))
        actions = close(forgotten, Outcome.MODEL_EVICTED) + register.forget(forgotten)
        forgotten.last_request = forgotten.waiting = None  # who is at it just now finds nothing left
    models[model_id] = model
    return actions
