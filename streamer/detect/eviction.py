"""Eviction of models, and of versions of models, that sent nothing for long, so that others have room.

The policy checks after a fixed number of records, so at the same record however the log is read. It evicts only if a
table is more than half full, and only as much at once as is worth the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from detectors.arrays.growth import ensure_length
from detectors.arrays.types import I64
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.remap import Array, Arrays, Mask, Remaps, Survivors
from streamer.events import EventBatch, UntrackedEvents
from streamer.logs import log_of

log = log_of("detect")

RECORDS_MIN: Final = 4096  # between two checks, so that no chunk gets small because of them ...
RECORDS_MAX: Final = 65_536
MODELS_PER_RECORD: Final = 4  # ... of the limit, so that a table hardly fills between two checks
CHECKS: Final = 3  # the fleet clock is the median of their times
SHARE_MIN: Final = 16  # one in so many models, or versions, must be idle for an eviction to be worth the work


NOBODY: Final = UntrackedEvents(np.empty(0, np.uint64), np.empty(0, np.int64))


class EvictionPolicy:
    """When each model and subject was last seen, and which of them an eviction keeps."""

    def __init__(self, context: Context) -> None:
        """A subject stays at least for the time-out of labels, because its predictions wait that long."""
        limits, timeout_s = context.settings.limits, context.settings.labels.timeout_s
        self._after_ms = int(max(limits.forget_after_s, timeout_s) * 1000) if limits.forget_after_s else 0
        self._every = max(RECORDS_MIN, min(RECORDS_MAX, limits.models_max // MODELS_PER_RECORD))
        self._records = 0  # since the last check
        self._times = np.empty(0, np.int64)  # of the last checks, oldest first
        self._models, self._subjects = LastSeen(), LastSeen()
        self._untracked = NOBODY  # since the last check, each once, with its newest event time
        self._context = context

    @property
    def records_left(self) -> int:
        """How many records may be folded before the next check."""
        return max(1, self._every - self._records)

    def touch(self, batch: Batch) -> None:
        """Store when the models and subjects of a batch were seen."""
        time_ms = batch.events.event_time_ms
        self._models.touch(batch.events.model.astype(np.int64), time_ms)
        for subjects in batch.subject.T:
            self._subjects.touch(subjects, time_ms)

    def touch_untracked(self, batches: Sequence[EventBatch]) -> None:
        """Store when models beyond the limit were seen: if all tracked models are gone, only those give the time."""
        for strangers in (batch.strangers for batch in batches if batch.strangers is not None):
            keys, which = np.unique(np.concatenate([self._untracked.key, strangers.key]), return_inverse=True)
            newest = np.full(len(keys), NEVER, np.int64)
            np.maximum.at(newest, which, np.concatenate([self._untracked.event_time_ms, strangers.event_time_ms]))
            self._untracked = UntrackedEvents(keys, newest)

    def check(self, records: int) -> Survivors | None:
        """Count records that were folded; returns what an eviction after them keeps, None without one."""
        self._records += records
        if self._records < self._every:
            return None
        self._records = 0
        models, subjects = self._sizes()
        time_ms = self._models.median_time(self._untracked.event_time_ms)
        self._untracked = NOBODY
        if time_ms == NEVER:
            return None
        self._times = np.append(self._times, time_ms)[-CHECKS:]
        now_ms = middle(self._times)
        self._models.advance(models, now_ms)
        self._subjects.advance(subjects, now_ms)
        return self._survivors(now_ms - self._after_ms) if self._after_ms and self._is_crowded() else None

    def dump(self) -> Arrays:
        """The state, as arrays by model and by subject."""
        models, subjects = self._sizes()
        return {
            "models": self._models.dump(models),
            "subjects": self._subjects.dump(subjects),
            "told": self._times,
            "records": np.array([self._records]),
            "strangers": self._untracked.key,
            "strangers_ms": self._untracked.event_time_ms,
        }

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Restore what was dumped."""
        self._models.load(arrays["models"])
        self._subjects.load(arrays["subjects"])
        self._untracked = UntrackedEvents(arrays["strangers"].copy(), arrays["strangers_ms"].copy())
        self._times, self._records = arrays["told"].copy(), int(arrays["records"][0])

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        """What was dumped, without the evicted models and subjects."""
        models, subjects = arrays["models"][remaps.models.kept], arrays["subjects"][remaps.subjects.kept]
        return arrays | {"models": models, "subjects": subjects}

    def _sizes(self) -> tuple[int, int]:
        """How many models and how many subjects there are."""
        return len(self._context.names.models), len(self._context.subjects.ids)

    def _is_crowded(self) -> bool:
        """Whether a table is more than half full."""
        names, ids = self._context.names, self._context.subjects.ids
        pairs = [(len(table), table.limit) for table in (names.models, names.versions, self._context.series)]
        return any(2 * n > limit for n, limit in [*pairs, (len(ids), ids.limit)])

    def _survivors(self, before_ms: int) -> Survivors | None:
        models, subjects = self._sizes()
        idle = self._models.since(models, before_ms)
        gone = self._subjects.since(subjects, before_ms) | idle[self._context.model_of_subjects()]
        is_worth = SHARE_MIN * np.count_nonzero(idle) >= models or SHARE_MIN * np.count_nonzero(gone) >= subjects > 0
        if not is_worth:
            return None
        log.info("forgetting %d models of %d and %d of their versions", np.count_nonzero(idle), models, gone.sum())
        return Survivors(~idle, ~gone)


NEVER: Final = -1


class LastSeen:
    """When each id of a table was last seen; 16 to 32 bytes an id.

    An id seen since the last check is stamped with the fleet clock, not with its own event time.
    """

    def __init__(self) -> None:
        self._newest = np.full(64, NEVER, np.int64)  # newest event time since the last check, in ms since 1970
        self._seen = np.full(64, NEVER, np.int64)  # fleet clock of the last check before which the id was seen

    def touch(self, ids: I64, event_time_ms: I64) -> None:
        """Store the event times of these ids; -1 is none."""
        mine = ids >= 0
        self._hold(int(ids.max(initial=-1)) + 1)
        np.maximum.at(self._newest, ids[mine], event_time_ms[mine])

    def median_time(self, others_ms: I64) -> int:
        """The median of the event times since the last check, with those of others; `NEVER` without any."""
        times = np.concatenate([self._newest[self._newest != NEVER], others_ms])
        return middle(times) if len(times) else NEVER

    def advance(self, n: int, now_ms: int) -> None:
        """Stamp those of `n` ids that were seen since the last check, and new ones, with the fleet clock."""
        self._hold(n)
        here = (self._newest != NEVER) | (self._seen == NEVER)
        self._seen[:n][here[:n]] = now_ms
        self._newest[:] = NEVER

    def since(self, n: int, before_ms: int) -> Mask:
        """Which of the first `n` ids were last seen before this time."""
        idle: Mask = self._seen[:n] < before_ms
        return idle

    def dump(self, n: int) -> I64:
        """The state [n, 2]."""
        self._hold(n)
        return np.column_stack([self._newest[:n], self._seen[:n]])

    def load(self, state: I64) -> None:
        """Restore what was dumped."""
        self._hold(len(state))
        self._newest[: len(state)], self._seen[: len(state)] = state.T

    def _hold(self, n: int) -> None:
        self._newest, self._seen = ensure_length(self._newest, n, NEVER), ensure_length(self._seen, n, NEVER)


def middle(times: I64) -> int:
    """The median; of an even number, the earlier of the two."""
    return int(np.sort(times)[(len(times) - 1) // 2])
