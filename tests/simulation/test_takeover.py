"""Moments at which a unit changes hands."""

from random import Random

import pytest
from sim_cluster import Cluster, Entry
from sim_group import Group
from sim_host import Host
from sim_input import config
from sim_plan import Plan
from sim_worker import simulated

from streamer.app.folds import units
from streamer.app.run import log_settings
from streamer.clock import ManualClock
from streamer.eventlog.base import Epoch, RebalanceInProgress
from streamer.eventlog.history import encode_entry
from streamer.eventlog.kafka.log import KafkaLog


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_what_is_committed_while_a_past_is_read_is_no_gap(delivery):
    """One who was replaced without knowing it must not tell of lost records: it finds out at its next poll."""
    cluster = Cluster(Random(0), ManualClock())
    settings = config(Plan(0, delivery=delivery, labels=False))
    for topic in ("predictions", "driftline.alerts", "driftline.control", "driftline.watermarks"):
        cluster.create(topic, 1)
    cluster.create("driftline.epochs", 2)

    def somebody_commits(number):
        epoch = Epoch("detect-0", number, {"predictions": 10 * number})
        cluster.partitions["driftline.epochs", 1].append(Entry(0, b"detect-0", encode_entry(epoch)))
        cluster.offsets["predictions", 0] = 10 * number

    with simulated():
        host = Host(cluster, Group(cluster.clock, cluster.counts), Random(0))
        log = KafkaLog(host, log_settings(settings, 0), units(settings).of)
        while log.assignment() is None:
            log.poll(0.1)
        somebody_commits(1)
        read = log._histories.read
        log._histories.read = lambda *asked: somebody_commits(2) or read(*asked)
        with pytest.raises(RebalanceInProgress, match="meanwhile"):
            log.past("detect-0")
        log._histories.read = read
        assert log.past("detect-0").committed == 2
