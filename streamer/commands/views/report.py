"""`driftline report` and `driftline plot`: the fleet as one HTML file, and one column as a picture."""

from __future__ import annotations

import click

from streamer.commands.console.options import DEFAULT_CONFIG
from streamer.commands.console.published import config_of, limits_of, records_options, source_of

EXAMPLE = """\b
Examples:
    driftline replay june.parquet > june.jsonl; driftline report june.jsonl --out june.html
    driftline report --title "Fleet of buses, June"
"""


@click.command(epilog=EXAMPLE)
@records_options
@click.option(
    "--out", metavar="FILE", default="report.html", show_default=True, type=click.Path(dir_okay=False),
    help="The HTML file; one that exists is replaced.",
)  # fmt: skip
@click.option("--title", metavar="TEXT", default="Drift report", show_default=True, help="The title of the report.")
def report(replayed: str | None, config_file: str | None, out: str, title: str) -> None:
    """Write a report of the fleet as one HTML file.

    It shows the models that need a look, the most pressing first, what moved in each, and its story. The file needs no
    server and no network. The records come from the topics of the service, or from REPLAYED: the output of `driftline
    replay`, or a recording of these topics. With a configuration, the reasons name its limits, and columns stand
    by effect times the importance in its rules.
    """
    from streamer.audit.reasons import many
    from streamer.commands.console.lines import echo_line, write_file
    from streamer.page.report import write_report

    config = config_of(replayed, config_file)
    limits = limits_of(replayed, config_file, config)
    html, summary = write_report(source_of(replayed, config), config.outputs, title, limits)
    write_file(out, html.encode())
    echo_line(
        f"{out}: {many(summary.models, 'model')}, {summary.stories:,} with a story, {many(summary.alerts, 'alert')}, "
        f"{len(html.encode()) / 1000:,.0f} kB"
    )


PLOT_EXAMPLE = """\b
Examples:
    driftline plot june.jsonl bus-017 headway_s
    driftline plot bus-017 headway_s --out headway.svg
    driftline plot bus-017 headway_s --out headway.png --dark
"""


@click.command(epilog=PLOT_EXAMPLE)
@click.argument("names", metavar="[REPLAYED] MODEL COLUMN", nargs=-1)
@click.option(
    "--config", "config_file", metavar="FILE",
    help=f"The configuration.  [default: {DEFAULT_CONFIG}; with REPLAYED, none: topics have their default names]",
)  # fmt: skip
@click.option("--segment", default="", metavar="NAME", help="A segment of the model, instead of the whole.")
@click.option(
    "--out", metavar="FILE", default="column.svg", show_default=True, type=click.Path(dir_okay=False),
    help="The file, SVG or PNG by its ending; one that exists is replaced.",
)  # fmt: skip
@click.option("--dark", is_flag=True, help="Light on dark.")
def plot(names: tuple[str, ...], config_file: str | None, segment: str, out: str, dark: bool) -> None:
    """Draw COLUMN of MODEL as one SVG or PNG file, for chats and tickets.

    It shows what moved in a sentence and in numbers, and both distributions on one axis, before and after the onset.
    With profiles, the intervals stand below. The file needs nothing else. The records come from the topics of the
    service, or from REPLAYED: the output of `driftline replay`, or a recording of these topics.
    """
    from streamer.audit.source import KINDS, PROFILE
    from streamer.commands.console.lines import echo_line, write_file
    from streamer.page.plot import plot as drawn
    from streamer.page.plot import png_of

    if len(names) not in (2, 3):
        raise click.UsageError("give MODEL and COLUMN, and before them a file if the records are in one")
    *files, model, column = names
    replayed = files[0] if files else None
    config = config_of(replayed, config_file)
    svg = drawn(source_of(replayed, config, (*KINDS, PROFILE)), config.outputs, model, column, segment, dark)
    picture = png_of(svg) if out.lower().endswith(".png") else svg.encode()
    write_file(out, picture)
    echo_line(f"{out}: {column} of {model}, {len(picture) / 1000:,.0f} kB")
