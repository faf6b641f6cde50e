"""Which models, and versions of models, are forgotten so that others have room.

It is looked at after so many records, so at the same record however the log is read. Something is forgotten only where
a table is more than half full, and as much at once as makes it worth while.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import I64
from detectors.series.table import SeriesTable
from streamer.detect.lives import Lives
from streamer.detect.settings import Limits
from streamer.detect.subjects import MODEL_MASK, Subjects
from streamer.events import EventBatch, Names, UntrackedEvents

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

RECORDS_MIN: Final = 4096  # between two looks, so that no chunk gets small for it ...
RECORDS_MAX: Final = 65_536
MODELS_PER_RECORD: Final = 4  # ... for which there is room, so that a table hardly fills between two looks
LOOKS: Final = 3  # of which the clock is the median
SHARE_MIN: Final = 16  # one in so many models, or versions, must have been idle for forgetting to be worth while


NOBODY: Final = UntrackedEvents(np.empty(0, np.uint64), np.empty(0, np.int64))


class Survivors(NamedTuple):
    """What is kept of a fold unit."""

    models: Mask  # by id
    subjects: Mask


class EvictionPolicy:
    """Of which models, and subjects, nothing has come for how long, and whether that matters."""

    def __init__(self, limits: Limits, timeout_s: float, names: Names, subjects: Subjects, table: SeriesTable) -> None:
        """`timeout_s`: predictions wait so long for their labels, and are not forgotten meanwhile."""
        self._after_ms = int(max(limits.forget_after_s, timeout_s) * 1000) if limits.forget_after_s else 0
        self._every = max(RECORDS_MIN, min(RECORDS_MAX, limits.models_max // MODELS_PER_RECORD))
        self._records = 0  # since the last look
        self._told = np.empty(0, np.int64)  # by the last looks, oldest first
        self._models, self._subjects = LastSeen(), LastSeen()
        self._strangers = NOBODY  # since the last look, each once, with its newest event time
        self._names, self._of, self._table = names, subjects, table

    @property
    def room(self) -> int:
        """How many records may be folded before the next look."""
        return max(1, self._every - self._records)

    def saw(self, batch: EventBatch, lives: Lives) -> None:
        """Events have come, in these lives."""
        self._models.saw(batch.model.astype(np.int64), batch.event_time_ms)
        for subjects in lives.subject.T:
            self._subjects.saw(subjects, batch.event_time_ms)

    def met(self, strangers: UntrackedEvents | None) -> None:
        """Events of models that have no room have come: where all that have room are gone, they alone tell the time."""
        if strangers is not None:
            keys, which = np.unique(np.concatenate([self._strangers.key, strangers.key]), return_inverse=True)
            newest = np.full(len(keys), NEVER, np.int64)
            np.maximum.at(newest, which, np.concatenate([self._strangers.event_time_ms, strangers.event_time_ms]))
            self._strangers = UntrackedEvents(keys, newest)

    def look(self, records: int) -> Survivors | None:
        """So many records were folded; what is kept after them, where something is forgotten."""
        self._records += records
        if self._records < self._every:
            return None
        self._records = 0
        models, subjects = len(self._names.models), len(self._of.ids)
        told_ms = self._models.told_ms(self._strangers.event_time_ms)
        self._strangers = NOBODY
        if told_ms == NEVER:
            return None
        self._told = np.append(self._told, told_ms)[-LOOKS:]
        now_ms = middle(self._told)
        self._models.settle(models, now_ms)
        self._subjects.settle(subjects, now_ms)
        return self._kept(models, subjects, now_ms - self._after_ms) if self._after_ms and self._is_crowded() else None

    def dump(self) -> dict[str, NDArray[Any]]:
        """The state, as arrays by model and by subject."""
        models, subjects = self._models.dump(len(self._names.models)), self._subjects.dump(len(self._of.ids))
        return {
            "models": models,
            "subjects": subjects,
            "told": self._told,
            "records": np.array([self._records]),
            "strangers": self._strangers.key,
            "strangers_ms": self._strangers.event_time_ms,
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._models.load(arrays["models"])
        self._subjects.load(arrays["subjects"])
        self._strangers = UntrackedEvents(arrays["strangers"].copy(), arrays["strangers_ms"].copy())
        self._told, self._records = arrays["told"].copy(), int(arrays["records"][0])

    def _is_crowded(self) -> bool:
        """Whether a table is more than half full."""
        pairs = [(len(table), table.limit) for table in (self._names.models, self._names.versions, self._table)]
        return any(2 * n > limit for n, limit in [*pairs, (len(self._of.ids), self._of.ids.limit)])

    def _kept(self, models: int, subjects: int, before_ms: int) -> Survivors | None:
        idle = self._models.since(models, before_ms)
        gone = self._subjects.since(subjects, before_ms) | idle[self._of.ids.keys >> 32 & MODEL_MASK]
        is_worth = SHARE_MIN * np.count_nonzero(idle) >= models or SHARE_MIN * np.count_nonzero(gone) >= subjects > 0
        if not is_worth:
            return None
        log.info("forgetting %d models of %d and %d of their versions", np.count_nonzero(idle), models, gone.sum())
        return Survivors(~idle, ~gone)


NEVER: Final = -1


class LastSeen:
    """Of indices that are given out one after the other, when they last came; 16 to 32 bytes each."""

    def __init__(self) -> None:
        self._said = np.full(64, NEVER, np.int64)  # newest event time since the last look, in ms since 1970
        self._came = np.full(64, NEVER, np.int64)  # what the clock showed at the last look after something had come

    def saw(self, index: I64, event_time_ms: I64) -> None:
        """Events of these indices have come; -1 is nobody's."""
        mine = index >= 0
        self._hold(int(index.max(initial=-1)) + 1)
        np.maximum.at(self._said, index[mine], event_time_ms[mine])

    def told_ms(self, others_ms: I64) -> int:
        """The median of what was told since the last look, by others too; `NEVER` where nothing came."""
        said = np.concatenate([self._said[self._said != NEVER], others_ms])
        return middle(said) if len(said) else NEVER

    def settle(self, n: int, now_ms: int) -> None:
        """The clock shows `now_ms` at this look, and there are `n`; those that nothing is known of have just come."""
        self._hold(n)
        here = (self._said != NEVER) | (self._came == NEVER)
        self._came[:n][here[:n]] = now_ms
        self._said[:] = NEVER

    def since(self, n: int, before_ms: int) -> Mask:
        """Which of the first `n` came last before this time."""
        idle: Mask = self._came[:n] < before_ms
        return idle

    def dump(self, n: int) -> I64:
        """The state [n, 2]."""
        self._hold(n)
        return np.column_stack([self._said[:n], self._came[:n]])

    def load(self, state: I64) -> None:
        """Become what was dumped."""
        self._hold(len(state))
        self._said[: len(state)], self._came[: len(state)] = state.T

    def _hold(self, n: int) -> None:
        self._said, self._came = ensure_length(self._said, n, NEVER), ensure_length(self._came, n, NEVER)


def middle(times: I64) -> int:
    """The median; of an even number, the earlier of the two."""
    return int(np.sort(times)[(len(times) - 1) // 2])
