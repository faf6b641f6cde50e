"""Log lines: one logger, `driftline`, and on each line the component that writes it.

A component is a room of this package, such as `runtime`. On a line of another library it is the name of that library's
logger. So one filter on the logger's name finds all lines of Driftline, and one on the component those of a part.
"""

from __future__ import annotations

import logging
from typing import Final

LOGGER: Final = "driftline"
FORMAT: Final = "%(asctime)s %(levelname)s driftline: [%(component)s] %(message)s"

ComponentLog = logging.LoggerAdapter[logging.Logger]


def log_of(component: str) -> ComponentLog:
    """The logger as one component writes to it: each record has the attribute `component`."""
    return logging.LoggerAdapter(logging.getLogger(LOGGER), {"component": component})


def log_to_stderr() -> None:
    """Write the lines of this process from INFO on to standard error. For commands; a library leaves this to others."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(_with_component)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _with_component(record: logging.LogRecord) -> bool:
    record.component = getattr(record, "component", record.name)
    return True
