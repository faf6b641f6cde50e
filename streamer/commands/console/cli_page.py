"""The reference page of the commands, `docs/cli.md`, generated from their help texts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import groupby
from textwrap import dedent, fill
from typing import Final

import click

_HEAD: Final = """\
# Commands

Generated from the commands in the code by `make docs`. `driftline COMMAND --help` shows the same text.

| command | purpose |
|---|---|"""
_WIDTH: Final = 120
_VERBATIM: Final = "\b"  # click keeps the line ends of a paragraph that begins with it
_DEFAULT: Final = re.compile(r"\s*\[default: (?P<default>.*)\]$")


def page(main: click.Group, name: str = "driftline") -> str:
    """`docs/cli.md`: an index, the exit codes in the epilog of `main`, and a section for each visible command."""
    found = list(_commands(main, name))
    lines = [_HEAD, *(_index_row(full, command) for full, command in found)]
    lines += ["", "## Exit codes\n", *list(_epilog(main))[1:]]
    for full, command in found:
        lines += _section(full, command)
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Visible commands with their full names; a subgroup is replaced by its commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")
        elif command is not None and not command.hidden:
            yield f"{prefix} {name}", command


def _index_row(name: str, command: click.Command) -> str:
    first = re.split(r"(?<=\.)\s", " ".join(_paragraphs(command)[0].split()))[0]
    return f"| [`{name}`](#{name.replace(' ', '-')}) | {_escaped(first)} |"


def _section(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield f"## {name}\n"
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```\n"
    for text in _paragraphs(command):
        yield fill(_escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if options:
        yield "| option | default | purpose |\n|---|---|---|"
        yield from (_option_row(option, context) for option in options)
        yield ""
    yield from _epilog(command)


def _option_row(option: click.Option, context: click.Context) -> str:
    text, default = option.help or "", ""
    if stated := _DEFAULT.search(text):
        text, default = text[: stated.start()], stated["default"]
    elif option.required:
        default = "required"
    elif option.show_default:
        default = f"`{option.default}`"
    value = "" if option.is_flag else f" {option.make_metavar(context)}".replace("|", "\\|")
    return f"| `{', '.join(option.opts)}{value}` | {_escaped(default)} | {_escaped(text + _limits(option))} |"


def _limits(option: click.Option) -> str:
    kind, repeated = option.type, " May be repeated." if option.multiple else ""
    if not isinstance(kind, click.IntRange) or kind.min is None:
        return repeated
    return f" At least {kind.min}.{repeated}" if kind.max is None else f" {kind.min:,} to {kind.max:,}.{repeated}"


def _epilog(command: click.Command) -> Iterator[str]:
    """Indented lines become a block, others the line above it."""
    text = inspect.cleandoc(command.epilog or "").replace(_VERBATIM, "")
    for is_block, lines in groupby(text.splitlines(), key=lambda line: not line or line.startswith(" ")):
        part = dedent("\n".join(lines)).strip("\n")
        if part:
            yield f"```text\n{part}\n```\n" if is_block else f"{_escaped(part)}\n"


def _paragraphs(command: click.Command) -> list[str]:
    return [part for part in inspect.cleandoc(command.help or "").split("\n\n") if part]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
