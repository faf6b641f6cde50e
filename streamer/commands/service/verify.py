"""`driftline verify`: the comparison of published outputs with a second fold of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option
from streamer.commands.console.progress import progress

if TYPE_CHECKING:
    from streamer.runtime.recovery import UnitReport


@click.command()
@config_option("The configuration of the service.")
@click.option(
    "--unit", "names", multiple=True, metavar="NAME", help="Verify this unit only, such as decide or detect-3."
)
def verify(config_file: str, names: tuple[str, ...]) -> None:
    """Fold the log again and compare with the published outputs.

    Every epoch in the history holds a digest of its outputs. The command prints one line for each unit, and the exit
    code is 5 when an epoch gives other outputs. It writes nothing, and the service may keep running.
    """
    from streamer.app.folds import open_archive
    from streamer.config import load_config
    from streamer.errors import DivergenceError
    from streamer.runtime.recovery import verify as verify_unit

    config = load_config(config_file)
    differing = 0
    with open_archive(config) as (recoveries, units):
        for name in chosen(names, units):
            with progress(name) as report:
                verdict = verify_unit(recoveries, name, report)
            echo_line(line(verdict))
            differing += len(verdict.differing)
    if differing:
        raise DivergenceError(
            f"{differing} epochs give other outputs than were published: the training reference has changed, the "
            "records have changed, or another version of Driftline published them"
        )


def chosen(names: tuple[str, ...], units: list[str]) -> list[str]:
    """The named units, or all without names. Raises `UsageError` for one that does not exist."""
    from streamer.config.problems import near
    from streamer.errors import UsageError

    for name in names:
        if name not in units:
            guess = near(name, units)
            raise UsageError(f"there is no unit {name}{f'; did you mean {guess}?' if guess else ''}")
    return [unit for unit in units if not names or unit in names]


def line(verdict: UnitReport) -> str:
    """The result of one unit on one line."""
    n = verdict.last - verdict.first + 1
    if not n:
        return f"{verdict.unit}: no epoch to fold again"
    what = f"{verdict.unit}: epochs {verdict.first:,} to {verdict.last:,}, {verdict.outputs:,} outputs"
    if not verdict.differing:
        return f"{what}, all as published"
    first = verdict.differing[0]
    return f"{what}; {len(verdict.differing)} differ, first epoch {first.number:,}, which ends at {dict(first.ends)}"
