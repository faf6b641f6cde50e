"""`driftline report`: the fleet as one HTML file."""

from __future__ import annotations

import click

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
    replay`, or a recording of these topics. With a configuration, the reasons name its limits.
    """
    from pathlib import Path

    from streamer.audit.reasons import many
    from streamer.commands.console.lines import echo_line
    from streamer.errors import UsageError
    from streamer.page.report import write_report

    config = config_of(replayed, config_file)
    limits = limits_of(replayed, config_file, config)
    html, summary = write_report(source_of(replayed, config), config.outputs, title, limits)
    try:
        Path(out).write_text(html, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} can't be written: {error.strerror or error}") from error
    echo_line(
        f"{out}: {many(summary.models, 'model')}, {summary.stories:,} with a story, {many(summary.alerts, 'alert')}, "
        f"{len(html.encode()) / 1000:,.0f} kB"
    )
