"""How many requests the fleet may make, and how many may be on the way at once."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from retrain.messages.request import later
from retrain.policy.settings import RetrainSettings
from retrain.state.state import EngineState

HOUR_S: Final = 3600.0


class Budget:
    """Counts by the fleet's time. At most `requests_per_hour_max` requests fall into any hour of it."""

    def __init__(self, settings: RetrainSettings, state: EngineState) -> None:
        self._settings = settings
        self._state = state

    def has_room(self, running: int) -> bool:
        """Whether one more may be made now, with so many on the way."""
        per_hour, at_once = self._settings.requests_per_hour_max, self._settings.running_max
        if at_once is not None and running >= at_once:
            return False
        made, now = self._state.made, self._state.now
        if per_hour is None or now is None:
            return True
        del made[: bisect_right(made, now, key=lambda at: later(at, HOUR_S))]
        return len(made) < per_hour

    def spend(self) -> None:
        """One is made now."""
        if self._settings.requests_per_hour_max is not None and self._state.now is not None:
            self._state.made.append(self._state.now)
