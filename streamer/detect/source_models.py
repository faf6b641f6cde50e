"""The models that use a source, for the alerts of the source: those that this unit of the fold has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import numpy as np

from retrain.messages.ids import SOURCE_PREFIX
from retrain.policy.source_settings import SourceSettings
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Batch
from streamer.detect.subjects import Subjects

NAMED_MAX: Final = 100  # models in an alert; all are counted
CHARS_MAX: Final = 8192  # of their names together, so that an alert stays small


class SourceModels:
    """Which models that a fold has seen use which source."""

    def __init__(self, sources: Mapping[str, SourceSettings], subjects: Subjects) -> None:
        self._sources = {SOURCE_PREFIX + name: settings for name, settings in sources.items()}
        self._subjects = subjects

    def with_models(self, alarms: list[Alarm], batch: Batch) -> list[Alarm]:
        """The alarms of a batch; those of sources name the models that use them.

        Models that were first seen after the alarm do not count, so that no cut of the stream changes an alert.
        """
        if not self._sources:
            return alarms
        return [
            replace(alarm, facts={**alarm.facts, **self._users(alarm, batch)})
            if alarm.facts["model_id"] in self._sources
            else alarm
            for alarm in alarms
        ]

    def _users(self, alarm: Alarm, batch: Batch) -> dict[str, Any]:
        source = self._sources[alarm.facts["model_id"]]
        begun_later = int(np.count_nonzero(batch.sequence[alarm.event + 1 :] == 0))
        seen = (name for name in self._subjects.models(but_last=begun_later) if source.uses(name))
        users = list(dict.fromkeys([*source.named(), *seen]))
        chars = np.cumsum([len(name) for name in users])
        named_max = min(NAMED_MAX, int(np.searchsorted(chars, CHARS_MAX, side="right")))
        return {"models": tuple(islice(users, named_max)), "model_count": len(users)}
