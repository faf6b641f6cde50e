"""Evidence of drift: what the values before and after an alarm are, whatever detector raised it.

    alarm ─► measured from the ring of the latest values, since the onset ─► `firing`
      └────► a capture of all further values ─► measured again ───────────► `ready`

The values before are the training reference of the column, for a detector that takes it; else those of the history
from before the onset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from detectors.arrays.types import F64, I64
from detectors.base import NO_CATEGORY, UNSEEN_CATEGORY, Alarms
from detectors.recovery import measure
from detectors.recovery.recent_values import BEFORE_MAX, Captured, RecentValues, without
from detectors.series.table import ValueKind
from retrain.messages.alert import Alert
from retrain.messages.distribution import Distribution
from retrain.messages.summary import change_of_categories, change_of_numbers, shortened
from streamer.detect.alarm import UNSEEN, AlarmEvidence, Basis, Remeasured, Series, category_name
from streamer.detect.batch import KindValues
from streamer.detect.context import Context
from streamer.detect.monitors.detector_set import DetectorSet
from streamer.detect.remap import Array, Arrays, Remap
from streamer.events import LAG_COLUMN

BEFORE_MIN: Final = 16  # values that must be known from before a drift
BEFORE_WINDOW: Final = (
    1000.0  # how much likelier than any place in the window an onset before it is that a detector has
)
REFERENCE_MAX: Final = 4096  # values of a reference of categories
REST: Final = "(rest)"  # the last cell of a distribution of categories
NAMES_CHARS_MAX: Final = 300  # of the categories of a distribution together
_NONE: Final = np.empty(0, np.int64)
NO_VALUES: Final = KindValues(_NONE, _NONE, np.empty(0), _NONE, _NONE, _NONE, _NONE)


class ValuesBefore(NamedTuple):
    """The values before an alarm, as the recovery of its row has them."""

    before: Callable[[int], F64]  # those before so many values ago
    ago: int  # the onset, according to the detector; -1: unknown


class RowEvidence:
    """The evidence of one detector set. `begin_batch` and `end_batch` frame each batch."""

    def __init__(self, detectors: DetectorSet, context: Context) -> None:
        self._detectors = detectors
        self._context = context
        self._is_ordered = detectors.kind is ValueKind.NUMBER
        dtype = np.float32 if self._is_ordered else np.float64
        latest = RecentValues(dtype, 0).kept
        self._recent = RecentValues(dtype, context.settings.min_events_after_onset + latest)
        self._batch = NO_VALUES
        self._by_row: tuple[I64, I64] | None = None  # their indices by row, and the rows in that order

    def begin_batch(self, values: KindValues) -> None:
        """Take the values of a batch; they join the state at its end."""
        self._batch, self._by_row = values, None

    def end_batch(self) -> None:
        """Keep the values of the batch."""
        self._recent.add(self._batch.row, self._batch.value, self._batch.number, self._batch.sequence)
        self._batch, self._by_row = NO_VALUES, None

    def of_alarm(self, detector: str, alarms: Alarms, k: int, history: ValuesBefore) -> AlarmEvidence | None:
        """What is known at alarm `k` of a detector; None where too little is."""
        row, at = int(alarms.row[k]), int(alarms.at[k])
        window = self._window(row, at)
        sample = self._reference(row, detector)
        before = history.before(history.ago) if sample is None else sample
        if len(before) < BEFORE_MIN and sample is None:  # of a young regime, the ring holds more
            before = window[: max(len(window) - 1 - max(history.ago, 0), 0)]
        if len(before) < BEFORE_MIN or not len(window) or not _are_finite(before, window):
            return None
        ago = self._onset_ago(before, window, history.ago)
        if sample is None and ago > history.ago:  # the detector's onset let values of the new regime in
            before = history.before(ago)
            if len(before) < BEFORE_MIN:
                return None
        after = window[max(len(window) - 1 - ago, 0) :]
        category = float(alarms.category[k]) if alarms.category[k] != NO_CATEGORY else None
        found = self._facts(detector, before, after, category, self._column(row))
        if found is None:
            return None
        own = tuple(before[-BEFORE_MAX:].tolist()) if sample is None else ()
        number = self._number(row, at) - ago
        onset = self._sequence(row, ago, int(self._batch.sequence[at]), at)
        return AlarmEvidence(found.facts, found.change, onset, Basis(max(number, 0), own))

    def begin(self, series: Series, basis: Basis, event: int) -> None:
        """Capture the values of a series from its alarm, at this event of the batch, until `end`."""
        row, _ = series
        at = self._until(event)
        window, sequence = self._window(row, at), self._latest_sequence(row, at)
        captured = Captured(window, self._number(row, at), basis.value, sequence, np.array(basis.before))
        self._recent.begin(series, captured)

    def end(self, series: Series) -> None:
        """Capture the values of a series no longer."""
        self._recent.end(series)

    def measure(self, series: Series, alert: Alert, event: int, *, is_settled: bool) -> Remeasured | None:
        """Measure an alert again from all values up to an event of the batch; None if they were not captured.

        is_settled: the onset stays as it is.
        """
        row, detector = series
        captured = self._recent.captured(series)
        if captured is None:
            return None
        at = self._until(event)
        mine = self._batch_values(row, at)
        new = mine[max(captured.last + 1 - self._count(row), 0) :]
        window = np.concatenate([captured.values, self._stored(new)])
        last = captured.last + len(new)
        sequence = int(self._batch.sequence[new[-1]]) if len(new) else captured.sequence
        sample = self._reference(row, detector)
        before = captured.before if sample is None else sample
        if len(before) < BEFORE_MIN or not _are_finite(before, window):
            return None
        ago = last - captured.onset
        if not is_settled:
            ago = self._onset_ago(before, window, ago)
        after = window[max(len(window) - 1 - ago, 0) :]
        found = self._facts(detector, before, after, self._category_of(alert), alert.column)
        if found is None:
            return None
        onset = self._sequence(row, ago, sequence, at)
        facts = {**found.facts, "distribution": self._distribution(before, after)}
        return Remeasured(facts, found.change, onset, last - ago)

    def settle(self, series: Series, onset: int) -> None:
        """Take value `onset` of a series for its onset from now on."""
        self._recent.move_onset(series, onset)

    def dump(self) -> Arrays:
        """The state; it shows this object's own memory until the next batch."""
        return dict(self._recent.dump(self._detectors.rows))

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Restore what was dumped."""
        self._recent.load(arrays)

    @staticmethod
    def remap(arrays: Arrays, rows: Remap) -> Arrays:
        """What was dumped, without the evicted rows."""
        return without(arrays, rows.kept, rows.place)

    def _column(self, row: int) -> str:
        subject, column = self._context.series.subject_and_column(row, self._detectors.kind)
        return self._context.subjects.name_of(subject, column)[2]

    def _until(self, event: int) -> int:
        """The index, in the batch, of the last value up to an event; -1: none."""
        return int(np.searchsorted(self._batch.event, event, side="right")) - 1

    def _batch_values(self, row: int, until: int) -> I64:
        """The indices of a row's values in the batch, up to index `until`."""
        if self._by_row is None:
            order = np.argsort(self._batch.row, kind="stable")
            self._by_row = order, self._batch.row[order]
        order, rows = self._by_row
        mine = order[np.searchsorted(rows, row) : np.searchsorted(rows, row, side="right")]
        return mine[: np.searchsorted(mine, until, side="right")]

    def _stored(self, at: I64) -> F64:
        """Values of the batch to the precision in which they are kept."""
        return self._narrowed(self._batch.value[at])

    def _narrowed(self, values: F64) -> F64:
        """Values to the precision in which they are kept; those that it can't hold are infinite."""
        with np.errstate(over="ignore"):
            return values.astype(self._recent.dtype).astype(np.float64)

    def _count(self, row: int) -> int:
        """How many values a row had before the batch."""
        return self._context.series.count_of_row(row, self._detectors.kind) - self._in_batch(row)

    def _in_batch(self, row: int) -> int:
        """How many values of a row the batch has."""
        return len(self._batch_values(row, len(self._batch.row)))

    def _number(self, row: int, until: int) -> int:
        """The number, in its series, of the row's latest value up to index `until` of the batch."""
        return self._count(row) + len(self._batch_values(row, until)) - 1

    def _window(self, row: int, until: int) -> F64:
        """The latest values of a row up to index `until` of the batch, in order, as many as a ring holds."""
        mine = self._batch_values(row, until)
        return np.concatenate([self._recent.latest(row, self._count(row)), self._stored(mine)])[-self._recent.kept :]

    def _latest_sequence(self, row: int, until: int) -> int:
        """The number of the event of the row's latest value, which the batch holds; -1 if it does not."""
        mine = self._batch_values(row, until)
        return int(self._batch.sequence[mine[-1]]) if len(mine) else -1

    def _sequence(self, row: int, ago: int, sequence: int, until: int) -> int:
        """From so many values ago to a sequence number of the subject; `sequence` is that of the latest value."""
        later = self._in_batch(row) - len(self._batch_values(row, until))
        seen = self._context.series.count_of_row(row, self._detectors.kind) - later
        return self._detectors.onset(row, ago, sequence, max(seen, 1))

    def _onset_ago(self, before: F64, window: F64, ago: int) -> int:
        """How many values ago the new regime began.

        As the detector has it where that lies before the window, unless values of the window clearly contradict.
        """
        if ago < len(window):
            return len(window) - 1 - measure.onset_in(before, window, self._is_ordered)
        at = measure.onset_in(before, window, self._is_ordered, BEFORE_WINDOW)
        return len(window) - 1 - at if at else ago

    def _reference(self, row: int, detector: str) -> F64 | None:
        """The training reference as the values before, to the precision of values that are kept; None without one."""
        bank = self._detectors.banks.get(detector)
        if bank is None or not bank.takes_reference:
            return None
        references, kind = self._context.references, self._detectors.kind
        key = self._context.subjects.name_of(*self._context.series.subject_and_column(row, kind))
        reference = references.of(kind, key)
        if reference is None:
            return None
        return self._narrowed(references.values(reference, REFERENCE_MAX))

    def _facts(self, detector: str, before: F64, after: F64, category: float | None, column: str) -> _Found | None:
        """The fields of an alert that the values give, and the change in words."""
        bank = self._detectors.banks.get(detector)
        unit = bank.effect_unit if bank else ""
        if self._is_ordered:
            found = measure.numbers_measured(before, after, unit) if unit in ("ks_distance", "sd") else None
        else:
            found = measure.categories_measured(before, after, category) if unit == "tv_distance" else None
        if found is None:
            return None
        measured = {
            "before": found.before, "after": found.after, "effect": found.effect,
            "effect_se": found.effect_se, "shift_sd": found.shift_sd,
        }  # fmt: skip
        facts: dict[str, Any] = {name: None if one is None else _rounded(one) for name, one in measured.items()}
        facts |= {"n_reference": found.n_before, "n_current": found.n_after}
        if self._is_ordered:
            unit = "s" if column == LAG_COLUMN else ""
            return _Found(facts, partial(change_of_numbers, before, after, found.before, found.after, unit))
        name = self._name_of(category if category is not None else found.category)
        facts["category"], named = name, "" if name == UNSEEN else shortened(name)
        return _Found(facts, partial(change_of_categories, named, found.before, found.after))

    def _category_of(self, alert: Alert) -> float | None:
        """The id of an alert's category."""
        if not alert.category:
            return None
        return UNSEEN_CATEGORY if alert.category == UNSEEN else self._context.references.id_of(alert.category)

    def _name_of(self, category: float | None) -> str:
        if category is None or np.isnan(category):
            return ""
        return category_name(int(category), self._context.names.categories)

    def _distribution(self, before: F64, after: F64) -> Distribution:
        if self._is_ordered:
            found = measure.cells_of_numbers(before, after)
            return Distribution(*_shares_of(found), len(before), len(after), edges=tuple(found.cells.tolist()))
        found = measure.cells_of_categories(before, after)
        lengths = np.cumsum([len(self._name_of(one)) for one in found.cells.tolist()])
        if lengths[-1] > NAMES_CHARS_MAX:
            most = int(np.searchsorted(lengths, NAMES_CHARS_MAX, side="right"))
            found = measure.cells_of_categories(before, after, most)
        names = tuple(REST if np.isnan(one) else self._name_of(one) for one in found.cells.tolist())
        return Distribution(*_shares_of(found), len(before), len(after), categories=names)


def _are_finite(before: F64, window: F64) -> bool:
    """Whether single precision can hold all values."""
    return bool(np.isfinite(before).all() and np.isfinite(window).all())


class _Found(NamedTuple):
    facts: dict[str, Any]
    change: Callable[[], str]


def _shares_of(cells: measure.Cells) -> tuple[tuple[float, ...], tuple[float, ...]]:
    before, after = (tuple(np.round(one, 4).tolist()) for one in (cells.before, cells.after))
    return before, after


def _rounded(value: float) -> float:
    """To seven significant digits, which is what single precision holds."""
    return float(f"{value:.7g}")
