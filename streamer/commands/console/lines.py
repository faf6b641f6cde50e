"""Lines for people. A text of a record in them can't control the terminal, nor add a line."""

from __future__ import annotations

import click


def echo_line(text: str, err: bool = False) -> None:
    """Write one line for people. JSON lines go to `click.echo` as they are."""
    from streamer.logs import one_line  # `logging` is not needed for --help

    click.echo(one_line(text), err=err)


def echo_report(report: str) -> None:
    """Write a report of several lines, such as the problems of a configuration, to standard error."""
    for line in report.split("\n"):
        echo_line(line, err=True)


def write_file(path: str, data: bytes) -> None:
    """Write a file that an option names. Raises `UsageError`."""
    from pathlib import Path

    from streamer.errors import UsageError

    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}") from error
