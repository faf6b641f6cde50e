"""Alerts of a source name the models that use it, as far as this unit of the fold has seen them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.messages.ids import SOURCE_PREFIX
from retrain.policy.source_settings import SourceSettings
from streamer.detect.alarm import Alarm
from streamer.detect.subjects import Subjects

NAMED_MAX: Final = 100  # models in an alert; all are counted
CHARS_MAX: Final = 8192  # of their names together, so that an alert stays small


class SourceModels:
    """Which of the models that a fold has seen use which source."""

    def __init__(self, sources: Mapping[str, SourceSettings], subjects: Subjects) -> None:
        self._sources = {SOURCE_PREFIX + name: settings for name, settings in sources.items()}
        self._subjects = subjects

    def named(self, alarms: list[Alarm], numbers: NDArray[np.int64]) -> list[Alarm]:
        """The alarms of a batch whose events have these numbers in their subjects' lives; those of sources with models.

        What is seen later than the alarm counts for none, so that the cut of a stream into batches never shows.
        """
        if not self._sources:
            return alarms
        return [
            replace(alarm, facts={**alarm.facts, **self._users(alarm, numbers)})
            if alarm.facts["model_id"] in self._sources
            else alarm
            for alarm in alarms
        ]

    def _users(self, alarm: Alarm, numbers: NDArray[np.int64]) -> dict[str, Any]:
        source = self._sources[alarm.facts["model_id"]]
        begun_later = int(np.count_nonzero(numbers[alarm.event + 1 :] == 0))
        seen = (name for name in self._subjects.models(but_last=begun_later) if source.uses(name))
        users = list(dict.fromkeys([*source.named(), *seen]))
        chars = np.cumsum([len(name) for name in users])
        named_max = min(NAMED_MAX, int(np.searchsorted(chars, CHARS_MAX, side="right")))
        return {"models": tuple(islice(users, named_max)), "model_count": len(users)}
