"""Classes that producers of predictions and of labels write in different ways."""

from __future__ import annotations

import pytest

from streamer.codecs.class_labels import encode_labels


@pytest.mark.parametrize(
    "same",
    [[1, "1", 1.0, "1.0", True, "true", "True"], [0, "0", "-0", "0.00", False, "FALSE"], [-2.5, "-2.5"], ["x", "x"]],
)
def test_one_class_is_one_class_however_it_is_written(same):
    """Alone, and beside other values."""
    found = encode_labels([*same, "other"])[:-1]
    assert (found == found[0]).all() or len(set(found.view("u8").tolist())) == 1


@pytest.mark.parametrize("name", ["007", "1e5", "0x1", "٣", "nan", "inf", "truely", "", " 1", "+1", "1_000"])
def test_other_texts_are_names(name):
    """They differ from every number, and from each other."""
    found = encode_labels([name, name, "another", 1])
    assert found.view("u8")[0] == found.view("u8")[1] != found.view("u8")[2]
    assert found[0] != found[0]
