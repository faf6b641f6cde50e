"""What kafka-python does by itself under faults, and what we therefore must not leave to it.

Each test states the trap as the client's behaviour. One that fails has good news: the client was mended, and a rule of
ours may be given up.
"""

from __future__ import annotations

import pytest
from trap_kit import STILL_BLOCKED, play

from streamer.testing.kafka import Broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def broker():
    with Broker(proxied=True) as proxied:
        yield proxied


def test_an_expired_output_does_not_stop_its_transaction(broker):
    """An output that expired is lost while commit succeeds and the offsets advance; only its future says so."""
    result = play("client_traps:expired_output", broker)
    assert result["calls"] == ["returned", "returned"]
    assert result["visible"] == ["sent"]
    assert result["committed_offset"] == 10
    assert result["futures"] == ["succeeded", "KafkaTimeoutError"]


def test_the_commit_of_a_transaction_that_timed_out_returns(broker):
    """Commit returns as if all were well though the broker has aborted everything; flush first, and a future fails."""
    result = play("client_traps:timed_out_transaction", broker)
    assert result["commit_without_flush"] == "returned"
    assert result["visible"] == []
    assert result["committed_offset"] is None
    assert result["future_after_flush"] not in ("succeeded", "pending")


def test_a_rebalance_changes_the_generation_before_the_assignment(broker):
    """Between polls the generation is new and the assignment old, and the broker takes offsets of lost partitions.

    The state of the group metadata tells: it is not stable then.
    """
    result = play("client_traps:rebalance_between_polls", broker, partitions=4)
    before, now = result["generations"]
    assert now > before
    assert result["assignment_is_old"]
    assert "stable" not in result["state"].lower()
    assert result["owners_of_lost"] == [True, True]
    assert result["committed_offset"] == 2


def test_a_poll_after_a_failed_deserializer_never_returns(broker):
    """Once a deserializer raised out of poll, the next poll spins for ever, whatever its timeout."""
    result = play("client_traps:broken_record", broker)
    assert result["polls"] == ["ValueError", STILL_BLOCKED]
    assert result["cores_wanted"] > 0.5


def test_a_commit_whose_coordinator_died_never_returns(broker):
    """Commit, and sending offsets, block for ever once the broker died, also when it is back; a new producer works.

    Now and then a commit gets through when the broker is back before the client has noticed: then the scene is played
    again, at most twice.
    """
    result = play("client_traps:dead_coordinator", broker)
    for _ in range(2):
        if result["calls"]["commit"] == "returned":
            result = play("client_traps:dead_coordinator", broker)
    assert result["calls"] == {"commit": STILL_BLOCKED, "offsets": STILL_BLOCKED}
    assert result["fresh"] == {"commit": "returned", "offsets": "returned"}
    assert result["visible"] == ["fresh commit", "fresh offsets"]
    assert result["committed_offset"] is None
