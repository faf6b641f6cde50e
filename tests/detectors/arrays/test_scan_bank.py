"""A scan stops at each alarm, takes its evidence and goes on with the next value."""

import numpy as np
import pytest

from detectors.adwin import AdwinBank, AdwinSettings
from detectors.arrays.alarm_list import Evidence
from detectors.arrays.scan_bank import scan


def evidence(row, at):
    return Evidence(2.0, 1.0, 0.5, 0.0, float(row), 0, 1, 1)


def test_a_scan_finds_every_alarm_in_order():
    """Alarms on consecutive values, on the first and on the last one are all found, each with its series."""
    rows = np.array([4, 5, 6, 7, 8])
    alarms, log = [0, 2, 3, 4], []

    def advance(start):
        log.append(f"from {start}")
        return next((at for at in alarms if at >= start), len(rows))

    def logged(row, at):
        log.append(f"evidence of {row}, {at}")
        return evidence(row, at)

    found = scan(rows, advance, logged)
    assert found.at.tolist() == alarms
    assert found.row.tolist() == found.after.tolist() == [4, 6, 7, 8]
    assert log[:4] == ["from 0", "evidence of 4, 0", "from 1", "evidence of 6, 2"]  # before any later value


def test_a_scan_without_values_or_alarms_is_empty():
    """Nothing to process, and nothing to report, give no alarm."""
    assert len(scan(np.empty(0, np.int64), lambda _: 0, evidence)) == 0
    assert len(scan(np.zeros(3, np.int64), lambda _: 3, evidence)) == 0


@pytest.mark.parametrize(
    ("rows", "values", "error"),
    [([2], [0.0], IndexError), ([-1], [0.0], IndexError), ([0, 1], [0.0], ValueError), ([[0]], [[0.0]], ValueError)],
)
def test_input_is_checked_before_a_kernel_sees_it(rows, values, error):
    """Rows that do not exist and vectors that do not fit are refused, and leave the state as it was."""
    bank = AdwinBank(AdwinSettings(), 2)
    with pytest.raises(error):
        bank.update(np.array(rows), np.array(values), np.zeros(len(rows), np.int64))
    assert not any(array.any() for array in bank.dump(slice(0, 2)).values())
