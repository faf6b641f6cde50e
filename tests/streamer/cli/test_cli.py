"""The command line as a whole: help, errors and exit codes."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys

import click
import pytest
from cli_kit import cli

from streamer.app.memory import OBJECTS
from streamer.cli import main
from streamer.errors import BrokerError, GapError, InDoubtError, UsageError

HEAVY = ("scipy", "river", "numba", "pyarrow", "kafka", "pydantic", "numpy", "msgspec", "rich", "ruamel")
COMMANDS = ("run", "replay", "record", "check-config", "topics", "requests", "approve", "reject", "result", "promote")


def test_every_command_looks_for_cycles_less_often():
    """A state that grows is not gone through for every 700 new objects; the older generations go by Python's rule."""
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)
        cli("check-config", "there-is-none.yaml")
        assert gc.get_threshold() == (OBJECTS, 10, 10)
    finally:
        gc.set_threshold(*before)


def test_help_imports_nothing_heavy():
    """`driftline --help`, of the whole and of each command, loads no library that takes long to load."""
    code = f"""
import sys
from streamer.cli import main
for command in {COMMANDS!r}:
    main([command, '--help'], standalone_mode=False)
main(['--help'], standalone_mode=False)
print(sorted(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "[]\n"


def test_help_answers_at_once():
    """`driftline --help` takes less than 0.3 s of a processor, interpreter included, the best of five.

    Time of the processor, as other work on the machine adds to that of the clock.
    """
    took_s = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "streamer.cli", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took_s) < 0.3


def test_help_documents_the_exit_codes():
    """Every exit code of the errors' tree is in the help text."""
    text = cli("--help").stdout
    for error in (UsageError, BrokerError, GapError, InDoubtError):
        assert f"\n   {error.exit_code:4}  " in text
    assert all(command in text for command in COMMANDS)


def test_version():
    """`--version` names program and version."""
    assert cli("--version").stdout.split()[0] == "driftline"


@pytest.mark.parametrize("error", [UsageError, BrokerError, GapError, InDoubtError])
def test_an_expected_error_is_one_sentence(error, fake_app):
    """It goes to standard error without a traceback, and its class gives the exit code."""
    fake_app.fails_with = error("the sky fell. Look up")
    ran = cli("replay", "any.parquet")
    assert (ran.exit_code, ran.stdout) == (error.exit_code, "")
    assert ran.stderr == "driftline: the sky fell. Look up\n"


def test_an_unexpected_error_keeps_its_traceback():
    """A bug is shown whole, with exit code 1."""
    code = """
import sys, types
app = sys.modules['streamer.app.replay'] = types.ModuleType('streamer.app.replay')
def replay(*_):
    raise ZeroDivisionError('surprise')
app.replay = replay
from streamer.cli import main
main(['replay', 'any.parquet'])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "ZeroDivisionError: surprise" in ran.stderr


@pytest.mark.parametrize(
    "arguments", [("unknown",), ("replay",), ("replay", "--nope"), ("record",), ("record", "topic", "--out", "x")]
)
def test_a_wrong_command_line_is_a_usage_error(arguments):
    """Unknown commands and options, and missing arguments, end with exit code 2."""
    ran = cli(*arguments)
    assert ran.exit_code == 2
    assert "Traceback" not in ran.stderr


def options(group=main, path=""):
    """Every visible option of every command, with the name of the command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from options(command, f"{path}{name} ")
        else:
            mine = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
            yield from ((f"{path}{name}", one) for one in mine)


def test_every_option_is_described():
    """Each option of each command has a help text, which is a sentence."""
    assert [(name, one.name) for name, one in options() if not (one.help or "").strip()] == []
    texts = [(one.help or "").partition("  [default")[0] for _, one in options()]
    assert [text for text in texts if not text.endswith(".")] == []
