"""The lines that a command logs."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamer
from streamer.logs import one_line
from streamer.runtime.supervision.stderr_writer import named_line

SPEAKS = """
import logging
from streamer.logs import log_of, log_to_stderr
log_to_stderr()
log_of("runtime").warning("%s restarts", "detect-0")
log_of("app").debug("never seen")
logging.getLogger("urllib3.pool").warning("retrying")
"""


def test_a_line_names_driftline_and_the_component():
    """Of our lines that is the room, of a library's the logger; nothing below INFO is written."""
    done = subprocess.run([sys.executable, "-c", SPEAKS], capture_output=True, text=True, check=True)
    time = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
    assert [time.sub("TIME ", line) for line in done.stderr.splitlines()] == [
        "TIME WARNING driftline: [runtime] detect-0 restarts",
        "TIME WARNING driftline: [urllib3.pool] retrying",
    ]
    assert done.stdout == ""


def test_there_is_one_logger():
    """Every module writes through `log_of`, with its own room, or one inside it, as the component."""
    root = Path(streamer.__file__).parent
    for path in sorted(root.rglob("*.py")):
        source = path.read_text()
        assert "getLogger(__name__)" not in source, path
        for component in re.findall(r'^log = log_of\("(\w+)"\)', source, re.MULTILINE):
            assert component in path.relative_to(root).with_suffix("").parts[:2], path


HOSTILE = """
import logging
from streamer.logs import log_of, log_to_stderr
log_to_stderr()
log_of("decide").warning("model %s", "\\x1b[2J\\u202e\\n2026-01-01 00:00:00,000 WARNING driftline: [app] forged")
try:
    raise ValueError("bad\\x1b[2J\\n2026-01-01 00:00:00,000 WARNING driftline: [app] forged")
except ValueError:
    log_of("decide").exception("failed")
"""


def test_a_message_is_one_line_without_control_characters():
    """A name in a message forges no further line; of a traceback, every line is indented."""
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, check=True)
    first, second, *trace = done.stderr.split("\n")
    assert first.endswith(r"model \x1b[2J\u202e\n2026-01-01 00:00:00,000 WARNING driftline: [app] forged")
    assert second.endswith("[decide] failed")
    assert trace.pop() == ""
    assert trace[-2] == r"  ValueError: bad\x1b[2J"
    assert all(line.startswith("  ") for line in trace)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 5 °C, 東京 🚌 — naïve\u0301", "Straße 5 °C, 東京 🚌 — naïve\u0301"),
        (r"C:\x1b", r"C:\x1b"),
        ("a\tb\r\n\0\x7f\x85\x9b", r"a\tb\r\n\x00\x7f\x85\x9b"),
        ("\u2028\u2029\u202a\u202b\u202c\u202d\u202e", r"\u2028\u2029\u202a\u202b\u202c\u202d\u202e"),
        ("\u2066\u2067\u2068\u2069\u200e\u200f\u061c", r"\u2066\u2067\u2068\u2069\u200e\u200f\u061c"),
        ("\u200b\u2060\ufeff\xad\ud800\U000e0041", r"\u200b\u2060\ufeff\xad\ud800\U000e0041"),
    ],
)
def test_what_controls_a_terminal_is_shown_as_an_escape(text, shown):
    """Line breaks, control characters, writing direction and invisible characters; all else stays."""
    assert one_line(text) == shown


@given(st.text())
def test_escaping_twice_changes_nothing(text):
    """The result is encodable and has nothing left to escape."""
    once = one_line(text)
    assert once.encode().decode() == once
    assert one_line(once) == once


def lines_of_a_process(variable: str) -> list[str]:
    """What a process logs: a message with a line break, and an error."""
    program = (
        "from streamer.logs import log_of, log_to_stderr\n"
        "log_to_stderr()\n"
        "log_of('app').info('two %s', 'lines\\nhere')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: log_of('app').exception('failed')\n"
    )
    environment = os.environ | {"DRIFTLINE_LOG_FORMAT": variable}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return ran.stderr.splitlines()


def test_json_is_one_object_a_line():
    """With time, level, component and message; a traceback is a field of its record."""
    first, second = (json.loads(line) for line in lines_of_a_process("json"))
    assert (first["level"], first["logger"], first["component"]) == ("info", "driftline", "app")
    assert first["message"] == "two lines\nhere"
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert (second["message"], second["level"]) == ("failed", "error")
    assert second["traceback"].endswith("ZeroDivisionError: division by zero")


def test_a_wrong_format_is_named():
    """The lines are text then, and the first one says so."""
    first, *_ = lines_of_a_process("xml")
    assert first.endswith("[logs] DRIFTLINE_LOG_FORMAT is 'xml', but must be json or text: the lines are text")
    assert len(lines_of_a_process("text")) > 2


def test_a_line_of_one_of_several_workers_names_it(monkeypatch):
    """As text before it, or as a field of the object."""
    assert named_line("", b"a") == b"a"
    assert named_line("worker 3", b'{"level": "info"}') == b'worker 3: {"level": "info"}'
    monkeypatch.setenv("DRIFTLINE_LOG_FORMAT", "json")
    assert json.loads(named_line("worker 3", b'{"level": "info"}')) == {"worker": 3, "level": "info"}
    assert json.loads(named_line("ui", b'{"level": "info"}')) == {"process": "ui", "level": "info"}
    assert named_line("worker 3", b"Killed") == b"worker 3: Killed"
