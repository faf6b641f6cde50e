"""Labels and predictions in the orders and numbers in which streams bring them."""

import json

import numpy as np
import pytest
from alert_kit import alerts_of
from fold_kit import START_MS, fold, records
from hypothesis import given
from hypothesis import strategies as st

N, TURN = 900, 500


def event(i, **more):
    return json.dumps({"model_id": "m", "prediction_id": str(i), "event_time": START_MS + 60_000 * i} | more).encode()


def errors_that_drift(order, versions=("1",)):
    """Events in this order, "l" or a version, for each prediction; the last version goes wrong."""
    rng, found = np.random.default_rng(3), []
    for i in range(N):
        label, off = 90 + rng.normal(), 12.0 * (i >= TURN)
        of = {v: {"model_version": v, "prediction": label + rng.normal() + off * (v == versions[-1])} for v in versions}
        found += [event(i, label=label) if one == "l" else event(i, **of[one]) for one in order]
    return found


@pytest.mark.parametrize("order", ["l1", "1l", "l12", "1l2", "12l", "2l1"])
def test_errors_drift_wherever_labels_stand(order):
    """Each version has an error for each label, and the one that goes wrong is named."""
    values = errors_that_drift(order, versions=tuple(sorted(set(order) - {"l"})))
    one = fold()
    firing = [a for a in alerts_of(one.step([records("predictions", values)])) if a["state"] == "firing"]
    versions = sorted(set(order) - {"l"})
    drifted = {(a["model_version"], a["column"]) for a in firing if a["column"] == "error" and a["kind"] == "drift"}
    assert drifted == {(versions[-1], "error")}
    assert one.labels.counts["matched"] == N * len(versions)
    assert one.tally["labels", "matched"] == N * len(versions)
    assert one.gauges()["labels_early",] == 0


@given(st.lists(st.tuples(st.sampled_from("lab"), st.integers(0, 5)), max_size=60), st.integers(0, 60))
def test_cuts_of_a_stream_with_early_labels_never_show(entries, cut):
    """Two steps leave the state of one."""
    values = [
        event(i % 6, label=1.0) if who == "l" else event(i % 6, model_version=who, prediction=2.0) for who, i in entries
    ]
    whole, parts = fold(detectors={}), fold(detectors={})
    whole.step([records("predictions", values)])
    parts.step([records("predictions", values[:cut])])
    parts.step([records("predictions", values[cut:], first=len(values[:cut]))])
    one, other = whole.dump(), parts.dump()
    assert one.meta == other.meta
    assert all(np.array_equal(one.arrays[name], other.arrays[name], equal_nan=True) for name in one.arrays)
