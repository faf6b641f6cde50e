"""Evidence is the Shiryaev-Roberts sum over averaged likelihood ratios, as the formula has it."""

import numpy as np
import pytest

from detectors.shiryaev_roberts.alternatives import STEPS, tables
from detectors.shiryaev_roberts.cells import COUNTED_MAX, settle
from detectors.shiryaev_roberts.evidence import advance
from detectors.shiryaev_roberts.kernel_types import ALARM, CELLS_DUE, NOTHING, EvidenceRules, Fed, work_space
from detectors.shiryaev_roberts.phases import temper
from detectors.shiryaev_roberts.state import WORDS, records_of

ROW = np.array([0])


def settled(sample, arl0=1e9):
    series = records_of(np.zeros((1, WORDS), np.int64))
    settle(series, ROW, np.sort(sample)[np.newaxis])
    return series, EvidenceRules(arl0, COUNTED_MAX)


def feed(series, rules, values, tolerance=0.0):
    """How many values were fed without anything coming due."""
    rows, stopped = np.zeros(len(values), np.int64), np.empty(len(values), np.int64)
    values, turn = np.array(values, np.float64), np.arange(len(values))
    fed = Fed(rows, values, np.zeros_like(rows), np.ones_like(rows))
    _, stops = advance(series, tables(tolerance), rules, fed, turn, stopped, work_space())
    return int(stopped[0]) if stops else len(values)


def slow_sums(sample, values, start, tolerance=0.0):
    """The sums over all onsets, one onset at a time, and the same times the age of the onset, against "within the
    tolerance".
    """
    distribution = tables(tolerance).distribution.astype(np.float64)
    at = np.linspace(0.0, 1.0, STEPS + 1)
    fine = np.minimum(tolerance / np.abs(distribution - at[:, np.newaxis]).max(axis=0), 1.0)
    past = list(sample)
    runs = []
    for value in values:
        past.append(value)
        below, here = sum(v < value for v in past) / len(past), sum(v == value for v in past) / len(past)
        ends = [np.array([np.interp(u, at, column) for column in distribution.T]) for u in (below, below + here)]
        ratio = (ends[1] - ends[0]) / here
        ratio /= 1.0 + fine * (ratio - 1.0)
        runs = [run * ratio for run in [*runs, np.full(len(ratio), start)]]
    ages = range(len(runs) - 1, -1, -1)
    return sum(runs), sum(age * run for age, run in zip(ages, runs, strict=True))


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_the_sums_are_those_of_the_definition(tolerance):
    """Of whole numbers, each of which has a cell: a value's ranks are those of its equals. Against "as before", and
    where there is a tolerance against "within" it too.
    """
    random = np.random.default_rng(3)
    sample, values = random.integers(0, 6, 200), random.integers(0, 6, 60)
    series, rules = settled(sample.astype(np.float64))
    assert feed(series, rules, values, tolerance) == len(values)
    sums, aged = slow_sums(sample, values, 1.0)
    np.testing.assert_allclose(series[0]["sums"], sums, rtol=2e-3)
    np.testing.assert_allclose(series[0]["aged"], aged, rtol=2e-3)
    beyond = slow_sums(sample, values, 1.0, tolerance)[0] if tolerance else np.zeros(len(sums))
    np.testing.assert_allclose(series[0]["beyond"], beyond, rtol=2e-3)
    assert series[0]["evidence"] == pytest.approx(float(tables(tolerance).weight @ series[0]["sums"]), rel=1e-5)


def test_the_sums_average_to_the_number_of_values():
    """Of each alternative, over many series that don't drift, ties or not.

    Those of clear drifts are seldom large, and then very: of them a sample shows only that they are not too large.
    """
    clear = tables().weight < np.median(tables().weight)
    random = np.random.default_rng(4)
    for law in (lambda n: random.normal(size=n), lambda n: random.integers(0, 4, n).astype(np.float64)):
        found = []
        for _ in range(3000):
            series, rules = settled(law(400))
            feed(series, rules, law(4))
            found.append(series[0]["sums"].copy())
        error = np.std(found, axis=0) / np.sqrt(len(found))
        apart = np.mean(found, axis=0) - 4.0
        assert (apart < 4.5 * error).all()
        assert (apart > -4.5 * error)[~clear].all()


def test_an_alarm_comes_when_the_evidence_reaches_what_was_asked():
    """And not a value sooner; the value that brings it is the one where the kernel stops."""
    series, rules = settled(np.random.default_rng(5).normal(size=500), arl0=1e4)
    at = feed(series, rules, np.full(50, 2.5))
    assert series[0]["due"] == ALARM
    assert series[0]["evidence"] >= 1e4
    again, _ = settled(np.random.default_rng(5).normal(size=500))
    assert feed(again, rules, np.full(at, 2.5)) == at
    assert again[0]["due"] == NOTHING
    assert again[0]["evidence"] < 1e4


@pytest.mark.parametrize(("arl0", "second"), [(1e6, 1e4), (1e4, 1e3)])
def test_a_tolerated_change_needs_evidence_twice(arl0, second):
    """That there is a change, as much as asked, and that it is beyond the tolerance, 10,000 or a tenth of the asked."""
    for beyond, is_alarm in ((0.5 * second, False), (2.0 * second, True)):
        series, rules = settled(np.random.default_rng(5).normal(size=500), arl0)
        series[0]["sums"], series[0]["beyond"] = 2.0 * arl0, beyond
        feed(series, rules, [0.0], tolerance=0.01)
        assert (series[0]["due"] == ALARM) == is_alarm


def test_a_constant_is_no_evidence():
    """However often it comes."""
    series, rules = settled(np.full(300, 0.1), arl0=1e3)
    assert feed(series, rules, np.full(200, 0.1)) == 200
    assert series[0]["evidence"] == 0.0


def test_the_power_falls_with_dependence_that_is_proven():
    """A plain series pays nothing for a correlation that may be chance."""
    series, _ = settled(np.random.default_rng(6).normal(size=128))
    one = series[0]
    one["pairs"], one["qq"], one["pp"] = 512, 170.0, 100.0
    one["qq_slow"] = 170.0 * 0.02
    temper(series, ROW)
    assert one["power"] == 1.0
    one["qq_slow"] = 170.0 * 0.5
    temper(series, ROW)
    assert 0.05 < one["power"] < 0.1


def test_a_series_that_stops_leaves_its_later_values_for_later():
    """The others go on; the values put off keep their order."""
    series = records_of(np.zeros((2, WORDS), np.int64))
    rows = np.array([0, 1] * 127 + [1, 0, 1, 0, 0, 1])
    turn, stopped = np.arange(len(rows)), np.empty(len(rows), np.int64)
    fed = Fed(rows, np.arange(260.0), np.zeros_like(rows), np.ones_like(rows))
    put_off, stops = advance(series, tables(), EvidenceRules(1e5, COUNTED_MAX), fed, turn, stopped, work_space())
    assert series["due"].tolist() == [CELLS_DUE, CELLS_DUE]
    assert stopped[:stops].tolist() == [254, 255]
    assert turn[:put_off].tolist() == [256, 257, 258, 259]
    assert series["filled"].tolist() == [128, 128]
