"""What commands for the control topic have in common: their options, the record they send, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from streamer.commands.console.options import config_option

if TYPE_CHECKING:
    from retrain.messages.control import Control
    from retrain.messages.decision import Decision
    from streamer.config import Config
    from streamer.eventlog.kafka.reader import KafkaReader

WAIT_S: Final = 10
WAIT_MAX_S: Final = 3600
POLL_S: Final = 0.2

ANSWERS = """\b
The command prints the answer of the service, and ends with exit code
    0  the service carried it out, or nothing was left to do
    2  no request, held storm or held source has this id; nothing was sent
    7  the service refused it, for the reason that is printed
    8  the service has not answered within --wait-s; it will, once it runs
"""


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """The values of the options of every control command."""

    config_file: str
    actor: str
    comment: str
    at: str | None  # RFC 3339; None for now
    wait_s: int  # for the answer; 0: not at all


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """The argument REQUEST_ID, and the options of every control command."""
    return control_options(click.argument("request_id", metavar="REQUEST_ID")(command))


def control_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every control command; it gets them as one `ControlOptions`."""

    @wraps(command)
    def with_options(
        config_file: str, actor: str, comment: str, at: str | None, wait_s: int, no_wait: bool, **others: Any
    ) -> None:
        command(ControlOptions(config_file, actor, comment, at, 0 if no_wait else wait_s), **others)

    decorated: Callable[..., None] = with_options
    for option in (
        click.option("--no-wait", is_flag=True, help="Send the command, and do not wait for the answer."),
        click.option(
            "--wait-s", type=click.IntRange(0, WAIT_MAX_S), metavar="SECONDS", default=WAIT_S, show_default=True,
            help="How long to wait for the answer of the service.",
        ),
        click.option("--at", metavar="TIME", help="Time of the command, RFC 3339 in UTC; the default is now."),
        click.option("--comment", default="", metavar="TEXT", help="The reason; kept with the decision."),
        click.option(
            "--actor", envvar="DRIFTLINE_ACTOR", required=True, metavar="NAME",
            help="The author of the command; the default is $DRIFTLINE_ACTOR.",
        ),
        config_option("The configuration of the service."),
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def send_control(kind: str, options: ControlOptions, request_id: str, **fields: Any) -> str:
    """Send a control record, after a check that it is valid and its request or silence exists; the answer as a line.

    Raises `UsageError` if the record is invalid or its id unknown, and so was not sent; `BrokerError` when Kafka fails;
    `RefusedError` with the reason of the service; and `NoAnswerError` after `wait_s`.
    """
    import msgspec

    from streamer.clock import SystemClock
    from streamer.config import load_config
    from streamer.contracts.alert_reader import Unreadable
    from streamer.contracts.control_reader import read_control
    from streamer.errors import UsageError

    now_s = SystemClock().now_s()
    record = {"kind": kind, "request_id": request_id, "at": options.at or rfc3339(now_s)}
    value = msgspec.json.encode({**record, "actor": options.actor, "comment": options.comment, **fields})
    control = read_control(value, int(now_s * 1000))
    if isinstance(control, Unreadable):
        raise UsageError(f"{kind} was not sent: {control.detail}")
    return _send_and_wait(load_config(options.config_file), control, value, options.wait_s)


def _send_and_wait(config: Config, control: Control, value: bytes, wait_s: int) -> str:
    from streamer.audit.commands import sentence_of
    from streamer.clock import SystemClock
    from streamer.errors import NoAnswerError
    from streamer.eventlog.base import Output
    from streamer.eventlog.kafka import reader as kafka_reader
    from streamer.eventlog.kafka import transfer as kafka_transfer

    connection, name, outputs = config.kafka.connection(), control.request_id, config.outputs
    is_new = control.kind == "silence"  # all others are about something that exists
    topics = [outputs.decisions] if is_new else [outputs.incidents, outputs.requests, outputs.decisions]
    # One reader for both: so no answer can fall between the look-up and the wait.
    reader = kafka_reader.KafkaReader(connection, topics, "latest" if is_new else "earliest")
    try:
        _check_target(reader, config, control)
        kafka_transfer.send(connection, [Output(outputs.control, name.encode(), value)])
        if not wait_s:
            return f"sent: {control.kind} {name}; `driftline explain {name}` shows the answer"
        decision = _answer(reader, outputs.decisions, control, SystemClock().monotonic_s() + wait_s)
    finally:
        reader.close()
    if decision is None:
        raise NoAnswerError(
            f"{control.kind} of {name} was sent, but the service has not answered within {wait_s} s. Is it running? "
            f"`driftline status` shows its lag, and `driftline explain {name}` the answer once it is there"
        )
    return sentence_of(control, decision)


def _check_target(reader: KafkaReader, config: Config, control: Control) -> None:
    """Read to the end. Raises `UsageError` if the command is about nothing that exists."""
    from streamer.audit.commands import Targets
    from streamer.audit.source import kinds_of
    from streamer.errors import UsageError

    kinds, found = kinds_of(config.outputs), Targets()
    while not reader.at_end():
        for records in reader.poll(POLL_S):
            found.read(kinds[records.topic], records)
    try:
        if control.kind == "unsilence":
            found.check_silence(control.request_id)
        elif control.kind != "silence":
            found.check_request(control.request_id)
    except UsageError as problem:
        raise UsageError(f"{control.kind} was not sent: {problem}") from None


def _answer(reader: KafkaReader, topic: str, control: Control, deadline_s: float) -> Decision | None:
    from streamer.audit.commands import answer_in
    from streamer.clock import SystemClock

    clock = SystemClock()
    while (left_s := deadline_s - clock.monotonic_s()) > 0:
        new = [records for records in reader.poll(min(left_s, POLL_S)) if records.topic == topic]
        decision = answer_in(new, control)
        if decision is not None:
            return decision
    return None


def rfc3339(now_s: float) -> str:
    """The time as in records, to the millisecond. `now_s` is in seconds since 1970."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
