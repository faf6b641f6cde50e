"""The README keeps up with what there is."""

from __future__ import annotations

import re
import tomllib

from click import Context, Group
from project_tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_dependency_has_a_line():
    """Each package we depend on is named in the README's table, with what it is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=~! ]", requirement)[0] for requirement in project["dependencies"]]
    missing = [name for name in names if not re.search(rf"^\| `?{re.escape(name)}`? \| \S", README, re.MULTILINE)]
    assert missing == []


def test_every_command_is_named():
    """Each command of `driftline` appears in the README as it is typed."""
    from streamer.cli import main

    assert isinstance(main, Group)
    commands = main.list_commands(Context(main))
    assert commands
    assert [name for name in commands if f"driftline {name}" not in README] == []
