"""What a worker reports before it reads."""

from __future__ import annotations

import logging
import threading

import pytest

from detectors.registry import settings_of
from streamer.app.run import run
from streamer.config import Config
from streamer.errors import BrokerError
from streamer.eventlog.kafka import admin


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
