"""`driftline verify`: whether the log, folded again, gives what was published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.console.options import config_option
from streamer.console.progress import progress

if TYPE_CHECKING:
    from streamer.runtime.verify import UnitReport


@click.command()
@config_option("The configuration of the service.")
@click.option("--unit", "names", multiple=True, metavar="NAME", help="Only this unit, such as decide or detect-3.")
def verify(config_file: str, names: tuple[str, ...]) -> None:
    """Fold the log again and compare with what the service has published.

    Every epoch in the history holds a digest of its outputs. A line for each unit; exit code 5 when an epoch gives
    something else than it gave. Nothing is written, and the service may go on running.
    """
    from streamer.app.offline import open_archive
    from streamer.config import load_config
    from streamer.errors import DivergenceError
    from streamer.runtime.verify import verify as verify_unit

    config = load_config(config_file)
    differing = 0
    with open_archive(config) as (recoveries, units):
        for name in chosen(names, units):
            with progress(name) as report:
                verdict = verify_unit(recoveries, name, report)
            click.echo(line(verdict))
            differing += len(verdict.differing)
    if differing:
        raise DivergenceError(
            f"{differing} epochs give other outputs than were published: the training reference is another one, the "
            "records were changed, or this version folds them otherwise than the one that published"
        )


def chosen(names: tuple[str, ...], units: list[str]) -> list[str]:
    """The units that were asked for; all of them, if none was. Raises `UsageError` for one that is not there."""
    from streamer.config.problems import near
    from streamer.errors import UsageError

    for name in names:
        if name not in units:
            guess = near(name, units)
            raise UsageError(f"there is no unit {name}{f'; did you mean {guess}?' if guess else ''}")
    return [unit for unit in units if not names or unit in names]


def line(verdict: UnitReport) -> str:
    """What came of one unit, for people."""
    n = verdict.last - verdict.first + 1
    if not n:
        return f"{verdict.unit}: no epoch to fold again"
    what = f"{verdict.unit}: epochs {verdict.first:,} to {verdict.last:,}, {verdict.outputs:,} outputs"
    if not verdict.differing:
        return f"{what}, all as published"
    first = verdict.differing[0]
    return f"{what}; {len(verdict.differing)} differ, first epoch {first.number:,}, which ends at {dict(first.ends)}"
