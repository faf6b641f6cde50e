"""`driftline dead-letters`: why records of a topic could not be folded, and how they get back into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from streamer.commands.console.lines import echo_line
from streamer.commands.console.options import config_option
from streamer.commands.console.progress import progress

if TYPE_CHECKING:
    from streamer.app.dead_letters import ReasonCount, Resent
    from streamer.contracts.dead_letters import DeadLetter

HEAD: Final = ("reason", "records", "first", "last")
VALUE_CHARS: Final = 300  # of a value that is shown

EPILOG = """\b
Examples:
    driftline dead-letters bus.predictions --reason missing_model --samples 5
    driftline dead-letters bus.predictions --replay
"""


@click.command(name="dead-letters", epilog=EPILOG)
@click.argument("topic", metavar="TOPIC")
@config_option("The configuration of the service.")
@click.option("--reason", metavar="REASON", help="Show the dead letters of this reason only.")
@click.option(
    "--samples",
    type=click.IntRange(0, 100),
    metavar="N",
    default=1,
    show_default=True,
    help="The newest dead letters to show of each reason.",
)
@click.option("--json", "as_json", is_flag=True, help="Every dead letter as one JSON object on each line.")
@click.option(
    "--replay",
    "is_replay",
    is_flag=True,
    help="Send the dead letters to TOPIC again, each once, to its own partition, with its own time.",
)
@click.option(
    "--skip-unreadable", is_flag=True,
    help="With --replay, pass over records that the configuration still can't read, instead of sending nothing.",
)  # fmt: skip
def dead_letters(
    topic: str,
    config_file: str,
    reason: str | None,
    samples: int,
    as_json: bool,
    is_replay: bool,
    skip_unreadable: bool,
) -> None:
    """Show the dead letters of the event topic TOPIC by reason, with the newest of each.

    With --replay, those that came since the last replay are sent to TOPIC again, once the mapping can read them. The
    header `__driftline.replayed` names the place that the record had first. If some still can't be read, none is sent,
    and the exit code is 6. Records that were cut for their size are passed over.
    """
    from streamer.app import dead_letters as app
    from streamer.config import load_config

    config = load_config(config_file)
    if is_replay:
        with progress("dead-letters") as report:
            resent = app.resend(config, topic, skip_unreadable=skip_unreadable, progress=report)
        echo_line(resent_text(topic, resent), err=True)
        return
    if as_json:
        for letter in app.letters_of(config, topic):
            if reason in (None, letter.reason):
                click.echo(json_line(letter))
        return
    found = [one for one in app.counts_by_reason(config, topic, samples) if reason in (None, one.reason)]
    for line in page(topic, found):
        echo_line(line)


def page(topic: str, found: Sequence[ReasonCount]) -> Iterator[str]:
    """The reasons as a table, then the samples of each."""
    from streamer.commands.console.text_table import table

    if not found:
        yield f"there are no dead letters of {topic}"
        return
    yield from table(
        [HEAD, *((one.reason, f"{one.records:,}", _time(one.first_ms), _time(one.last_ms)) for one in found)]
    )
    for one in found:
        for letter in one.samples:
            yield ""
            at = f" of {_time(letter.timestamp_ms)}" if letter.timestamp_ms >= 0 else ""
            yield f"{letter.reason}: {letter.topic}[{letter.partition}] at offset {letter.offset}{at}"
            yield f"  {letter.message}"
            yield f"  {_shown(letter.value)}{'' if letter.is_whole else ' (cut)'}"


def resent_text(topic: str, resent: Resent) -> str:
    """What a replay did, on one line."""
    from streamer.audit.reasons import many

    text = f"{many(resent.sent, 'dead letter')} {'was' if resent.sent == 1 else 'were'} sent to {topic} again"
    if resent.unreadable:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in resent.unreadable.most_common())
        text += f"; {resent.unreadable.total():,} that can't be read were passed over ({reasons})"
    if resent.cut:
        text += f"; {resent.cut:,} of which a part is missing were passed over"
    if resent.foreign:
        text += f"; {resent.foreign:,} records are no dead letters of {topic}"
    return text


def json_line(letter: DeadLetter) -> str:
    """A dead letter as JSON. Bytes that are no UTF-8 are base64, in members that end so."""
    import msgspec

    from streamer.commands.console.json_lines import readable

    record: dict[str, Any] = {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp_ms,
        "reason": letter.reason,
        "message": letter.message,
        "is_whole": letter.is_whole,
    }
    return msgspec.json.encode(record | readable("key", letter.key) | readable("value", letter.value)).decode()


def _shown(value: bytes | None) -> str:
    if value is None:
        return "no value"
    text = value[: 4 * VALUE_CHARS].decode(errors="replace")
    return text[:VALUE_CHARS] + ("…" if len(text) > VALUE_CHARS or len(value) > 4 * VALUE_CHARS else "")


def _time(time_ms: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if time_ms >= 0 else "-"
