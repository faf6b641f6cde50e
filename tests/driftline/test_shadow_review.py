"""A challenger in shadow, from the drift to the verdict on it in the review, over topics in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from streamer.audit.timeline import entries, text_of
from streamer.audit.trail import Trail

CONFIG = {
    "topics": {"events": {}},
    "detectors": {"ks_window": {"window": 100, "reference_size": 100}},
    "flows": {"watch": False},
    "retrain": {"approval_by_model": {"*": "both"}, "min_events_after_onset": 50, "sd_min": 0},
}
START_MS = 1_777_593_600_000


def events(first: int, n: int, gap: float, **scales: float) -> Iterator[dict[str, Any]]:
    """Of each minute the predictions of some versions, whose errors have these scales, and the label of all."""
    random = Random(first)
    for i in range(first, first + n):
        about = {"model_id": "eta", "prediction_id": f"p{i}", "event_time": START_MS + 60_000 * i}
        features = {"gap": random.gauss(gap, 1)}
        for version, scale in scales.items():
            off = round(random.gauss(0, scale), 3)
            yield about | {"model_version": version[1:], "features": features, "prediction": 100.0 + off}
        yield about | {"label": 100.0}


@pytest.fixture
def trained(driftline_log):
    """The service after a drift of version 7, with a request whose challenger 8 waits for a review."""
    log = driftline_log(CONFIG)
    log.send("events", *events(0, 400, 0.0, v7=30.0), *events(400, 200, 4.0, v7=60.0), key="eta")
    (request,) = log.requests
    assert request.model_version == "7"
    log.control("approve", request.request_id, actor="ann")
    log.control("trained", request.request_id, actor="trainer", model_version="8", challenger={"mae": 40.0})
    assert log.state_of(request.request_id) == "awaiting_review"
    return log


@pytest.mark.parametrize(("eight", "better", "other"), [(30.0, "8", "7"), (120.0, "7", "8")])
def test_a_comparison_in_shadow_joins_the_review(trained, eight, better, other):
    """The decision has the numbers of both; the request stays as it is, and no incident or request comes of it."""
    (request,), incidents = trained.requests, len(trained.incidents)
    answer_by = trained.decisions[-1].answer_by
    trained.send("events", *events(600, 200, 4.0, v7=60.0, v8=eight), key="eta")
    (alert,) = (one for one in trained.alerts if one.kind == "better_version")
    assert (alert.model_version, alert.category) == (better, other)
    (said,) = (one for one in trained.decisions if one.reason == "compared")
    assert (said.request_id, said.state, said.model_version) == (request.request_id, "awaiting_review", "8")
    assert (said.at, said.answer_by, said.comment) == (alert.event_time, answer_by, alert.summary)
    found = {"7": said.champion, "8": said.challenger}
    assert found[better] == {
        "shadow_error": alert.after, "shadow_evidence": alert.statistic, "shadow_pairs": alert.n_current
    }  # fmt: skip
    assert found[other] == {"shadow_error": alert.before}
    assert (len(trained.requests), len(trained.incidents)) == (1, incidents)
    assert trained.state_of(request.request_id) == "awaiting_review"


def test_a_comparison_before_the_report_is_in_the_report(driftline_log):
    """A trainer that reports after the challenger has run in shadow for a while gets the same numbers."""
    log = driftline_log(CONFIG)
    log.send("events", *events(0, 400, 0.0, v7=30.0), *events(400, 200, 4.0, v7=60.0), key="eta")
    (request,) = log.requests
    log.control("approve", request.request_id, actor="ann")
    log.send("events", *events(600, 200, 4.0, v7=60.0, v8=30.0), key="eta")
    (alert,) = (one for one in log.alerts if one.kind == "better_version")
    log.control("trained", request.request_id, actor="trainer", model_version="8", challenger={"mae": 40.0})
    (said,) = (one for one in log.decisions if one.reason == "trained")
    assert said.champion == {"shadow_error": alert.before}
    assert said.challenger["shadow_evidence"] == alert.statistic
    assert said.challenger["mae"] == 40.0


def test_the_history_tells_it(trained):
    """Alert and decision stand in it with their sentence, beside the metrics of both."""
    (request,) = trained.requests
    trained.send("events", *events(600, 200, 4.0, v7=60.0, v8=30.0), key="eta")
    trail = Trail()
    for record in (*trained.alerts, *trained.incidents, *trained.requests, *trained.decisions):
        trail.add(record)
    lines = list(text_of(entries(trail, lambda _: True)))
    text = "\n".join(lines)
    (alert,) = (one for one in trained.alerts if one.kind == "better_version")
    assert f"{alert.alert_id} firing (better_version)" in text
    assert f"decision  {request.request_id} compared: error is smaller with version 8 than with 7: " in text
    assert f"=> compared (it joins the review), {request.request_id}" in text
    assert any("now awaiting_review" in line and "shadow_error" in line for line in lines)


def test_the_same_events_in_parts_give_the_same(driftline_log):
    """However often the outputs are read in between."""
    whole, parts = driftline_log(CONFIG), driftline_log(CONFIG)
    stream = [*events(0, 300, 0.0, v7=60.0, v8=30.0)]
    whole.send("events", *stream, key="eta")
    for i in range(0, len(stream), 100):
        parts.send("events", *stream[i : i + 100], key="eta")
        assert len(parts.alerts) <= 1
    values = [json.loads(one) for one in whole.values("driftline.alerts")]
    assert [one["kind"] for one in values] == ["better_version"]
    assert whole.values("driftline.alerts") == parts.values("driftline.alerts")
