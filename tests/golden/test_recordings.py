"""Recordings that tell a story each, and what Driftline makes of them: incidents, requests and decisions."""

from __future__ import annotations

import json

import pytest
from stories import STORIES, told


@pytest.mark.parametrize("name", STORIES)
def test_what_comes_of_a_story(golden, tmp_path, name):
    """Every incident, request and decision, in order, is what the committed file says."""
    lines = told(STORIES[name](), tmp_path)
    assert not [line for line in lines if line["type"] == "dead_letter"]
    kept = [line for line in lines if line["type"] != "alert"]
    golden(f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
