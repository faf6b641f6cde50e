"""Spans of time as people write them."""

import pytest

from streamer.clock import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("30m", 1800), ("4h", 14_400), ("2d", 172_800), ("1w", 604_800)]
)
def test_a_number_and_a_unit(text, seconds):
    """Each unit there is."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "h", "4", "4 h", "-4h", "4.5h", "4y", "1h30m", "9999999999s"])
def test_anything_else_is_refused(text):
    """With what it should be like."""
    with pytest.raises(ValueError, match="is not like 30m, 4h or 2d"):
        seconds_of(text)
