"""Log lines: one logger, `driftline`, and on each line the component that writes it.

A component is a room of this package, such as `runtime`. On a line of another library it is the name of that library's
logger. So one filter on the logger's name finds all lines of Driftline, and one on the component those of a part.

Messages name models, columns and topics, and whoever writes events chooses these names. A message is therefore one
line, in which `one_line` shows what would control a terminal.
"""

from __future__ import annotations

import json
import logging
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

LOGGER: Final = "driftline"
FORMAT: Final = "%(asctime)s %(levelname)s driftline: [%(component)s] %(message)s"
VARIABLE: Final = "DRIFTLINE_LOG_FORMAT"  # `json`: an object a line; `text` by default
ESCAPED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # general categories of Unicode
INDENT: Final = "  "  # of the lines of a traceback; a line without it begins a record

ComponentLog = logging.LoggerAdapter[logging.Logger]


def log_of(component: str) -> ComponentLog:
    """The logger as one component writes to it: each record has the attribute `component`."""
    return logging.LoggerAdapter(logging.getLogger(LOGGER), {"component": component})


def one_line(text: str) -> str:
    r"""The text as one line of a terminal that it can't control; printable text stays as it is.

    Control characters, line and paragraph separators, format characters (writing direction, zero width) and surrogates
    become escapes, as in a string of Python: `\x1b`, `\n`, `\u202e`. The categories are those of the Unicode
    Standard, section 4.5. Escaping again changes nothing.
    """
    if text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in ESCAPED else char for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


@contextmanager
def silenced() -> Iterator[None]:
    """Within it, only errors are logged: for trials whose warnings are about no setting of anybody."""
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class OneLineFormatter(logging.Formatter):
    """Formats a message as one line; the lines of a traceback follow it, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name of the base class
        """The line of the record, without its traceback."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- the name of the base class
        """The traceback. Its indentation sets it off, as the text of an error may resemble a log line."""
        return "\n".join(INDENT + one_line(line) for line in super().formatException(ei).split("\n"))


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, component, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        more = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        component = str(getattr(record, "component", record.name))
        return json_line(record.levelname, component, record.getMessage(), record.created, **more)


def json_line(level: str, component: str, message: str, at_s: float, **more: object) -> str:
    """One line of the log as a JSON object; `at_s` is in seconds since 1970."""
    at = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    line = {"time": at, "level": level.lower(), "logger": LOGGER, "component": component, "message": message}
    return json.dumps(line | more, ensure_ascii=False)


def wants_json() -> bool:
    """Whether the environment asks for JSON."""
    return os.environ.get(VARIABLE, "").strip().lower() == "json"


def log_to_stderr() -> None:
    """Write the lines of this process from INFO on to standard error. For commands; a library leaves this to others.

    As text, or as JSON where the variable `VARIABLE` says so, as in the container image.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if wants_json() else OneLineFormatter(FORMAT))
    handler.addFilter(_with_component)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if (named := os.environ.get(VARIABLE, "").strip().lower()) not in {"", "json", "text"}:
        log_of("logs").warning("%s is %r, but must be json or text: the lines are text", VARIABLE, named)


def _with_component(record: logging.LogRecord) -> bool:
    record.component = getattr(record, "component", record.name)
    return True
