"""A unit's history, read from the simulated cluster."""

from random import Random

import pytest
from sim_cluster import Cluster, Entry
from sim_consumer import SimConsumer
from sim_group import Group
from sim_host import Host

from streamer.clock import ManualClock
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import Attempt, encode_entry
from streamer.eventlog.kafka.unit_history import HistoryReader


@pytest.fixture
def cluster():
    """Two epochs, and a note behind them."""
    cluster = Cluster(Random(0), ManualClock())
    cluster.create("epochs", 2)
    entries = Epoch("detect-0", 1, {"t": 5}), Epoch("detect-0", 2, {"t": 9}), Attempt("detect-0", 3)
    for entry in entries:
        cluster.partitions["epochs", 1].append(Entry(0, b"detect-0", encode_entry(entry)))
    return cluster


def past(cluster, since):
    host = Host(cluster, Group(cluster.clock, cluster.counts), Random(0))
    reader = HistoryReader(SimConsumer(host, None), "epochs", "group", 5.0)
    return reader.read("detect-0", since, {"t": 9})[0]


def test_a_history_is_read_behind_the_epoch_of_a_checkpoint(cluster):
    """What came before it is not needed."""
    found = past(cluster, Epoch("detect-0", 1, {"t": 5}, at=0))
    assert ([epoch.number for epoch in found.epochs], len(found.attempts)) == ([2], 1)


@pytest.mark.parametrize("number", [1, 2, 3, 7])
@pytest.mark.parametrize("at", range(4))
def test_a_checkpoint_of_another_history_is_of_no_use_and_no_harm(cluster, number, at):
    """Whatever stands where its epoch should, the reader says that it is not that epoch."""
    assert past(cluster, Epoch("detect-0", number, {"t": 8}, at=at)) is None
