"""`driftline requests` and `driftline window`: the states of retrain requests, and the data to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.audit.requests import RequestStatus
    from streamer.config import Config
    from streamer.training.read import WrittenWindow

WINDOW_EXAMPLE = """\b
Examples:
    driftline window retrain-bus-017-8648e6d60eda4886 --out training --holdout 0.2
    driftline window requests/retrain-bus-017-8648e6d60eda4886.json --recording june.parquet --out training
"""
HEAD = ("state", "since", "until", "model", "request", "by")


@click.command()
@config_option("The configuration of the service.")
@click.option("--all", "show_all", is_flag=True, help="Also list requests that have ended.")
@click.option("--model", metavar="NAME", help="List this model only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on each line.")
def requests(config_file: str, show_all: bool, model: str | None, as_json: bool) -> None:
    """List retrain requests with their states, the latest change last.

    Held storms and sources are included under the id of their incident: `approve` releases them, `reject` dismisses
    them. `until` is the event time at which the state ends without a command.
    """
    import msgspec

    from streamer.commands.console.text_table import table
    from streamer.config import load_config

    config = load_config(config_file)
    wanted = [one for one in _statuses(config) if (show_all or not one.is_over) and model in {None, one.model_id}]
    if as_json:
        for one in wanted:
            click.echo(msgspec.json.encode(one).decode())
    elif wanted:
        for line in table(list(rows(wanted))):
            echo_line(line)
    else:
        click.echo("no open request; --all also lists those that have ended", err=True)


def _statuses(config: Config) -> Sequence[RequestStatus]:
    from streamer.audit.requests import RequestLedger
    from streamer.eventlog.kafka.reader import read_to_end

    ledger = RequestLedger(config.outputs)
    topics = (config.outputs.requests, config.outputs.incidents, config.outputs.decisions)
    ledger.read(read_to_end(config.kafka.connection(), topics))
    return ledger.statuses()


def rows(statuses: Sequence[RequestStatus]) -> Iterator[tuple[str, ...]]:
    """The rows of the list, the head first."""
    yield HEAD
    for one in statuses:
        until = f"{one.answer_by:%Y-%m-%d %H:%M}" if one.answer_by else "-"
        since = f"{one.since:%Y-%m-%d %H:%M}"
        yield one.state.value, since, until, one.model_id, one.request_id, one.actor or "-"


@click.command(epilog=WINDOW_EXAMPLE)
@click.argument("request", metavar="REQUEST")
@click.option("--out", metavar="DIR", required=True, help="The folder for the Parquet files.")
@config_option("The configuration of the service; for recordings of canonical events, none is needed.", default=None)
@click.option(
    "--recording", "recordings", metavar="FILE", multiple=True, help="Read this recording instead of the broker."
)
@click.option("--topic", metavar="NAME", help="The topic of recordings that name none (JSON lines of events).")
@click.option("--history", is_flag=True, help="Also take the events from before the drift that the request names.")
@click.option(
    "--until",
    type=click.Choice(["request", "now"]),
    default="request",
    show_default=True,
    help="Where the rows end: with the windows of the request, or with the topics.",
)
@click.option(
    "--holdout",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    default=0.0,
    help="Put this share of the rows, the latest by event time, into a file of their own.",
)
@click.option("--partial", is_flag=True, help="Take what is there where retention has deleted a part.")
def window(
    request: str,
    out: str,
    config_file: str | None,
    recordings: tuple[str, ...],
    topic: str | None,
    history: bool,
    until: str,
    holdout: float,
    partial: bool,
) -> None:
    """Write the training data of REQUEST, an id or a file that holds the request, as Parquet.

    Each row is a prediction in the windows of the request: its event time, segment and features, and the label that
    joined it by the rules of the service. DIR gets window.parquet, or with --holdout train.parquet and holdout.parquet.
    Their metadata hold the request with its evidence, the offsets that were read, and digests of both.
    """
    from streamer.commands.console.progress import progress
    from streamer.training.read import write_window
    from streamer.training.window import WindowOptions

    options = WindowOptions(history, until == "now", holdout, partial)
    with progress("window") as report:
        found = write_window(
            request, out, config=config_file, recordings=recordings, topic=topic, options=options, report=report
        )
    for line in window_lines(found):
        echo_line(line)


def window_lines(found: WrittenWindow) -> Iterator[str]:
    """What was written: one line a file, then the whole."""
    from streamer.events import time_of

    for path, rows in found.files.items():
        yield f"{path}: {rows:,} rows"
    first, last = map(time_of, found.span)
    dead = f"; {found.dead_letters:,} unreadable records left out" if found.dead_letters else ""
    yield (
        f"{found.request.request_id}: {found.rows:,} rows of {found.request.model_id}, "
        f"{found.labelled:,} with a label, from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC{dead}"
    )
