"""A service over topics in memory, and a trainer that answers it, as tests of a pipeline use them."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pytest

from driftline import FakeTrainer
from streamer.errors import UsageError

CONFIG = {"topics": {"predictions": {}}, "retrain": {"approval_by_model": {"*": "both"}}}
START_MS = 1_777_593_600_000
METRICS = {"champion": {"mae": 9.0}, "challenger": {"mae": 5.0}}


def events(first: int, n: int, mean: float) -> list[dict]:
    """One a minute, of one model with one column."""
    values = np.random.default_rng(first).normal(mean, 1.0, n).round(3).tolist()
    return [
        {"model_id": "eta", "event_time": START_MS + 60_000 * i, "features": {"gap": value}}
        for i, value in enumerate(values, first)
    ]


@pytest.fixture
def drifted(driftline_log):
    """The service after a drift, with one request that waits for a person."""
    log = driftline_log(CONFIG)
    log.send("predictions", *events(0, 3000, 0.0), key="eta")
    assert (log.alerts, log.requests) == ([], [])
    log.send("predictions", *events(3000, 1000, 4.0), key="eta")
    return log


def test_a_request_goes_through_training_to_promotion(drifted):
    """Approved by a person, trained by the trainer, promoted; each step is a decision, as on Kafka."""
    (alert,), (request,) = drifted.alerts, drifted.requests
    assert (alert.column, alert.model_id) == ("gap", "eta")
    trainer = FakeTrainer(drifted, **METRICS, takes=timedelta(minutes=90))
    assert (drifted.state_of(request.request_id), trainer.answer()) == ("requested", [])
    drifted.control("approve", request.request_id, actor="ann", comment="new timetable")
    assert trainer.answer() == [request.request_id]
    assert drifted.state_of(request.request_id) == "awaiting_review"
    assert trainer.answer() == []
    drifted.control("promote", request.request_id, actor="ann")
    assert drifted.state_of(request.request_id) == "watching"
    *_, approved, started, trained, promoted = (one for one in drifted.decisions if one.request_id)
    assert [one.reason for one in (approved, started)] == ["approved", "training"]
    assert (trained.model_version, trained.challenger) == ("trained-1", METRICS["challenger"])
    assert trained.at - started.at == timedelta(minutes=90)
    assert (promoted.actor, approved.comment) == ("ann", "new timetable")


def test_a_training_that_fails_says_why(drifted):
    """The reason is in the decision, and the request is over."""
    (request,) = drifted.requests
    drifted.control("approve", request.request_id)
    FakeTrainer(drifted, failure="no disk").answer()
    assert drifted.state_of(request.request_id) == "failed"
    assert drifted.decisions[-1].comment == "no disk"


def test_a_pipeline_reads_the_topics_as_any_client(drifted):
    """Values are those that Kafka would hold; a control record in bytes is folded like any other."""
    (value,) = drifted.values("driftline.retrain-requests")
    made = json.loads(value)
    said = {"kind": "reject", "request_id": made["request_id"], "at": made["requested_at"], "actor": "bob"}
    drifted.send("driftline.control", json.dumps(said).encode())
    assert drifted.state_of(made["request_id"]) == "rejected"


def test_looks_in_between_change_nothing(driftline_log):
    """Alerts and requests are the same, however often the outputs were read."""
    once, often = driftline_log(CONFIG), driftline_log(CONFIG)
    stream = [*events(0, 3000, 0.0), *events(3000, 1000, 4.0)]
    once.send("predictions", *stream)
    for first in range(0, len(stream), 173):
        often.send("predictions", *stream[first : first + 173])
        assert len(often.requests) <= 1
    for topic in ("driftline.alerts", "driftline.retrain-requests", "driftline.incidents"):
        assert often.values(topic) == once.values(topic) != []


def test_what_is_not_there_is_named(drifted, driftline_log):
    """Topics and requests."""
    with pytest.raises(UsageError, match=r"the service reads no topic labels, but predictions, driftline\.control"):
        drifted.send("labels", {})
    with pytest.raises(UsageError, match="there is no request nope; there are: retrain-eta-"):
        drifted.control("approve", "nope")
    with pytest.raises(UsageError, match="aprove is no kind of control record; there are: approve, reject, "):
        drifted.control("aprove", drifted.requests[0].request_id)
    with pytest.raises(UsageError, match="the configuration names no topics"):
        driftline_log({})
