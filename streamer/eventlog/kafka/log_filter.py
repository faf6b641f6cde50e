"""A filter that keeps kafka-python's own log lines few and free of secrets.

While a broker is down the client writes thousands of equal lines, and at DEBUG it prints passwords, keys and values.
All its lines pass one gate: it drops lines below WARNING, and passes each line of code at most once in `INTERVAL_S`.
"""

from __future__ import annotations

import logging

from streamer.logs import LOGGER

INTERVAL_S = 10.0
HARMLESS = (
    "UnstableOffsetCommitError",
)  # logged when offsets are read back before all transaction markers are written
CLIENT_LOGGER = "kafka"


def calm_kafka_logs() -> None:
    """Install the gate; lines that pass keep the client's logger names. A second call changes nothing."""
    client = logging.getLogger(CLIENT_LOGGER)
    client.setLevel(logging.WARNING)
    client.propagate = False
    if not any(isinstance(handler, Gate) for handler in client.handlers):
        client.addHandler(Gate())


class Gate(logging.Handler):
    """Passes records to the logger of Driftline, each line of code once an interval, with the number dropped since."""

    def __init__(self) -> None:
        # The level applies also to a child logger that is set to DEBUG.
        super().__init__(logging.WARNING)
        # Bounded by the number of logging calls in the client's code.
        self._opens_at_s: dict[tuple[str, int], float] = {}
        self._dropped: dict[tuple[str, int], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line, unless it is harmless or its line of code was logged within the interval."""
        if any(name in record.getMessage() for name in HARMLESS):
            return
        line = (record.pathname, record.lineno)
        if record.created < self._opens_at_s.get(line, 0.0):
            self._dropped[line] = self._dropped.get(line, 0) + 1
            return
        self._opens_at_s[line] = record.created + INTERVAL_S
        if dropped := self._dropped.pop(line, 0):
            record.msg, record.args = f"{record.getMessage()} ({dropped} similar lines dropped)", None
        logging.getLogger(LOGGER).handle(record)
