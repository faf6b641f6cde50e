"""`driftline approve`, `reject`, `promote` and `result`: the decisions of people and the reports of trainers."""

from __future__ import annotations

import click

from streamer.commands.console.control_options import ANSWERS, ControlOptions, request_options, send_control
from streamer.commands.console.lines import echo_line


@click.command(epilog=ANSWERS)
@request_options
def approve(options: ControlOptions, request_id: str) -> None:
    """Approve a retrain request, so that the trainer may start; or release a held storm or source."""
    echo_line(send_control("approve", options, request_id))


@click.command(epilog=ANSWERS)
@request_options
def reject(options: ControlOptions, request_id: str) -> None:
    """Reject a request: no training, or no promotion of the challenger. This ends the request.

    With the id of a held storm or source, none of its models is retrained.
    """
    echo_line(send_control("reject", options, request_id))


@click.command(epilog=ANSWERS)
@request_options
@click.option("--version", "model_version", default="", metavar="VERSION", help="The version that serves now.")
def promote(options: ControlOptions, request_id: str, model_version: str) -> None:
    """Report that the challenger serves from now on.

    Closes the incident. Further drift then shows whether the retrain helped.
    """
    echo_line(send_control("promote", options, request_id, model_version=model_version))


EXAMPLE = """\b
Example:
    driftline result retrain-bus-017-8648e6d60eda4886 trained --actor airflow --version 8 \\
        --champion mae=61.0 --challenger mae=48.5
"""


def _metrics(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    metrics = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            metrics[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(f"{text!r} must have the form NAME=NUMBER, such as mae=48.5")
    return metrics


@click.command(epilog=f"{EXAMPLE}\n{ANSWERS}")
@request_options
@click.argument("outcome", type=click.Choice(["started", "trained", "failed"]))
@click.option("--version", "model_version", default="", metavar="VERSION", help="The version of the challenger.")
@click.option(
    "--champion", multiple=True, callback=_metrics, metavar="NAME=NUMBER", help="A hold-out metric of the champion."
)
@click.option(
    "--challenger", multiple=True, callback=_metrics, metavar="NAME=NUMBER", help="The same metric of the challenger."
)
def result(
    options: ControlOptions,
    request_id: str,
    outcome: str,
    model_version: str,
    champion: dict[str, float],
    challenger: dict[str, float],
) -> None:
    """Report the training for a request: that it has started, its result, or that it failed."""
    if outcome != "trained" and (model_version or champion or challenger):
        raise click.UsageError("--version, --champion and --challenger go with `trained` only.")
    report = {"model_version": model_version, "champion": champion, "challenger": challenger}
    echo_line(send_control(outcome, options, request_id, **report))
