"""Epochs as records of the topic `driftline.epochs`: the script by which a log can be folded again.

{"unit": "detect-3", "number": 17, "ends": {"bus.predictions": 41200}, "outputs": 2, "digest": "5e…"}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from streamer.logs.base import Epoch, Output
from streamer.logs.headers import encode_headers


@dataclass(frozen=True, slots=True)
class Units:
    """Which fold unit a topic-partition belongs to: what decide reads to `decide`, events to `detect-<partition>`."""

    decide: frozenset[str]

    def of(self, topic: str, partition: int) -> str:
        return "decide" if topic in self.decide else f"detect-{partition}"


def encode_epoch(epoch: Epoch) -> bytes:
    return msgspec.json.encode(epoch)


def decode_epoch(value: bytes) -> Epoch:
    """Raises `msgspec.DecodeError` for anything that `encode_epoch` did not write."""
    return msgspec.json.decode(value, type=Epoch)


def digest(outputs: Sequence[Output]) -> str:
    """A fingerprint of outputs in order: equal folds give equal digests."""
    state = blake2b(digest_size=16)
    for output in outputs:
        for part in _parts(output):
            state.update(b"-" if part is None else b"%d:" % len(part) + part)
    return state.hexdigest()


def _parts(output: Output) -> Iterable[bytes | None]:
    return output.topic.encode(), output.key, output.value, encode_headers(output.headers)
