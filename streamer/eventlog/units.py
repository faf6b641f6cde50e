"""The unit of a topic-partition, and the digest of an epoch's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from streamer.eventlog.base import Output
from streamer.eventlog.headers import encode_headers

DECIDE = "decide"
DETECT = "detect-"


@dataclass(frozen=True, slots=True)
class Units:
    """The unit of each topic-partition: `decide` for the topics it reads, `detect-<partition>` for events."""

    decide: frozenset[str]

    def of(self, topic: str, partition: int) -> str:
        return DECIDE if topic in self.decide else f"{DETECT}{partition}"


def partition_of(unit: str) -> int:
    """The partition that a unit reads of each of its topics."""
    return 0 if unit == DECIDE else int(unit.removeprefix(DETECT))


def digest(outputs: Sequence[Output]) -> str:
    """A fingerprint of outputs in order: equal folds give equal digests."""
    state = blake2b(digest_size=16)
    for output in outputs:
        for part in _parts(output):
            state.update(b"-" if part is None else b"%d:" % len(part) + part)
    return state.hexdigest()


def _parts(output: Output) -> Iterable[bytes | None]:
    return output.topic.encode(), output.key, output.value, encode_headers(output.headers)
