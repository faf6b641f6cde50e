"""Whatever becomes of a commit at the broker, it is in doubt, in time; a fresh process finds all of it or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from doubts import DEADLINE_S, FAULTS
from kafka_kit import run_alone

pytestmark = [pytest.mark.broker, pytest.mark.slow]

STEPS = {
    "the coordinator dies before offsets are sent": "'offsets' failed",
    "the coordinator dies before the commit": "'commit' failed",
    "an output expires": "'outputs' failed",
    "the broker ends the transaction": "'commit' failed",
    "success is claimed": "are there",
}


@pytest.fixture(scope="module")
def played() -> dict[str, Any]:
    """What came of each fault."""
    script = Path(__file__).with_name("doubts.py")
    done = run_alone([str(script)], timeout_s=200)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_commit_that_goes_wrong_is_in_doubt(played: dict[str, Any], fault: str) -> None:
    """The step is named, the deadline holds though the client would block for ever, and outputs come once."""
    found = played[fault]
    assert STEPS[fault] in found["said"]
    assert found["took_s"] < 2 * DEADLINE_S
    assert found["outputs"] == ["one", "two", "three"]
    assert found["committed"] == 6


def test_nothing_was_there_of_what_was_not_committed(played: dict[str, Any]) -> None:
    """Of each of these commits the fresh process found nothing, so it made its outputs, for the first time."""
    assert {fault: found["found"] for fault, found in played.items()} == dict.fromkeys(FAULTS, 1)
