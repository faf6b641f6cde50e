"""Files and functions stay short, and get shorter."""

from __future__ import annotations

from length_ratchet import CEILING, RATCHET, read, tightened, too_long


def test_nothing_is_longer_than_the_ceiling():
    """No file has more than 500 lines and no function more than 70."""
    assert too_long({}) == []


def test_nothing_is_longer_than_the_ratchet():
    """Nothing outgrows the longest that its folder had; split it rather than raise `tests/ratchet.json`."""
    assert too_long(read()) == []


def test_the_ratchet_is_no_higher_than_the_ceiling():
    """No limit of the ratchet exceeds the ceiling."""
    assert all(limits[key] <= CEILING[key] for limits in read(RATCHET).values() for key in CEILING)


def test_the_ratchet_only_goes_down():
    """Tightening lowers limits to what is there, keeps lower ones, starts new folders and drops vanished ones."""
    limits = {"a": {"file_lines": 100, "function_lines": 20}, "gone": {"file_lines": 1, "function_lines": 1}}
    present = {"a": {"file_lines": 120, "function_lines": 15}, "new": {"file_lines": 600, "function_lines": 9}}
    assert tightened(limits, present) == {
        "a": {"file_lines": 100, "function_lines": 15},
        "new": {"file_lines": 500, "function_lines": 9},
    }
