"""The first start on a machine, where no kernel is compiled yet."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from confluent_kafka.admin import AdminClient
from driftline_process import PATIENCE_S, Place, Running, events, running

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def status(service: Running, path: str) -> int:
    try:
        return urllib.request.urlopen(service.url.replace("/metrics", path), timeout=5).status  # noqa: S310
    except HTTPError as error:
        return error.code


def has_joined(place: Place) -> bool:
    """Whether the broker knows the group."""
    admin = AdminClient({"bootstrap.servers": place.bootstrap})
    groups = admin.list_consumer_groups().result(PATIENCE_S).valid
    return f"driftline-{place.tag}" in {group.group_id for group in groups}


def wait_for_line(service: Running, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not any(text in line for line in service.said):
        assert time.monotonic() < deadline, "".join(service.said)
        assert service.process.poll() is None, "".join(service.said)
        time.sleep(0.02)


def compilations(service: Running) -> int:
    return sum("compiling detectors: " in line for line in service.said)


def test_a_cold_worker_joins_once_it_can_fold(kafka_broker: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """While it compiles, it is alive and not ready, outside of its group, and names its progress."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    place = Place(kafka_broker.bootstrap, tmp_path)
    place.produce({0: events(100)})
    with running(place.config) as service:
        wait_for_line(service, "compiling detectors: 1 of ")
        seen = []  # whether it has joined, and how many lines of progress there were a moment later
        while not any("reading bus.predictions" in line for line in service.said):
            assert (status(service, "/healthz"), status(service, "/readyz")) == (200, 503)
            seen.append((has_joined(place), compilations(service)))
            assert service.process.poll() is None, "".join(service.said)
        assert compilations(service) >= 2
        assert not any(joined for joined, compiled in seen if compiled < compilations(service))
        assert len(seen) > 2
        deadline = time.monotonic() + PATIENCE_S
        while status(service, "/readyz") != 200:
            assert time.monotonic() < deadline, "".join(service.said)
        assert has_joined(place)
        service.wait_for_records(place.events, 100)
        assert service.stop() == 0, "".join(service.said)


def test_a_cold_worker_stops_at_a_signal(kafka_broker: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """It does not compile the rest first."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    place = Place(kafka_broker.bootstrap, tmp_path)
    with running(place.config) as service:
        wait_for_line(service, "compiling detectors: 1 of ")
        assert service.stop() == 0, "".join(service.said)
        assert not any("compiling detectors: 2 of " in line for line in service.said)
        assert "Traceback" not in "".join(service.said)
