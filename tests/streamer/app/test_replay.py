"""A replay as a function."""

import json

import numpy as np

from streamer.app import replay as app
from streamer.config import Config
from streamer.eventlog.memory import MemoryLog


def test_a_replay_holds_no_output_that_everybody_has_read(tmp_path, monkeypatch):
    """However many alerts come, those that were decided upon are let go of, as all other outputs are."""
    x = np.random.default_rng(1).normal(size=16_000)
    file = tmp_path / "predictions.jsonl"
    lines = [
        json.dumps({"model_id": f"m{i % 8}", "event_time": i, "prediction": x[i] + 5 * (i > 8_800)}) + "\n"
        for i in range(len(x))
    ]
    file.write_text("".join(lines))
    logs, published = [], []

    def spied(*args):
        logs.append(MemoryLog(*args))
        return logs[-1]

    monkeypatch.setattr(app, "MemoryLog", spied)
    summary = app.replay(Config(), [str(file)], "predictions", published.append, lambda *_: None)
    (log,) = logs
    assert summary.alerts >= 8
    assert summary.requests == 8
    assert summary.first_event_time.isoformat() == "1970-01-01T00:00:00+00:00"
    assert summary.last_event_time.isoformat() == "1970-01-01T04:26:39+00:00"
    assert len(published) == sum(log.store.end(topic) for topic, _ in log.store.rows)
    assert {topic: len(rows) for topic, rows in log.store.rows.items() if rows} == {}
