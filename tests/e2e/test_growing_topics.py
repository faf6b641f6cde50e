"""Event topics that get more partitions under a running service, before anybody has thought of its own topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from driftline_process import PATIENCE_S, Place, events, running

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_a_running_service_follows(kafka_broker: Any, tmp_path: Path) -> None:
    """Nothing ends: the new partition is folded, the old one goes on, and so does the next start."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    place.produce({0: events(50)})
    with running(place.config) as service:
        service.wait_for_records(place.events, 50)
        admin = AdminClient({"bootstrap.servers": place.bootstrap})
        for grown in admin.create_partitions([NewPartitions(place.events, 3)]).values():
            grown.result(PATIENCE_S)
        place.produce({0: events(10), 1: events(20), 2: events(30)})
        service.wait_for_records(place.events, 110)
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
    place.produce({2: events(5)})
    with running(place.config) as service:
        service.wait_until_done()
        assert service.stop() == 0, "".join(service.said)
