"""Spans of time as people write them."""

import pytest

from streamer.clock import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("1s", 1), ("30m", 1800), ("4h", 14_400), ("2d", 172_800), ("1w", 604_800)],
        *[("1h30m", 5400), ("0h90s", 90), ("1w2d3h4m5s", 788_645), ("90s", 90)],
    ],
)
def test_numbers_with_units(text, seconds):
    """Each unit there is, alone and together with smaller ones."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0h", "h", "4", "4 h", "-4h", "4.5h", "4y", "30m1h", "1h1h", "1h30", "9999999999s", "1h\n", "٣h"]
)
def test_anything_else_is_refused(text):
    """With what it should be like."""
    with pytest.raises(ValueError, match="is not like 90s, 30m, 1h30m or 7d"):
        seconds_of(text)
