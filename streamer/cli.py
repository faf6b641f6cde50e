"""The command `driftline`: its subcommands, from `streamer/commands/`, and their exit codes.

A command's file is imported when the command runs. Nothing heavy is imported at its top, so `--help` is fast too.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import click

from streamer.app.memory import collect_cycles_less_often
from streamer.commands.console.lines import echo_report
from streamer.errors import DriftlineError

SHORT_HELP_MAX = 200  # characters of the first sentence of a help
INTERRUPTED = 130  # 128 + SIGINT, as shells count

EXIT_CODES = """\b
Exit codes:
    0  done
    1  an unexpected error (a bug; the traceback is shown)
    2  the command line, the configuration or a recording is wrong, or a name is unknown
    3  Kafka can't be reached, refuses access, or lacks a topic
    4  the log no longer holds records that the state needs
    5  a second fold of the log gives other outputs than were published
    6  records were read, and nothing of them was understood
    7  the service refused the command
    8  the command was sent, but the service has not answered in time
   75  the result of a commit is uncertain, or a signal ended a worker; restart at once,
       as `driftline run` does with its workers
  130  interrupted (Ctrl-C)
  141  the reader of the output ended
"""


# Section of the help -> command -> the file in `streamer/commands/` that holds it, both in the order of the help.
SECTIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "Begin": {
            "init": "setup.init", "doctor": "setup.doctor", "check-config": "setup.check_config",
            "topics": "setup.topics", "reference": "setup.reference",
        },
        "Run": {
            "run": "service.run", "replay": "service.replay", "backtest": "service.backtest",
            "record": "service.record", "send": "service.record", "rekey": "service.record",
            "launch": "service.launch", "notify": "service.notify",
            "verify": "service.verify",
        },
        "Look": {
            "status": "views.status", "models": "views.models", "columns": "views.columns",
            "profile": "views.columns", "alerts": "views.alerts",
            "incidents": "views.alerts", "requests": "views.requests", "explain": "views.explain",
            "history": "views.explain", "window": "views.requests", "dead-letters": "views.dead_letters",
            "report": "views.report", "plot": "views.report", "ui": "views.ui",
        },
        "Decide": {
            "approve": "control.decisions", "reject": "control.decisions", "result": "control.decisions",
            "promote": "control.decisions", "silence": "control.silence", "silences": "control.silence",
            "unsilence": "control.silence",
        },
    }
)  # fmt: skip
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {name: file for commands in SECTIONS.values() for name, file in commands.items()}
)


class _Driftline(click.Group):
    """Imports the file of a command when it is needed, and ends every expected error with its message and exit code.

    A traceback means a bug.
    """

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in COMMANDS:
            near = get_close_matches(cmd_name, COMMANDS, n=1)
            ctx.fail(f"No such command {cmd_name!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
        command: click.Command = getattr(
            import_module(f"streamer.commands.{COMMANDS[cmd_name]}"), cmd_name.replace("-", "_")
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in SECTIONS.items():
            with formatter.section(section):
                helps = {name: self.get_command(ctx, name).get_short_help_str(SHORT_HELP_MAX) for name in names}
                formatter.write_dl(list(helps.items()))

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


if __name__ == "__main__":
    main(prog_name="driftline")
