"""Tests of a model by what Driftline finds in its recordings: `pytest examples/pytest_project`.

`may.csv` has the flights of a quiet month, `june.csv` those of a month in which departures are late from the 900th on.
"""

from __future__ import annotations

import pytest

COLUMNS = {
    "time": "sched_dep",
    "model": "eta",
    "features": ["dep_delay", "origin"],
    "prediction": "eta_min",
    "label": "arr_delay",
}


@pytest.fixture
def june(driftline_replay):
    return driftline_replay("june.csv", config="driftline.yaml", **COLUMNS)


def test_may_is_quiet(driftline_replay):
    """A month without a change raises no alert and asks for no retrain."""
    may = driftline_replay("may.csv", config="driftline.yaml", **COLUMNS)
    may.assert_quiet()
    may.assert_requests()


def test_june_is_seen(june):
    """The late departures are seen where they begin, and the model is to be retrained."""
    june.assert_drift("eta", "dep_delay", near=900, within=50)
    june.assert_requests("eta")


def test_june_moves_nothing_else(june):
    """Airports stay as they were; delays, and what the model makes of them, move."""
    june.assert_quiet(except_columns=["dep_delay", "prediction", "error"])


def test_june_stays_as_it_was_found(june, driftline_snapshot):
    """Another setting, or another version of Driftline, that finds something else shows as a diff."""
    driftline_snapshot(june)
