"""The lines that a command logs."""

import re
import subprocess
import sys
from pathlib import Path

import streamer

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
    """Every module writes through `log_of`, with its own room as the component."""
    root = Path(streamer.__file__).parent
    for path in sorted(root.rglob("*.py")):
        source = path.read_text()
        assert "getLogger(__name__)" not in source, path
        for component in re.findall(r'^log = log_of\("(\w+)"\)', source, re.MULTILINE):
            assert component == path.relative_to(root).with_suffix("").parts[0], path
