"""What the commands have in common that say something: options, and a record of the control topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from streamer.console.options import config_option


def saying(command: Callable[..., None]) -> Callable[..., None]:
    """The argument REQUEST_ID and the options that go with every word."""
    return speaking(click.argument("request_id", metavar="REQUEST_ID")(command))


def speaking(command: Callable[..., None]) -> Callable[..., None]:
    """The options that go with every word."""
    for option in (
        click.option("--at", metavar="TIME", help="When it was said, RFC 3339 in UTC; by default now."),
        click.option("--comment", default="", metavar="TEXT", help="Why; kept with the decision."),
        click.option(
            "--actor", envvar="DRIFTLINE_ACTOR", required=True, metavar="NAME", help="Who says it; or $DRIFTLINE_ACTOR."
        ),
        config_option("The configuration of the service."),
    ):
        command = option(command)
    return command


def say(kind: str, config_file: str, request_id: str, at: str | None, see: str = "requests", **fields: Any) -> None:
    """Write a control record, once it is certain that it can be read; the command `see` shows what came of it.

    Raises `UsageError` when something is wrong with it, and `BrokerError` when it can't be written.
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
    word = {"kind": kind, "request_id": request_id, "at": at or rfc3339(now_s), **fields}
    value = msgspec.json.encode(word)
    control = read_control(value, int(now_s * 1000))
    if isinstance(control, Unreadable):
        raise UsageError(f"this can't be said: {control.detail}")
    config = load_config(config_file)
    send(config.kafka.connection(), [Output(config.outputs.control, request_id.encode(), value)])
    click.echo(f"said: {kind} {request_id}; `driftline {see}` shows what came of it", err=True)


def rfc3339(now_s: float) -> str:
    """The time as records tell it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
