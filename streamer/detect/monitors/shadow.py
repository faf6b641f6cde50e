"""Versions of a model that predict the same events: which of them has the smaller errors.

A challenger in shadow sends predictions of its own under the ids of the champion's. One label gives both their error,
and each such pair of errors is a step of a sequential test (`retrain.policy.paired`). It decides once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np

from detectors.arrays.jit import kernel
from detectors.arrays.types import I64
from detectors.series.id_table import UNSEEN, IdTable
from retrain.messages.alert import AlertKind
from retrain.policy.paired import COLUMNS, DECIDED, HIGHEST, OPEN, OVER, PAIRS, SUM, bet, fresh_tests
from streamer.detect.alarm import Alarm
from streamer.detect.batch import Batch
from streamer.detect.context import Context
from streamer.detect.label_matches import LabelMatches
from streamer.detect.monitor import ColumnStatus, Monitor, MonitorFindings
from streamer.detect.remap import Array, Arrays, Remap, Remaps
from streamer.detect.settings import Corrections, DetectSettings
from streamer.detect.subjects import SUBJECTS_WITHOUT_SEGMENTS, model_ids, version_ids
from streamer.events import ERROR_COLUMN
from streamer.runtime.snapshot import nested, unnested

SHADOW: Final = "shadow"  # the detector, and the key of the state
EFFECT_UNIT: Final = "share"
FIRST: Final = COLUMNS  # behind the columns of a test: number, in its subject, of the later version's first pair
_LOW: Final = 0xFFFFFFFF
_bet = kernel(bet)


@dataclass(frozen=True, slots=True)
class ShadowSettings:
    """Comparison of versions of a model that predict the same events, such as a champion and a challenger in shadow.

    error_rate: chance that the wrong version of two counts as the better one; above 0 and below 1; null: no comparison
    """

    error_rate: float | None = 0.05

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if self.error_rate is not None and not 0 < self.error_rate < 1:
            raise ValueError(f"error_rate must be above 0 and below 1, not {self.error_rate}")


class ShadowMonitor(Monitor):
    """Compares the errors of two versions of a model, each pair of versions once. Memory: 112 bytes a pair.

    A pair is a label that finds predictions of both. The version that came first counts as the champion.
    """

    name: ClassVar = SHADOW
    keys: ClassVar = (SHADOW,)

    def __init__(self, context: Context, error_rate: float) -> None:
        self._subjects = context.subjects
        self._needed = math.log(2 / error_rate)
        self._pairs = IdTable(context.settings.limits.models_max * SUBJECTS_WITHOUT_SEGMENTS)  # of two subjects
        self._tests = np.zeros((0, COLUMNS + 1))

    @classmethod
    def create(cls, context: Context) -> Self | None:
        rate = context.settings.shadow_error_rate
        return cls(context, rate) if rate is not None and cls.detectors(context.settings) else None

    @classmethod
    def detectors(cls, settings: DetectSettings) -> Sequence[str]:
        """None with `corrections: last`, where the errors of one label come one by one, without their id."""
        is_on = settings.shadow_error_rate is not None and settings.labels.corrections is Corrections.FIRST
        return (SHADOW,) if is_on else ()

    def observe(self, batch: Batch) -> MonitorFindings:
        labels = batch.labels
        first, second = _same_label(labels)
        if not len(first):
            return MonitorFindings()
        subjects = np.column_stack([labels.subject[first], labels.subject[second]])
        is_swapped = subjects[:, 0] > subjects[:, 1]
        first, second = np.where(is_swapped, second, first), np.where(is_swapped, first, second)
        subjects.sort(axis=1)
        rows = self._rows_of(subjects)
        first, second, rows = first[rows != UNSEEN], second[rows != UNSEEN], rows[rows != UNSEEN]
        self._grow(rows, labels.sequence[second])
        _bet(self._tests, rows, labels.error[first], labels.error[second], self._needed)
        return MonitorFindings(list(self._alarms(labels, rows, second)))

    def describe(self, subjects: Sequence[int]) -> Iterator[ColumnStatus]:
        for key, test in zip(self._pairs.keys.tolist(), self._tests, strict=True):
            if key & _LOW in subjects:
                of = f"error against version {self._subjects.version_of(key >> 32)}"
                yield ColumnStatus(key & _LOW, of, (SHADOW,), kind=SHADOW, values=int(test[PAIRS]))

    def dump(self) -> Arrays:
        return nested(SHADOW, {"pairs": self._pairs.keys, "tests": self._tests})

    def load(self, arrays: Mapping[str, Array], *, reset: Collection[str], owned: bool) -> None:  # noqa: ARG002
        mine = unnested(SHADOW, arrays)
        self._pairs.load(mine["pairs"])
        self._tests = mine["tests"] if owned else mine["tests"].copy()

    @staticmethod
    def remap(arrays: Arrays, remaps: Remaps) -> Arrays:
        mine, subjects = unnested(SHADOW, arrays), remaps.subjects
        pairs = mine["pairs"]
        kept = Remap.of(subjects.kept[pairs >> 32] & subjects.kept[pairs & _LOW]).kept
        pairs = pairs[kept]
        new = subjects.new(pairs >> 32) << 32 | subjects.new(pairs & _LOW)
        return nested(SHADOW, {"pairs": new, "tests": mine["tests"][kept]})

    def _rows_of(self, subjects: I64) -> I64:
        """The test [n] of each two subjects [n, 2]; `UNSEEN` where they are no two versions of one model."""
        keys = self._subjects.ids.keys_of(subjects.ravel()).reshape(-1, 2)
        models, versions = model_ids(keys), version_ids(keys)
        are_two = (subjects[:, 0] >= 0) & (models[:, 0] == models[:, 1]) & (versions[:, 0] != versions[:, 1])
        rows = np.full(len(subjects), UNSEEN, np.int64)
        rows[are_two] = self._pairs.add(subjects[are_two, 0] << 32 | subjects[are_two, 1])
        return rows

    def _grow(self, rows: I64, sequence: I64) -> None:
        """Let each new pair of versions have a test, which begins at the first of its predictions."""
        known, n = len(self._tests), len(self._pairs)
        if n > known:
            new, at = np.unique(rows[rows >= known], return_index=True)
            begun = np.column_stack([fresh_tests(n - known), np.zeros(n - known)])
            begun[new - known, FIRST] = sequence[rows >= known][at]
            self._tests = np.concatenate([self._tests, begun])

    def _alarms(self, labels: LabelMatches, rows: I64, second: I64) -> Iterator[Alarm]:
        decided = np.unique(rows)
        decided = decided[self._tests[decided, DECIDED] > OPEN]
        for row in decided[np.argsort(self._tests[decided, DECIDED])].tolist():
            test = self._tests[row]
            k = int(test[DECIDED]) - 1
            test[DECIDED] = OVER
            subjects = self._pairs.key_of(row) >> 32, self._pairs.key_of(row) & _LOW
            event, onset = int(labels.event[second[k]]), int(test[FIRST])
            yield Alarm(
                event, (row, SHADOW), subjects[1], self._subjects.topic_of(subjects[1]), onset,
                self._facts(subjects, test), becomes_ready=False,
            )  # fmt: skip

    def _facts(self, subjects: tuple[int, int], test: Array) -> dict[str, Any]:
        better = int(test[SUM + 1] < test[SUM])
        pairs = int(test[PAIRS])
        before, after = float(test[SUM + 1 - better]) / pairs, float(test[SUM + better]) / pairs
        model, version, column = self._subjects.name_of(subjects[better], ERROR_COLUMN)
        return {
            "model_id": model,
            "model_version": version,
            "column": column,
            "detector": SHADOW,
            "statistic": math.exp(test[HIGHEST + 1 - better]),
            "threshold": math.exp(self._needed),
            "effect": 1 - after / before,
            "effect_unit": EFFECT_UNIT,
            "before": before,
            "after": after,
            "n_reference": pairs,
            "n_current": pairs,
            "kind": AlertKind.BETTER_VERSION,
            "category": self._subjects.version_of(subjects[1 - better]),
        }


def _same_label(labels: LabelMatches) -> tuple[I64, I64]:
    """Each two predictions that one label has matched: their indices, in order of labels. Mostly there are none."""
    found, steps, n = list[tuple[I64, I64]](), 1, len(labels.event)
    while steps < n:
        first = np.flatnonzero(labels.event[steps:] == labels.event[:-steps])
        if not len(first):
            break
        found.append((first, first + steps))
        steps += 1
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first, second = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(first, kind="stable")
    return first[order], second[order]
