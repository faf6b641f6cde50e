"""Which row a value goes to."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.series import evidence as evidence_module
from detectors.series import table as table_module
from detectors.series.decimals import decimal_id, decimal_name
from detectors.series.evidence import FIRM, MIXED, NUMBERS
from detectors.series.id_table import UNSEEN
from detectors.series.table import NO_ROW, TEXT_BOOLEAN, TEXT_NUMBER, UNSETTLED, SeriesTable, ValueKind

# subject, column, kind (those of texts that read as numbers or booleans too), number, category or decimals
VALUE = st.one_of(
    st.tuples(st.just(ValueKind.NUMBER), st.sampled_from([0.0, 1.0, 7.0, 0.5, -2.0]), st.just(-1)),
    st.tuples(st.just(ValueKind.CATEGORY), st.just(np.nan), st.integers(0, 3)),
    st.tuples(st.just(TEXT_NUMBER), st.sampled_from([1.0, 12.0, 2.5]), st.integers(-1, 2)),
    st.tuples(st.just(TEXT_BOOLEAN), st.sampled_from([0.0, 1.0]), st.just(4)),
    st.tuples(st.sampled_from([ValueKind.MISSING, ValueKind.MISFIT]), st.just(np.nan), st.just(-1)),
)
VALUES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), VALUE), max_size=300)
EXPECTED = st.dictionaries(
    st.tuples(st.integers(0, 2), st.integers(0, 1)), st.sampled_from([1, 2, 3, 5, 6, 7]), max_size=4
)
SHARED = ("count_evidence", "is_of_categories", "contradicts")
SHORT = {"EARLY": 3, "ENOUGH": 8}


@pytest.fixture(autouse=True, params=[{}, SHORT], ids=["as it is", "short"])
def decided_soon(request, monkeypatch):
    """Kernels hold their constants, so the short evidence runs without them."""
    for name, size in request.param.items():
        monkeypatch.setattr(table_module, name, size)
        monkeypatch.setattr(evidence_module, name, size)
    if request.param:
        for name in ("_route", "_decide", "_decide_expected", "_turn", "_begin", "_category", *SHARED):
            monkeypatch.setattr(table_module, name, getattr(table_module, name).py_func)
    return request.param or {"EARLY": 10, "ENOUGH": 100}


def route(table, values, first=0):
    subject, column, what = zip(*values, strict=True) if values else ([], [], [])
    kind, number, category = zip(*what, strict=True) if what else ([], [], [])
    life = np.arange(first, first + len(subject))
    return table.route(
        np.array(subject, np.int64), np.array(column, np.int32), np.array(kind, np.uint8), np.array(number, float),
        np.array(category, np.int32), life,
    )  # fmt: skip


def lists(routed):
    found = {name: getattr(routed, name).tolist() for name in ("row", "number", "columns", "kind", "turned")}
    return found | {"value": [None if x != x else x for x in routed.value.tolist()]}


class PlainTable:
    """The same by dictionaries: the oracle."""

    def __init__(self, early, enough, expected):
        self.early, self.enough, self.expected = early, enough, expected
        self.seen, self.kind, self.row, self.rows, self.turned, self.mixed = {}, {}, {}, [0, 0], [], set()
        self.order = []

    def one(self, subject, column, what):
        key, (kind, number, category) = (subject, column), what
        if key not in self.seen:
            self.order.append(key)
        self.seen.setdefault(key, [])
        if kind in (ValueKind.MISSING, ValueKind.MISFIT):
            return NO_ROW, kind, None
        is_open = self.evidence(key, kind, number)
        value = number if self.kind[key] == 0 and kind != ValueKind.CATEGORY else None
        if self.kind[key] == 1:
            value = self.category(kind, number, category, is_open or key in self.mixed)
        if value is None:
            return UNSETTLED if is_open else NO_ROW, ValueKind.MISFIT, None
        return self.row[key], self.kind[key], value

    def evidence(self, key, kind, number):
        """Decide the kind of a series; whether it was open."""
        seen, expected = self.seen[key], self.expected.get(key, 0) & 3
        if expected and key not in self.kind:
            self.begin(key, 0 if expected == NUMBERS else 1)
            self.mixed |= {key} if expected == MIXED else set()
        if len(seen) == self.enough or self.expected.get(key, 0) & FIRM:
            return False
        is_text = kind in (ValueKind.CATEGORY, TEXT_BOOLEAN)
        seen.append("text" if is_text else "whole" if number == round(number) else "fraction")
        texts, whole, fractions = (seen.count(what) for what in ("text", "whole", "fraction"))
        if expected:
            against = {NUMBERS: texts, MIXED: fractions}.get(expected, whole + fractions)
            if len(seen) == self.enough == against:
                self.turned.append(self.order.index(key))
                self.begin(key, 1 - self.kind[key])
            return False
        if len(seen) == self.enough and whole * 20 >= 100:
            self.mixed.add(key)
        if key not in self.kind:
            self.begin(key, int(is_text))
        elif len(seen) in (self.early, self.enough):
            decided = int(2 * texts > len(seen) or (fractions <= texts and texts * 8 > len(seen)))
            if decided != self.kind[key]:
                self.turned.append(self.order.index(key))
                self.begin(key, decided)
        return True

    def begin(self, key, kind):
        self.kind[key], self.row[key] = kind, self.rows[kind]
        self.rows[kind] += 1

    @staticmethod
    def category(kind, number, category, takes_whole):
        if kind in (ValueKind.CATEGORY, TEXT_BOOLEAN):
            return category
        if kind == TEXT_NUMBER:
            return 0 if category < 0 else named(number, category)
        return named(number, 0) if takes_whole and number == round(number) else None

    def numbers(self, subject):
        return sum(key[0] == subject and kind == ValueKind.NUMBER for key, kind in self.kind.items())


def named(number, decimals):
    """The id of a decimal number by what its text is."""
    return next(x for x in [decimal_id(number, decimals)] if decimal_name(int(x)) == f"{number:.{decimals}f}")


@given(VALUES, st.integers(0, 300), EXPECTED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_are_those_of_the_plain_table_however_the_values_are_cut(decided_soon, values, cut, expected):
    """Rows, kinds, values and turns are those of one look at each value; so are the facts."""
    table, plain = SeriesTable(1000), PlainTable(decided_soon["EARLY"], decided_soon["ENOUGH"], expected)
    table.expect = lambda subject, column: expected.get((subject, column), 0)
    parts = [lists(route(table, values[:cut])), lists(route(table, values[cut:], min(cut, len(values))))]
    found = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    ours = []
    for i, v in enumerate(values):
        row, kind, value = plain.one(*v)
        ours.append((row, kind, value))
        assert (found["row"][i], found["kind"][i]) == (row, kind)
        assert row < 0 or (found["value"][i], found["columns"][i]) == (value, plain.numbers(v[0]))
    assert found["turned"] == plain.turned
    assert table.rows.tolist() == plain.rows
    facts = {(subject, column): facts for subject, column, facts in table.of_subjects(range(6))}
    assert list(facts) == plain.order
    for key, one in facts.items():
        of = [i for i, v in enumerate(values) if v[:2] == key]
        assert (one.first, one.last, sum(one.counts)) == (of[0], of[-1], len(of))
        assert (one.kind, one.row) == (plain.kind.get(key), plain.row.get(key, NO_ROW))
        assert one.has_turned == (plain.order.index(key) in plain.turned)
        mine = [ours[i][2] for i in of if ours[i][:2] == (plain.row.get(key), plain.kind.get(key))]
        assert plain.kind.get(key) is None or one.counts[plain.kind[key]] == len(mine)
        assert one.is_constant == (len(set(mine)) == 1)


@given(VALUES, VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_loaded_table_goes_on_as_the_one_it_came_from(before, after):
    """Dump and load lose nothing."""
    table, other = SeriesTable(1000), SeriesTable(1000)
    route(table, before)
    other.load(table.dump())
    assert lists(route(other, after)) == lists(route(table, after))
    for name, array in table.dump().items():
        np.testing.assert_array_equal(other.dump()[name], array)


def test_a_full_table_routes_new_series_nowhere():
    """Beyond its bound, series have no row and their values are counted; old ones are as before."""
    table = SeriesTable(1)
    columns = np.array([0, 1, 0, 1], np.int32)
    kinds = np.full(4, ValueKind.NUMBER, np.uint8)
    numbers, categories = np.zeros(4), np.full(4, -1, np.int32)
    routed = table.route(np.zeros(4, np.int64), columns, kinds, numbers, categories, np.arange(4))
    assert (routed.row.tolist(), routed.series.tolist()) == ([0, NO_ROW, 0, NO_ROW], [0, UNSEEN, 0, UNSEEN])
    assert routed.number.tolist() == [0, -1, 1, -1]


def test_a_text_among_many_numbers_is_a_type_fault(decided_soon):
    """Once the kind is decided, the other kind is counted as a misfit and has no row; before, it is unsettled."""
    table, enough = SeriesTable(10), decided_soon["ENOUGH"]
    number, text = (0, 0, (ValueKind.NUMBER, 0.5, -1)), (0, 0, (ValueKind.CATEGORY, np.nan, 3))
    rows = route(table, [number, text, *[number] * enough, text]).row.tolist()
    assert (rows[1], rows[-1]) == (UNSETTLED, NO_ROW)
    ((_, _, facts),) = table.of_subjects([0])
    assert facts.counts == (enough + 1, 0, 0, 2)
