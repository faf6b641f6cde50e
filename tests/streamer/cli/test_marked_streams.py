"""Recorded streams with marked changes, through `driftline replay`."""

import json

import pytest
from cli_kit import cli

from benchmarks.recorded.marked_data import Stream, error_streams, sine, traffic


def replayed(streams: list[Stream], tmp_path) -> list[dict]:
    """The alerts of a service that names no detectors."""
    events = [{"model_id": stream.model} | event for stream in streams for event in stream.events]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, events)))
    (tmp_path / "driftline.yaml").write_text("topics: {events: {format: json}}\nlabels: {error: zero_one}")
    ran = cli(
        "replay", str(tmp_path / "events.jsonl"), "--topic", "events", "--config", str(tmp_path / "driftline.yaml")
    )
    assert ran.exit_code == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return [line for line in lines if line["type"] == "alert" and line["state"] == "firing" and line["kind"] == "drift"]


@pytest.mark.parametrize("group", ["abrupto", "gradual"])
def test_the_errors_of_a_frozen_model(group, tmp_path):
    """Each of the twelve changes is reported, within 150 events of where an abrupt one begins; nothing before it."""
    streams = [stream for stream in error_streams() if group in stream.model]
    alerts, first = replayed(streams, tmp_path), 0
    for stream in streams:
        ((begins, ends),) = stream.changes
        at = [one["at"]["offset"] - first for one in alerts if one["model_id"] == stream.model]
        assert begins <= at[0] < (begins + 150 if group == "abrupto" else ends)
        first += len(stream.events)
    assert {one["column"] for one in alerts} == {"error"}


def test_the_error_of_a_labelled_stream(tmp_path):
    """Each of the three changes of the concept is reported, and no other of the error.

    The second leads back in part, so it takes a window of values to know that it is a change of its own.
    """
    stream = next(sine())
    at = [one["at"]["offset"] for one in replayed([stream], tmp_path) if one["column"] == "error"]
    assert len(at) == 3
    soon = (50, 400, 50)
    assert all(0 <= one - change[0] < within for one, change, within in zip(at, stream.changes, soon, strict=True))


def test_cycles_and_noise_raise_nothing(tmp_path):
    """Five made-up series of 4,032 values, and seven of road sensors, whose marks are anomalies of hours."""
    assert replayed(list(traffic()), tmp_path) == []
