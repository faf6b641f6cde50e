"""A broker that dies, freezes or comes back.

Each in a process of its own: kafka-python leaves the sockets of refused connections to the garbage collector, which
says so in whatever test it happens to run.
"""

from __future__ import annotations

import pytest
from kafka_kit import run_alone

pytestmark = pytest.mark.broker

DOUBTFUL = """
import sys
from kafka_kit import Place, begin
from streamer.errors import InDoubtError
from streamer.eventlog.base import Epoch, Output
from streamer.testing.kafka import Broker

with Broker() as broker:
    place = Place(broker)
    with place.log(commit_deadline_s=3) as log:
        begin(log)
        log.commit([Output(place.out, b"k", b"1")], [Epoch("detect-0", 1, {place.events: 0})])
        getattr(broker, sys.argv[1])()
        assert [found for _ in range(10) for found in log.poll(0.2)] == []
        try:
            log.commit([Output(place.out, b"k", b"2")], [Epoch("detect-0", 2, {place.events: 0})])
        except InDoubtError as doubt:
            print(doubt, flush=True)
        broker.resume()
print("closed", flush=True)
"""

BACK_AGAIN = """
from kafka_kit import Place, begin, drain
from streamer.eventlog.base import Epoch, Output
from streamer.testing.kafka import Broker

with Broker() as broker:
    place = Place(broker)
    place.write([b"before"] * 10)
    with place.log() as log:
        begin(log)
        drain(log, {(place.events, 0): 10})
        broker.kill()
        assert [found for _ in range(10) for found in log.poll(0.2)] == []
        broker.start()
        place.write([b"after"] * 5)
        rows = drain(log, {(place.events, 0): 15}, begun={(place.events, 0): 10, (place.alerts, 0): 0})
        assert [row[3] for row in rows[place.events, 0]] == [b"after"] * 5
        log.commit([Output(place.out, b"k", b"v")], [Epoch("detect-0", 1, {place.events: 15})])
    assert [record.value for record in place.read(place.out)] == [b"v"]
print("closed", flush=True)
"""


def run(script: str, *arguments: str) -> str:
    """What the script prints; it ends well, soon, and without many words of the client's."""
    done = run_alone(["-c", script, *arguments], timeout_s=60)
    assert done.returncode == 0, done.stderr
    assert "closed" in done.stdout
    assert len(done.stderr.splitlines()) < 60
    return done.stdout


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_commit_without_a_broker_is_in_doubt_in_time(fault: str) -> None:
    """Without a broker poll goes on empty, commit raises InDoubtError at its deadline, and the process can end."""
    assert "step 'outputs' failed" in run(DOUBTFUL, fault)


@pytest.mark.slow
def test_reading_and_committing_outlive_an_outage() -> None:
    """While the broker is down polls are empty and calm; once it is back, reading and committing go on."""
    run(BACK_AGAIN)
