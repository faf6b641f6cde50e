"""Which row a value goes to."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.series.id_table import UNSEEN
from detectors.series.table import NO_ROW, SeriesTable, ValueKind

VALUES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(list(ValueKind))), max_size=200)


def route(table, values, first=0, columns=None):
    columns = [] if columns is None else columns
    subject, column, kind = (np.array(a) for a in zip(*values, strict=True)) if values else ([], [], [])
    n = len(subject)
    life = np.arange(first, first + n)
    routed = table.route(
        np.array(subject, np.int64), np.array(column, np.int32), np.array(kind, np.uint8), life % 3.0, life
    )
    columns.extend(routed.columns.tolist())
    return routed.row.tolist()


class PlainTable:
    """The same by dictionaries: the oracle."""

    def __init__(self):
        self.kind, self.row, self.rows = {}, {}, [0, 0]

    def one(self, subject, column, kind):
        key = subject, column
        if key not in self.kind and kind in (ValueKind.NUMBER, ValueKind.CATEGORY):
            self.kind[key] = kind
            self.row[key] = self.rows[kind]
            self.rows[kind] += 1
        return self.row[key] if kind == self.kind.get(key) else NO_ROW

    def numbers(self, subject):
        return sum(key[0] == subject and kind == ValueKind.NUMBER for key, kind in self.kind.items())


@given(VALUES, st.integers(0, 200))
def test_rows_are_those_of_the_plain_table_however_the_values_are_cut(values, cut):
    """A series gets the next row of its kind at its first number or category; nothing else gets one."""
    table, plain, columns = SeriesTable(1000), PlainTable(), []
    found = route(table, values[:cut], columns=columns)
    found += route(table, values[cut:], min(cut, len(values)), columns)
    for v, row, of_numbers in zip(values, found, columns, strict=True):
        assert row == plain.one(*v)
        assert row == NO_ROW or of_numbers == plain.numbers(v[0])
    assert table.rows.tolist() == plain.rows
    for key, row in plain.row.items():
        kind = plain.kind[key]
        assert table.subject_and_column(row, kind) == key
        assert table.count_of_row(row, kind) == sum(v == (*key, kind) for v in values)
    found = {(subject, column): facts for subject, column, facts in table.of_subjects(range(6))}
    assert list(found) == list(dict.fromkeys(v[:2] for v in values))
    for key, facts in found.items():
        of = [i for i, v in enumerate(values) if v[:2] == key]
        assert (facts.first, facts.last, sum(facts.counts)) == (of[0], of[-1], len(of))
        assert (facts.kind, facts.row) == (plain.kind.get(key), plain.row.get(key, NO_ROW))
        assert facts.is_constant == (len({i % 3 for i in of if values[i][2] == plain.kind.get(key)}) == 1)


@given(VALUES, VALUES)
def test_a_loaded_table_goes_on_as_the_one_it_came_from(before, after):
    """Dump and load lose nothing."""
    table, other = SeriesTable(1000), SeriesTable(1000)
    route(table, before)
    other.load(table.dump())
    mine, theirs = [], []
    assert route(other, after, columns=mine) == route(table, after, columns=theirs)
    assert mine == theirs
    for name, array in table.dump().items():
        np.testing.assert_array_equal(other.dump()[name], array)


def test_a_full_table_routes_new_series_nowhere():
    """Beyond its bound, series have no row and their values are counted; old ones are as before."""
    table = SeriesTable(1)
    columns = np.array([0, 1, 0, 1], np.int32)
    kinds = np.full(4, ValueKind.NUMBER, np.uint8)
    routed = table.route(np.zeros(4, np.int64), columns, kinds, np.zeros(4), np.arange(4))
    assert (routed.row.tolist(), routed.series.tolist()) == ([0, NO_ROW, 0, NO_ROW], [0, UNSEEN, 0, UNSEEN])
    assert routed.number.tolist() == [0, -1, 1, -1]


def test_a_text_in_a_number_column_is_a_type_fault():
    """The kind of a column is its first value's; the other kind is counted as a misfit."""
    table = SeriesTable(10)
    assert route(table, [(0, 0, ValueKind.NUMBER), (0, 0, ValueKind.CATEGORY), (0, 0, ValueKind.MISSING)]) == [
        0,
        -1,
        -1,
    ]
    ((_, _, facts),) = table.of_subjects([0])
    assert facts.counts == (1, 0, 1, 1)
