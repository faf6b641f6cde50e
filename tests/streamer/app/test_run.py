"""What a worker reports before it reads, and when it copies topics with other keys."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from types import SimpleNamespace

import pytest

from detectors.registry import settings_of
from streamer.app.rekey import Rekeyed
from streamer.app.run import Copying, run
from streamer.clock import SystemClock
from streamer.config import Config
from streamer.errors import BrokerError
from streamer.eventlog.kafka import admin
from streamer.telemetry.metrics import Metrics


def test_a_worker_names_the_default_detectors_that_are_off(monkeypatch, caplog):
    """The line comes before any broker is asked, and not at all where the default ones run."""

    def unreachable(_connection: object) -> None:
        raise BrokerError("no broker here")

    monkeypatch.setattr(admin, "preflight", unreachable)
    caplog.set_level(logging.INFO)
    for config in (Config(detectors={"adwin": settings_of("adwin")}), Config()):
        with pytest.raises(BrokerError):
            run(config, threading.Event(), worker=0, progressed=lambda: None)
    (line,) = [record.getMessage() for record in caplog.records if "detectors:" in record.getMessage()]
    assert line == (
        "detectors: only adwin runs; the defaults shiryaev_roberts, category_rates and rate are off; "
        "write +adwin to add to the defaults"
    )


COPYING = Config.model_validate_json(
    '{"topics": {"p": {}, "driftline.labels": {}}, "rekey": {"driftline.labels": ["l"]}, '
    '"labels": {"repartition": true}}'
)


def held(*units: str) -> SimpleNamespace:
    """A service with these units."""
    return SimpleNamespace(units=dict.fromkeys(units))


def until_dead(copying: Copying) -> None:
    assert copying._thread is not None
    copying._thread.join(10)
    assert not copying._thread.is_alive()


def test_the_worker_with_the_decide_unit_copies_until_another_has_it(monkeypatch):
    """It shows lag, records and its last commit as the unit `rekey`, and takes them off when it gives the unit away."""
    begun = threading.Event()

    def copy(_config, _clock, *, until_end, stop, progress):
        assert not until_end
        progress(Rekeyed(records=7, copies=7, unreadable=Counter({("l", "bad_json"): 2}), behind={("l", 5): 3}))
        begun.set()
        stop.wait(10)

    monkeypatch.setattr("streamer.app.run.rekey", copy)
    metrics = Metrics()
    copying = Copying(COPYING, SystemClock(), metrics)
    copying.on_turn(held("detect-0"))
    assert not begun.is_set()
    copying.on_turn(held("detect-0", "decide"))
    assert begun.wait(10)
    read, of_unit = metrics.registry.get_sample_value, {"unit": "rekey"}
    assert read("driftline_lag_records", {"topic": "l", "partition": "5"} | of_unit) == 3
    assert read("driftline_rekeyed_records_total") == 7
    assert read("driftline_dead_letters_total", {"topic": "l", "reason": "bad_json"}) == 2
    assert read("driftline_commit_timestamp_seconds", of_unit) > 0
    copying.on_turn(held("detect-0"))
    until_dead(copying)
    assert read("driftline_lag_records", {"topic": "l", "partition": "5"} | of_unit) is None
    assert read("driftline_commit_timestamp_seconds", of_unit) is None
    copying.on_turn(held("detect-0"))
    copying.close()


def test_a_failure_of_the_copying_ends_the_worker_that_still_has_the_unit(monkeypatch):
    """A predecessor that was fenced has lost the unit, and goes on with its other ones."""

    def fails(*_, **__):
        raise BrokerError("fenced")

    monkeypatch.setattr("streamer.app.run.rekey", fails)
    copying = Copying(COPYING, SystemClock(), Metrics())
    copying.on_turn(held("decide"))
    until_dead(copying)
    copying.on_turn(held("detect-1"))
    copying.on_turn(held("decide"))
    until_dead(copying)
    with pytest.raises(BrokerError, match="fenced"):
        copying.on_turn(held("decide"))
