"""`driftline result`: what the trainer has to tell."""

from __future__ import annotations

import click

from streamer.console.control_options import say, saying

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
            raise click.BadParameter(f"{text!r} is not like mae=48.5")
    return metrics


@click.command(epilog=EXAMPLE)
@saying
@click.argument("outcome", type=click.Choice(["started", "trained", "failed"]))
@click.option("--version", "model_version", default="", metavar="VERSION", help="Of what was trained.")
@click.option("--champion", multiple=True, callback=_metrics, metavar="NAME=NUMBER", help="A metric on the hold-out.")
@click.option("--challenger", multiple=True, callback=_metrics, metavar="NAME=NUMBER", help="The same of the new one.")
def result(
    config_file: str,
    request_id: str,
    outcome: str,
    actor: str,
    comment: str,
    at: str | None,
    model_version: str,
    champion: dict[str, float],
    challenger: dict[str, float],
) -> None:
    """Tell how the training for a request goes: that it has started, what came of it, or that it failed."""
    if outcome != "trained" and (model_version or champion or challenger):
        raise click.UsageError("A version and metrics go with `trained` alone.")
    told = {"model_version": model_version, "champion": champion, "challenger": challenger}
    say(outcome, config_file, request_id, at, "requests", actor=actor, comment=comment, **told)
