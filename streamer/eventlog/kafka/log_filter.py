"""Keeps kafka-python's own log lines few and free of secrets.

While a broker is down the client writes thousands of equal lines, and at DEBUG it prints passwords, keys and values.
Here every line of its loggers passes one gate: nothing below WARNING, and no line of code speaks more often than once
in `INTERVAL_S`.
"""

from __future__ import annotations

import logging

INTERVAL_S = 10.0
HARMLESS = ("UnstableOffsetCommitError",)  # said at every commit that is read back before its markers are everywhere
CLIENT_LOGGER = "kafka"

log = logging.getLogger(__name__)


def calm_kafka_logs() -> None:
    """Put the gate in place; what passes appears under the client's own logger names. A second call changes nothing."""
    client = logging.getLogger(CLIENT_LOGGER)
    client.setLevel(logging.WARNING)
    client.propagate = False
    if not any(isinstance(handler, Gate) for handler in client.handlers):
        client.addHandler(Gate())


class Gate(logging.Handler):
    """Hands records on to our own logger, each line of code once an interval, and then with the number left out."""

    def __init__(self) -> None:
        # The level holds also for a child logger that somebody has set to DEBUG.
        super().__init__(logging.WARNING)
        # Bounded by the number of logging calls in the client's code.
        self._opens_at_s: dict[tuple[str, int], float] = {}
        self._left_out: dict[tuple[str, int], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line on, unless it is harmless or its place in the code has spoken lately."""
        if any(name in record.getMessage() for name in HARMLESS):
            return
        line = (record.pathname, record.lineno)
        if record.created < self._opens_at_s.get(line, 0.0):
            self._left_out[line] = self._left_out.get(line, 0) + 1
            return
        self._opens_at_s[line] = record.created + INTERVAL_S
        if left_out := self._left_out.pop(line, 0):
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it were left out)", None
        log.handle(record)
