"""The pytest plugin of Driftline: fixtures for tests against a real Kafka.

Loaded in every pytest run where Driftline is installed, so importing it imports nothing but pytest.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from streamer.testing.kafka import Broker, GivenBroker
    from streamer.testing.kafka_cluster import Cluster

BOOTSTRAP_VARIABLE = "DRIFTLINE_TEST_BOOTSTRAP"


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker | GivenBroker]:
    """A running Kafka with `bootstrap` and `create_topics(…)`, one for the whole session.

    It is started from pip alone (`pip install 'driftline[broker]'`), unless `DRIFTLINE_TEST_BOOTSTRAP` names another.
    """
    if bootstrap := os.environ.get(BOOTSTRAP_VARIABLE):
        from streamer.testing.kafka import GivenBroker

        with GivenBroker(bootstrap) as given:
            yield given
    else:
        from streamer.testing.kafka import Broker

        with Broker() as broker:
            yield broker


@pytest.fixture(scope="module")
def kafka_cluster() -> Iterator[Cluster]:
    """Three brokers, one set for each test file; always our own, as tests kill them. Leave it ready for the next test.

    It takes about 7 s to start; see `streamer.testing.kafka_cluster.Cluster` for what it can do.
    """
    from streamer.testing.kafka_cluster import Cluster

    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def unique_topic() -> Callable[[str], str]:
    """`unique_topic("alerts")` is a topic name that no other test, and no earlier run on the same broker, has used."""
    return lambda stem: f"{stem}-{uuid.uuid4().hex[:12]}"
