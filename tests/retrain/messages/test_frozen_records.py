"""Values that are made by the million behave as frozen dataclasses do, but for the check at run time."""

from dataclasses import replace
from subprocess import run
from sys import executable

from retrain.messages.shift import Shift
from streamer.testing.alerts import firing

CHANGE = (
    "from retrain.messages.lifecycle import Trigger\n\ndef change(waiter: Trigger) -> None:\n    waiter.source = ''\n"
)


def test_records_are_values():
    """They are equal, and of one hash, where all fields are; they have slots, and are changed by making another."""
    move = Shift.of(firing("1h"))
    assert move == Shift.of(firing("1h")) != replace(move, effect=2.0)
    assert len({move, Shift.of(firing("1h")), replace(move, effect=2.0)}) == 2
    assert not hasattr(move, "__dict__")


def test_the_type_checker_keeps_records_from_being_changed():
    """To set a field of one is an error of `make check`, as of any frozen dataclass."""
    command = [executable, "-m", "mypy", "--config-file=", "--cache-dir=/dev/null", "-c", CHANGE]
    checked = run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert 'Property "source" defined in "Trigger" is read-only' in checked.stdout
