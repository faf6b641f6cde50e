"""The checks that every bank must pass. Authors of detectors can run them on their own.

    from detectors.checks import CHECKS

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_bank(check):
        check(lambda rows: MyBank(MySettings(), rows))

A check takes a function that makes a fresh bank of so many rows. It raises `CheckError` with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.arrays.types import F64, I64
from detectors.base import Alarms, Bank
from detectors.registry import bank, settings_of

MakeBank = Callable[[int], Bank]
Check = Callable[[MakeBank], None]

# The streams of the checks: values of several rows in irregular turns, over two months.
ROWS = 5
VALUES = 2500  # a row: enough to fill the default windows and to detect the change in the middle
APART_MS = 7 * 60_000  # of the values of all rows together; those of a row are half an hour apart, over two months
MONDAY_MS = 1_767_571_200_000


class CheckError(AssertionError):
    """A bank broke a promise, which the sentence names."""


def yield_checks(name: str, **options: Any) -> Iterator[Callable[[], None]]:
    """The checks of the named detector, with its default settings except for the options, ready to be called."""
    settings = settings_of(name, **options)
    for check in CHECKS:
        yield partial(check, lambda rows: bank(name, settings, rows))


def check_alarms(make: MakeBank) -> None:
    """A large shift raises an alarm, and the fields of alarms are in range and of one length."""
    rows, values = streams()
    alarms = feed(make(ROWS), rows, values)
    _require(len(alarms) > 0, "a shift by 3 standard deviations in a row of 2,500 values raised no alarm")
    for field in fields(Alarms):
        column = getattr(alarms, field.name)
        _require(column.shape == (len(alarms.at),), f"alarms.{field.name} does not have one entry an alarm")
        _require(bool(np.isfinite(column).all()), f"alarms.{field.name} is not finite")
    _require(bool((np.diff(alarms.at) >= 0).all()), "alarms are not in order")
    _require(bool((rows[alarms.at] == alarms.row).all()), "an alarm names another row than that of its value")
    _require(bool((alarms.statistic >= alarms.threshold).all()), "a statistic lies below its threshold")
    _require(bool((alarms.effect >= 0).all()), "an effect is negative")
    seen = np.array([np.count_nonzero(rows[: at + 1] == row) for at, row in zip(alarms.at, alarms.row, strict=True)])
    _require(bool((alarms.onset_ago >= -1).all()), "onset_ago is neither -1 nor a number of events")
    _require(bool((alarms.onset_ago < seen).all()), "a change began before its series did")


def check_split(make: MakeBank) -> None:
    """Cutting a stretch anywhere changes neither alarms nor state, bit for bit."""
    rows, values = streams()
    whole = make(ROWS)
    expected = feed(whole, rows, values)
    random = np.random.default_rng(2)
    for pieces in (2, 7, 400):
        edges = [0, *np.sort(random.integers(0, len(rows), pieces - 1)).tolist(), len(rows)]
        cut = make(ROWS)
        found = _in_pieces(cut, rows, values, edges)
        _same_alarms(found, expected, f"{pieces} pieces")
        _same_state(cut.dump(slice(0, ROWS)), whole.dump(slice(0, ROWS)), f"{pieces} pieces")


def check_snapshot(make: MakeBank) -> None:
    """A bank that loads a dump continues as if there had been no stop, also when rows are dumped in slices."""
    rows, values = streams()
    expected = feed(make(ROWS), rows, values)
    for stop in (1, 777, len(rows) // 2 + 13):
        first = make(ROWS)
        begun = feed(first, rows[:stop], values[:stop])
        second = make(0)
        second.grow(ROWS)
        for part in (slice(0, 2), slice(2, ROWS)):
            second.load(part, first.dump(part))
        _same_state(second.dump(slice(0, ROWS)), first.dump(slice(0, ROWS)), "a dump that was loaded")
        rest = feed(second, rows[stop:], values[stop:], stop)
        found = _joined([begun, replace(rest, at=rest.at + stop)])
        _same_alarms(found, expected, f"a stop after {stop} values")


def check_dump(make: MakeBank) -> None:
    """A dump is a copy: numeric arrays with one entry a row, which later values do not change."""
    rows, values = streams()
    bank = make(ROWS)
    feed(bank, rows[:3000], values[:3000])
    dump = bank.dump(slice(1, 4))
    kept = {name: array.copy() for name, array in dump.items()}
    for name, array in dump.items():
        _require(array.shape[:1] == (3,), f"the dump of 3 rows holds {array.shape} as {name}")
        _require(array.dtype.kind in "iufb", f"the dump holds {name} as {array.dtype}, which is not a number")
    feed(bank, rows[3000:], values[3000:], 3000)
    _same_state(dump, kept, "values that came after it")


def check_rows(make: MakeBank) -> None:
    """One row never influences another: each row alone gives the same alarms and state."""
    rows, values = streams()
    together = make(ROWS)
    alarms = feed(together, rows, values)
    for row in range(ROWS):
        mine = np.flatnonzero(rows == row)
        alone = make(1)
        found = feed(alone, np.zeros(len(mine), np.int64), values[mine], mine)
        found = replace(found, at=mine[found.at], row=np.full(len(found), row))
        _same_alarms(found, _of_row(alarms, row), f"the company of row {row}")
        _same_state(alone.dump(slice(0, 1)), together.dump(slice(row, row + 1)), f"the company of row {row}")


def check_growth(make: MakeBank) -> None:
    """Rows that are added later are fresh, and do not change those already there."""
    rows, values = streams()
    begins = np.arange(ROWS) * (VALUES // 3)
    turn = np.empty(len(rows), np.int64)
    for row in range(ROWS):
        turn[rows == row] = begins[row] + np.arange(VALUES)
    order = np.argsort(turn, kind="stable")
    rows, values = rows[order], values[order]
    whole = make(ROWS)
    expected = feed(whole, rows, values)
    known = np.maximum.accumulate(rows)
    edges = [0, *(np.flatnonzero(np.diff(known)) + 1).tolist(), len(rows)]
    growing = make(0)
    parts = []
    for begin, end in pairwise(edges):
        growing.grow(int(known[begin]) + 1)
        part = feed(growing, rows[begin:end], values[begin:end], begin)
        parts.append(replace(part, at=part.at + begin))
    _require(growing.rows == ROWS, f"a bank grown to {ROWS} rows says it holds {growing.rows}")
    growing.grow(1)
    _require(growing.rows == ROWS, "growing a bank to fewer rows removed some")
    _same_alarms(_joined(parts), expected, "growth")
    _same_state(growing.dump(slice(0, ROWS)), whole.dump(slice(0, ROWS)), "growth")


def check_reset(make: MakeBank) -> None:
    """A row that was reset equals one of a new bank; the others stay as they are."""
    rows, values = streams()
    bank = make(ROWS)
    feed(bank, rows, values)
    before = bank.dump(slice(0, ROWS))
    bank.reset(np.array([1, 3]))
    fresh = make(ROWS).dump(slice(0, ROWS))
    after = bank.dump(slice(0, ROWS))
    for name, array in after.items():
        _require(bool((array[[1, 3]] == fresh[name][[1, 3]]).all()), f"a row that was reset still has its {name}")
        _require(bool((array[[0, 2, 4]] == before[name][[0, 2, 4]]).all()), f"reset touched {name} of other rows")


def check_constant(make: MakeBank) -> None:
    """A constant series never alarms, whatever its value, also 0.1, which has no exact binary form."""
    for value in (0.0, -0.0, 1.0, 0.1, -7e9, 1e300, 1e-300):
        found = feed(make(1), np.zeros(VALUES, np.int64), np.full(VALUES, value))
        _require(len(found) == 0, f"a constant series of {value} raised {len(found)} alarms")


def check_ties(make: MakeBank) -> None:
    """Coin flips raise no alarm until their probability changes."""
    random = np.random.default_rng(4)
    fair = (random.random(VALUES) < 0.5).astype(np.float64)
    loaded = (random.random(VALUES) < 0.95).astype(np.float64)
    rows = np.zeros(VALUES, np.int64)
    bank = make(1)
    _require(len(feed(bank, rows, fair)) == 0, "fair coin flips raised an alarm")
    _require(len(feed(bank, rows, loaded)) > 0, "coin flips that went from 50 % to 95 % raised no alarm")


def check_magnitudes(make: MakeBank) -> None:
    """The largest and the smallest numbers neither crash a bank nor make a field of an alarm infinite."""
    random = np.random.default_rng(5)
    rows = np.zeros(VALUES, np.int64)
    for scale in (1e300, 1e150, 1e-150, 1e-300, 5e-324):
        with np.errstate(all="raise", under="ignore"):
            values = random.normal(size=VALUES) + np.where(np.arange(VALUES) < 1500, 0.0, 5.0)
            values = values * scale
        alarms = feed(make(1), rows, values)
        for name in ("statistic", "threshold", "effect", "before", "after"):
            finite = bool(np.isfinite(getattr(alarms, name)).all())
            _require(finite, f"at scale {scale}, alarms.{name} is not finite")


def check_determinism(make: MakeBank) -> None:
    """The same values give the same alarms and state, also in a bank that was reset after other values."""
    rows, values = streams()
    one, other = make(ROWS), make(ROWS)
    feed(other, rows[:4000], -values[:4000])
    other.reset(np.arange(ROWS))
    _same_alarms(feed(other, rows, values), feed(one, rows, values), "what was there before a reset")
    _same_state(other.dump(slice(0, ROWS)), one.dump(slice(0, ROWS)), "what was there before a reset")


def check_reference(make: MakeBank) -> None:
    """A row with a reference is compared with it, not with its own first values; other rows do not change."""
    if not make(0).takes_reference:
        return
    random = np.random.default_rng(6)
    for size in (37, 1000, 100_000):
        bank = make(2)
        bank.set_reference(0, as_taken(bank, random.normal(size=size)))
        rows = np.tile([0, 1], VALUES)
        values = np.repeat(random.normal(3.0, 1.0, VALUES), 2)
        half = VALUES // 4
        begun = feed(bank, rows[:half], values[:half])
        resumed = make(2)
        resumed.load(slice(0, 2), bank.dump(slice(0, 2)))
        rest = feed(bank, rows[half:], values[half:], half)
        _require(0 in begun.row or 0 in rest.row, f"values far off a reference of {size} raised no alarm")
        _require(1 not in begun.row and 1 not in rest.row, "the reference of one row was used for another")
        _same_alarms(feed(resumed, rows[half:], values[half:], half), rest, f"a stop with a reference of {size}")


CHECKS: tuple[Check, ...] = (
    check_alarms,
    check_split,
    check_snapshot,
    check_dump,
    check_rows,
    check_growth,
    check_reset,
    check_constant,
    check_ties,
    check_magnitudes,
    check_determinism,
    check_reference,
)


def _in_pieces(bank: Bank, rows: I64, values: F64, edges: list[int]) -> Alarms:
    parts = []
    for begin, end in pairwise(edges):
        part = feed(bank, rows[begin:end], values[begin:end], begin)
        parts.append(replace(part, at=part.at + begin))
    return _joined(parts)


def _joined(parts: list[Alarms]) -> Alarms:
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Alarms)
    }
    return Alarms(**columns)


def _of_row(alarms: Alarms, row: int) -> Alarms:
    columns: dict[str, Any] = {field.name: getattr(alarms, field.name)[alarms.row == row] for field in fields(Alarms)}
    return Alarms(**columns)


def _same_alarms(found: Alarms, expected: Alarms, why: str) -> None:
    for field in fields(Alarms):
        same = _same_bits(getattr(found, field.name), getattr(expected, field.name))
        _require(same, f"{why} changed alarms.{field.name}")


def _same_state(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]], why: str) -> None:
    _require(found.keys() == expected.keys(), f"{why} changed what a dump holds")
    for name in found:
        _require(_same_bits(found[name], expected[name]), f"{why} changed the state, in {name}")


def _same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise CheckError(sentence)


def streams() -> tuple[I64, F64]:
    """Rows [n] and values [n] in irregular turns: two rows shift, one widens, one is stable, and one of small whole
    numbers shifts.
    """
    random = np.random.default_rng(1)
    later = np.arange(VALUES) >= VALUES // 2
    series = random.normal(size=(ROWS, VALUES))
    series[0, later] += 3.0
    series[1, later] -= 3.0
    series[2, later] *= 4.0
    series[4] = np.round(series[4] + 3.0 * later)
    rows = random.permutation(np.repeat(np.arange(ROWS), VALUES))
    values = np.empty(len(rows))
    for row in range(ROWS):
        values[rows == row] = series[row]
    return rows, values


def feed(bank: Bank, rows: I64, values: F64, at: int | I64 = 0) -> Alarms:
    """The alarms of these values of the stream; `at` is the index of the first there, or the index of each."""
    place = np.arange(len(rows)) + at if isinstance(at, int) else at
    return bank.update(rows, as_taken(bank, values, place), MONDAY_MS + APART_MS * place)


def as_taken(bank: Bank, values: F64, place: I64 | None = None) -> F64:
    """The values in the form that the bank takes.

    Numbers stay; categories are 17 classes of them; marks are 1 above one half. A row of columns holds three: noise
    that depends on the value's place, the same noise with its sign changed where the value is at most one half, and the
    value. All other columns are missing.
    """
    if bank.takes == "rows":
        noise = np.random.default_rng(7).normal(size=ROWS * VALUES)[place]
        some = [noise, np.where(values > 0.5, noise, -noise), values]
        taken = np.full((len(values), bank.columns), np.nan)  # type: ignore[attr-defined]
        taken[:, : len(some)] = np.stack(some, axis=1)[:, : taken.shape[1]]
        return taken
    if bank.takes == "marks":
        return (values > 0.5).astype(np.float64)
    classes = np.clip(np.round(2.0 * np.clip(values, -9.0, 9.0)), -8.0, 8.0) + 8.0
    return classes if bank.takes == "categories" else values
