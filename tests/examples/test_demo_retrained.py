"""The third part of the demo: a model of the fleet goes through the whole loop."""

from __future__ import annotations

import json

import pytest

from examples.demo import fleet, retrained
from streamer.detect.references.store import ReferenceStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrained")
    return folder, retrained.retrain(fleet.fleet(), folder)


def test_the_request_helps(found):
    """It is launched, trained, promoted by the rule, and found to have helped."""
    _, of = found
    assert [one["reason"] for one in of.story] == ["training", "trained", "promoted", "helped"]
    assert [one["actor"] for one in of.story[:3]] == ["driftline-launch", "trainer", "driftline-review"]
    assert of.trained["challenger"]["mae"] < 0.5 * of.trained["champion"]["mae"]


def test_the_retrained_model_is_about_as_good_as_before(found):
    """The error more than doubles by the drift, and the retrain takes most of that away."""
    _, of = found
    assert of.mae["during"] > 2.5 * of.mae["before"]
    assert of.mae["without"] > 2 * of.mae["after"]
    assert of.mae["after"] < 1.3 * of.mae["before"]


def test_it_is_trained_on_the_window_of_the_request(found):
    """The run got the request of the service, and the window became the reference of version 2."""
    folder, of = found
    run = folder / "runs" / of.request["request_id"]
    assert json.loads((run / "request.json").read_text()) == of.request
    store = ReferenceStore(str(folder / "references"), 2000)
    store.refresh()
    digest = store.catalog[retrained.MODEL]["2"]
    window = next(one for one in of.request["training_window"] if one["role"] == "predictions")
    headway = store.load(retrained.MODEL, "2", digest).by_series[retrained.MODEL, "2", "headway_s"]
    assert headway.n_seen == window["events"]
