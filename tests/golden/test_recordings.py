"""Recordings that tell a story each, and what Driftline makes of them: incidents, requests and decisions."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from stories import STORIES, reported

from streamer.cli import main


@pytest.mark.parametrize("name", STORIES)
def test_what_comes_of_a_story(golden, tmp_path, name):
    """Every incident, request and decision, in order, is what the committed file says."""
    lines = reported(STORIES[name](), tmp_path)
    assert not [line for line in lines if line["type"] == "dead_letter"]
    kept = [line for line in lines if line["type"] not in ("alert", "profile")]
    golden(f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


@pytest.mark.parametrize("name", STORIES)
def test_how_a_story_is_told(golden, tmp_path, name):
    """`driftline history` of each model, from what the replay wrote, is what the committed file says."""
    lines = reported(STORIES[name](), tmp_path)
    replayed = tmp_path / "replayed.jsonl"
    replayed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = sorted({line["model_id"] for line in lines if line["type"] == "alert"})
    parts = [f"{model}\n{told_of('history', model, str(replayed))}" for model in models]
    golden(f"{name}.history.txt", "\n".join(parts))
    for line in lines:
        if line["type"] == "request":
            explained = told_of("explain", line["request_id"], str(replayed))
            assert f"request   {line['request_id']}" in explained
            assert line["incident_id"] in explained


def told_of(*arguments):
    """The standard output of a command."""
    ran = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.mark.parametrize("name", STORIES)
def test_nothing_is_decided_twice(tmp_path, name):
    """No request is made twice, no request or silence changes twice in the same way, and no alert is reported twice."""
    lines = reported(STORIES[name](), tmp_path)
    requests = [line["request_id"] for line in lines if line["type"] == "request"]
    changes = [(line["request_id"], line["reason"], line["at"]) for line in lines if line["type"] == "decision"]
    alerts = [(line["alert_id"], line["state"]) for line in lines if line["type"] == "alert"]
    for found in (requests, changes, alerts):
        assert len(found) == len(set(found))
