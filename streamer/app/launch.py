"""The launcher on Kafka: the composition root of `driftline launch`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from streamer.clock import Clock, SystemClock
from streamer.config import Config
from streamer.contracts.alert_reader import Unreadable
from streamer.contracts.control_reader import read_control
from streamer.errors import UsageError
from streamer.eventlog.kafka.reader import KafkaReader
from streamer.eventlog.kafka.transfer import Copy, Transfer
from streamer.events import time_of
from streamer.launch.base import TargetDown, Tools
from streamer.launch.http import Http
from streamer.launch.launcher import Launcher, Report
from streamer.launch.ledger import Ledger
from streamer.launch.settings import LaunchRule, chosen
from streamer.logs import log_of, one_line

log = log_of("launch")

POLL_S: Final = 0.2


class ControlTopic:
    """Appends control records, each keyed by its request."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._topic, self._clock = config.outputs.control, clock
        self._transfer = Transfer(config.kafka.connection(), [self._topic])

    def append(self, reports: list[Report]) -> None:
        """Append these; one of a trainer that the service could not read becomes `failed`. Raises `BrokerError`."""
        now_ms = int(self._clock.now_s() * 1000)
        copies = []
        for report in reports:
            key, value = report["request_id"].encode(), _value_of(report, now_ms)
            copies.append(Copy(self._topic, None, None, key, value, ()))
        self._transfer.write(copies)

    def close(self) -> None:
        """Let the client go."""
        self._transfer.close()


def _value_of(report: Report, now_ms: int) -> bytes:
    if "raw" not in report:
        return msgspec.json.encode(report)
    raw: bytes = report["raw"]
    control = read_control(raw, now_ms)
    if not isinstance(control, Unreadable) and control.request_id == report["request_id"]:
        return raw
    why = control.detail if isinstance(control, Unreadable) else f"it is about {control.request_id}"
    about: dict[str, Any] = {"kind": "failed", "request_id": report["request_id"], "actor": "driftline-launch"}
    return msgspec.json.encode(
        {**about, "at": time_of(now_ms), "comment": f"the report of the trainer is unusable: {why}"}
    )


def launch(config: Config, config_file: str, folder: Path, stop: threading.Event) -> None:
    """Launch until `stop` is set. Raises `UsageError` for unusable settings, and `BrokerError`."""
    clock, outputs = SystemClock(), config.outputs
    tools = Tools(Http(), folder, str(Path(config_file).absolute()))
    check_launch(config.launch, tools)
    control = ControlTopic(config, clock)
    reader = KafkaReader(config.kafka.connection(), [outputs.requests, outputs.decisions, outputs.control])
    ledger = Ledger(outputs)
    launcher = Launcher(ledger, config.launch, tools, clock, control.append)
    try:
        while not reader.at_end() and not stop.is_set():
            for records in reader.poll(POLL_S):
                ledger.add(records)
        log.info("launching for %s; %d requests are open", ", ".join(config.launch), len(ledger.tasks))
        while not stop.is_set():
            for records in reader.poll(POLL_S):
                ledger.add(records)
            launcher.turn()
        launcher.close()
    finally:
        reader.close()
        control.close()
    log.info("stopped; the runs go on")


def check_launch(rules: dict[str, LaunchRule], tools: Tools) -> None:
    """Check that there is something to launch, and that its secrets are there. Raises `UsageError`."""
    if not rules:
        raise UsageError('nothing is configured to launch: add `launch: {"*": {train: {command: [python, train.py]}}}`')
    for pattern, rule in rules.items():
        for section in filter(None, (rule.train, rule.release, rule.registry)):
            name, settings = chosen(section)
            for setting in [one for one in getattr(settings, "__slots__", ()) if one.endswith("_env")]:
                variable = getattr(settings, setting)
                try:
                    if variable is not None:
                        tools.secret(variable)
                except TargetDown as problem:
                    raise UsageError(f"launch.{pattern}: {name}.{setting}: {one_line(str(problem))}") from None
