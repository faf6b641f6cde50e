"""The one rule by which settings and silences choose names."""

import pytest

from retrain.messages.patterns import first_match, matches


@pytest.mark.parametrize(
    ("pattern", "fits"), [("bus-*", True), ("BUS-*", False), ("bus-?", True), ("bus-[!7]", False), ("us-7", False)]
)
def test_a_pattern_matches_the_whole_name_in_its_case(pattern, fits):
    """`*`, `?` and sets of characters are special; upper case differs from lower case on every system."""
    assert matches("bus-7", pattern) is fits


def test_the_first_pattern_that_matches_counts():
    """Later patterns do not count, not even closer ones, and a false value is a value."""
    table = {"tram-*": 1, "bus-*": 0, "bus-7": 2}
    assert first_match(table, "bus-7") == 0
    assert first_match(table, "ferry-1") is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("emb[0]", True), ("emb[*]", True), ("emb[?]", True), ("*[0]", True), ("emb[[]0]", True), ("emb[[]*", True),
        ("emb[1]", False), ("emb[0", False), ("emb0", False), ("emb[00]", False),
    ],
)  # fmt: skip
def test_brackets_also_stand_for_themselves(pattern, fits):
    """A column of a list is named as it is written, without escapes."""
    assert matches("emb[0]", pattern) is fits


def test_brackets_stay_sets_of_characters():
    """A set matches its characters, and `[[]` matches a bracket alone."""
    assert matches("bus-4", "bus-[0-9]")
    assert matches("bus-[0-9]", "bus-[0-9]")
    assert matches("a[b", "a[[]b")
    assert not matches("a[[]b", "a[b")
