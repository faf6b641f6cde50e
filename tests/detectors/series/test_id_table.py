"""Keys to dense indices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.series.id_table import UNSEEN, IdTable

KEYS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 40), max_size=300)


@given(KEYS, st.integers(0, 300))
def test_indices_are_those_of_a_dict_however_the_keys_are_cut(keys, cut):
    """The index of a key is its place in the order of first sight."""
    table = IdTable(1000)
    found = np.concatenate([table.add(np.array(part, np.int64)) for part in (keys[:cut], keys[cut:])])
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    assert found.tolist() == [order[key] for key in keys]
    assert table.keys.tolist() == list(order)


def test_a_full_table_knows_no_new_keys_but_keeps_the_old():
    """Beyond the limit, new keys are unseen and old ones keep their index."""
    table = IdTable(3)
    assert table.add(np.array([7, 8, 9, 10, 8])).tolist() == [0, 1, 2, UNSEEN, 1]


@given(KEYS, KEYS)
def test_finding_gives_out_nothing(known, asked):
    """Known keys have their index, others none, and the table stays as it was."""
    table = IdTable(1000)
    indices = dict(zip(known, table.add(np.array(known, np.int64)).tolist(), strict=True))
    assert table.find(np.array(asked, np.int64)).tolist() == [indices.get(key, UNSEEN) for key in asked]
    assert len(table) == len(indices)


def test_a_loaded_table_goes_on_as_the_one_it_came_from():
    """Loading the keys in order gives every key its index back."""
    keys = np.random.default_rng(1).integers(0, 2**60, 5000)
    table, other = IdTable(10_000), IdTable(10_000)
    table.add(keys)
    other.load(table.keys)
    assert other.add(keys[::-1]).tolist() == table.add(keys[::-1]).tolist()
