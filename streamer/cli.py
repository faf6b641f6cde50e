"""The command `driftline`: its subcommands, from `streamer/commands/`, and their exit codes.

Nothing heavy is imported here or at the top of a command's file, so `driftline --help` is fast.
"""

from __future__ import annotations

from typing import Any

import click

from streamer.app.memory import collect_cycles_less_often
from streamer.commands.alerts import alerts, incidents
from streamer.commands.check_config import check_config
from streamer.commands.columns import columns
from streamer.commands.console.lines import echo_report
from streamer.commands.decisions import approve, promote, reject
from streamer.commands.explain import explain, history
from streamer.commands.models import models
from streamer.commands.record import record
from streamer.commands.reference import reference
from streamer.commands.replay import replay
from streamer.commands.requests import requests
from streamer.commands.result import result
from streamer.commands.run import run
from streamer.commands.silence import silence, silences, unsilence
from streamer.commands.status import status
from streamer.commands.topics import topics
from streamer.commands.verify import verify
from streamer.errors import DriftlineError

INTERRUPTED = 130  # 128 + SIGINT, as shells count

EXIT_CODES = """\b
Exit codes:
    0  done
    1  an unexpected error (a bug; the traceback is shown)
    2  the command line, the configuration or a recording is wrong, or a name is unknown
    3  Kafka can't be reached, refuses access, or lacks a topic
    4  the log no longer holds records that the state needs
    5  a second fold of the log gives other outputs than were published
    7  the service refused the command
    8  the command was sent, but the service has not answered in time
   75  the result of a commit is uncertain, or a signal ended a worker; restart at once,
       as `driftline run` does with its workers
  130  interrupted (Ctrl-C)
  141  the reader of the output ended
"""


class _Driftline(click.Group):
    """Ends every expected error with its message and its exit code. A traceback means a bug."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DriftlineError as error:
            echo_report(error.report())
            raise click.exceptions.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            click.echo(err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.group(cls=_Driftline, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driftline", message="%(prog)s %(version)s")
def main() -> None:
    """Detect drift of models on Kafka topics, and publish one retrain request when a retrain helps."""
    collect_cycles_less_often()


for command in (
    run, replay, record, verify, check_config, topics, columns, reference,
    status, models, alerts, incidents, explain, history,
    requests, approve, reject, result, promote, silence, silences, unsilence,
):  # fmt: skip
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="driftline")
