"""What commands for the control topic have in common: their options, and the record they send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """The argument REQUEST_ID, and the options of every control command."""
    return control_options(click.argument("request_id", metavar="REQUEST_ID")(command))


def control_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every control command."""
    for option in (
        click.option("--at", metavar="TIME", help="Time of the command, RFC 3339 in UTC; the default is now."),
        click.option("--comment", default="", metavar="TEXT", help="The reason; kept with the decision."),
        click.option(
            "--actor", envvar="DRIFTLINE_ACTOR", required=True, metavar="NAME",
            help="The author of the command; the default is $DRIFTLINE_ACTOR.",
        ),
        config_option("The configuration of the service."),
    ):  # fmt: skip
        command = option(command)
    return command


def send_control(
    kind: str, config_file: str, request_id: str, at: str | None, result_in: str = "requests", **fields: Any
) -> None:
    """Write a control record after the check that the decide fold can read it.

    The command `result_in` shows its effect. Raises `UsageError` when the record is invalid, and `BrokerError` when it
    can't be written.
    """
    import msgspec

    from streamer.clock import SystemClock
    from streamer.config import load_config
    from streamer.contracts.alert_reader import Unreadable
    from streamer.contracts.control_reader import read_control
    from streamer.errors import UsageError
    from streamer.eventlog.base import Output
    from streamer.eventlog.kafka.send import send

    now_s = SystemClock().now_s()
    record = {"kind": kind, "request_id": request_id, "at": at or rfc3339(now_s), **fields}
    value = msgspec.json.encode(record)
    control = read_control(value, int(now_s * 1000))
    if isinstance(control, Unreadable):
        raise UsageError(f"{kind} was not sent: {control.detail}")
    config = load_config(config_file)
    send(config.kafka.connection(), [Output(config.outputs.control, request_id.encode(), value)])
    echo_line(f"sent: {kind} {request_id}; `driftline {result_in}` shows the result", err=True)


def rfc3339(now_s: float) -> str:
    """The time as in records, to the millisecond. `now_s` is in seconds since 1970."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
