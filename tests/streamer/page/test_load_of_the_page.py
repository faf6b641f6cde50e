"""The first load of the read model: the collector of cycles rests meanwhile, and works again afterwards."""

from __future__ import annotations

import gc

import pytest
from page_kit import published
from service_kit import TOPICS

from streamer.errors import BrokerError
from streamer.page.follow import Follower
from streamer.page.store import Store


def test_the_collector_rests_while_the_log_is_read(service):
    """It is off for the records that were there at the start, on for later ones, and on after an error."""
    found = []

    def arrivals():
        found.append(gc.isenabled())
        yield published(service)
        found.append(gc.isenabled())
        yield None
        found.append(gc.isenabled())
        yield []
        found.append(gc.isenabled())
        raise BrokerError("Kafka can't be reached")

    def broken():
        yield published(service)
        raise BrokerError("Kafka can't be reached")

    store = Store()
    with pytest.raises(BrokerError):
        Follower(store, TOPICS, arrivals).load()
    assert (found, gc.isenabled()) == ([False, False, True, True], True)
    with pytest.raises(BrokerError):
        Follower(store, TOPICS, broken).load()
    assert gc.isenabled()
    store.close()
