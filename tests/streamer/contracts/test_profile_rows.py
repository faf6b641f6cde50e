"""Profiles as rows of the page: numbers that no service writes are an error, and missing ones stay missing."""

from __future__ import annotations

import msgspec
import pytest

from streamer.contracts.profile_rows import cells_of, numbers_of, rows_in

LINE = {
    "unit": "detect-0", "start": "2026-01-03T00:00:00Z", "end": "2026-01-04T00:00:00Z", "model_id": "m0",
    "column": "a", "kind": "number", "count": 720, "mean": 7.3125, "sd": 0.123456, "cells": [0.3, 0.7],
}  # fmt: skip


@pytest.mark.parametrize("wrong", [{"count": 1 << 40}, {"sd": 1e300}, {"faults": -1}, {"intervals": 70_000}])
def test_a_number_out_of_its_range_is_an_error(wrong):
    """The follower counts such a line as one that can't be read."""
    with pytest.raises(ValueError, match="out of range"):
        rows_in(msgspec.json.encode(LINE | wrong))


def test_a_number_that_is_missing_stays_missing():
    """Fields that a line does not have are None, and others keep four digits where people need no more."""
    ((names, (start_ms, psi, numbers, cells, categories)),) = rows_in(msgspec.json.encode(LINE)).rows
    (found,) = numbers_of([numbers])
    assert names == ("m0", "", "", "", "a")
    assert (start_ms, found["end_ms"] - start_ms, psi, categories) == (1_767_398_400_000, 86_400_000, None, None)
    assert (found["count"], found["mean"], found["sd"], found["p50"], found["psi"]) == (720, 7.3125, 0.1235, None, None)
    assert cells_of(cells) == [0.3, 0.7]
