"""README stays short, and the pages it hands on to are complete."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from statistics import median

import click
import pytest
from project_tree import ROOT

from streamer import errors
from streamer.cli import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
DEPENDENCIES = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")

BYTES_MAX = 7 * 1024
SENTENCE_WORDS_MEDIAN_MAX = 14


def sentences(markdown: str) -> list[str]:
    """Sentences of the prose of a page: without blocks of code, headings, tables and the targets of links."""
    prose = re.sub(r"^```.*?^```$", "\n", markdown, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^(?:#|\|).*$", "\n", prose, flags=re.MULTILINE)
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=- |\d+\. )", prose))
    return [one for text in paragraphs for one in re.split(r"(?<=[.!?])\s+", text) if re.search(r"\w", one)]


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that can be typed, with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


COMMANDS = dict(commands(main, "driftline"))


def test_sentences_are_found():
    """A page's prose is split at ends of sentences; code, tables and headings do not count."""
    page = "# Head\n\nOne two. Three\nfour [five](a/b.md)!\n\n```\nno prose.\n```\n| a. | b. |\n\n- six\n- seven\n"
    assert sentences(page) == ["One two.", "Three four [five]!", "- six", "- seven"]


def test_the_readme_is_short():
    """README has at most 7 KB, and half of its sentences have 14 words or fewer."""
    assert len(README.encode()) <= BYTES_MAX
    lengths = [len(sentence.split()) for sentence in sentences(README)]
    assert len(lengths) > 20
    assert median(lengths) <= SENTENCE_WORDS_MEDIAN_MAX


def test_every_dependency_has_a_line():
    """Each package we depend on is named in docs/dependencies.md, with what it is for, and no other is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=~! ]", requirement)[0] for requirement in project["dependencies"]]
    listed = re.findall(r"^\| ([\w.-]+) \| \S", DEPENDENCIES, re.MULTILINE)
    assert sorted(listed) == sorted(["package", *names])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section(name):
    """Each command has a section of docs/cli.md, with a row for each of its options."""
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", CLI, re.MULTILINE | re.DOTALL)
    assert found
    visible = [one for one in COMMANDS[name].params if isinstance(one, click.Option) and not one.hidden]
    rows = re.findall(r"^\| `(--[\w-]+)", found[1], re.MULTILINE)
    assert rows == [option.opts[0] for option in visible]


def test_every_exit_code_is_listed():
    """Each exit code of an error stands in docs/cli.md."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    listed = re.findall(r"^ *(\d+)  \w", CLI.split("## Exit codes")[1].split("## driftline")[0], re.MULTILINE)
    assert {str(kind.exit_code) for kind in kinds if issubclass(kind, errors.DriftlineError)} <= set(listed)
