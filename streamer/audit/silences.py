"""The silences, read from the records of the decide fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from retrain.messages.decision import Decision
from retrain.messages.silence import Silence
from streamer.eventlog.base import Records

HEAD: Final = ("state", "since", "until", "model", "column", "kind", "alerts", "silence", "by", "why")


def silences_in(stretches: Iterable[Records]) -> Sequence[Silence]:
    """The current silences in records of the decisions topic, in order of their beginning."""
    found: dict[str, Silence] = {}
    for records in stretches:
        for i in range(len(records)):
            decision = msgspec.json.decode(records.value_of(i) or b"", type=Decision)
            if decision.silence is not None:
                found[decision.request_id] = decision.silence
    return tuple(found.values())


def row_of(silence: Silence) -> tuple[str, ...]:
    """The row of a silence in the list."""
    matcher = silence.matcher
    return (
        "over" if silence.is_over else "active",
        f"{silence.since:%Y-%m-%d %H:%M}",
        f"{silence.until:%Y-%m-%d %H:%M}",
        matcher.model,
        matcher.column,
        matcher.kind.value if matcher.kind else "*",
        f"{silence.alerts:,}",
        silence.silence_id,
        silence.actor,
        silence.comment.partition("\n")[0],
    )
