"""What ends a process that hangs."""

import subprocess
import sys

HANGS = """
import time
from streamer.telemetry.health import Watchdog
def a_call_that_never_returns():
    time.sleep(60)
dog = Watchdog(lambda: IDLE_S, hangs_after_s=0.2)
if STOPS:
    dog.stop()
    time.sleep(0.5)
else:
    a_call_that_never_returns()
"""


def ends(idle_s, stops=False):
    script = HANGS.replace("IDLE_S", str(idle_s)).replace("STOPS", str(stops))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)


def test_a_loop_that_hangs_ends_its_process():
    """With the exit code that asks for a fresh start, and the place where it hung."""
    done = ends(idle_s=1000)
    assert done.returncode == 75
    assert "the loop has not turned for 1000 s" in done.stderr
    assert "a_call_that_never_returns" in done.stderr


def test_one_that_turns_or_has_ended_is_left_alone():
    """Neither a loop that turns nor one whose watchdog was stopped is ended."""
    assert ends(idle_s=0.1, stops=True).returncode == 0
    assert ends(idle_s=1000, stops=True).returncode == 0
