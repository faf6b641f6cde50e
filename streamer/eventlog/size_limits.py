"""How large a record may be in each topic that is written, and what is cut to fit.

Brokers say so (`max.message.bytes`) to whoever may describe a topic's settings. To others a refusal tells: then the
bound is lowered step by step until the record is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamer.errors import BrokerError
from streamer.eventlog.base import Output

Cut = Callable[[Output, int], Output]  # an output, and how many bytes of key, value and headers it may have

BATCH_BYTES = 200  # of a batch of one record, besides key, value and headers
HEADER_BYTES = 10  # of a header, besides its name and text
EXPANSION = 200  # compression adds at most one byte to so many
ALONE = 1
UNKNOWN = 1 << 20  # what topics take by default
LOWERED = 0.75  # of its size, when nobody says what a topic takes


def uncut(output: Output, _bytes_max: int) -> Output:
    """Leave an output as it is."""
    return output


class TooLargeError(BrokerError):
    """A topic does not take an output of this size."""

    def __init__(self, message: str, output: Output) -> None:
        super().__init__(message)
        self.output = output


class SizeLimits:
    """Bounds by topic, as known by now."""

    def __init__(self, message_bytes_max: Mapping[str, int], cut: Cut = uncut, reserved_bytes: int = 0) -> None:
        """`message_bytes_max`: what brokers say of some topics; `cut` makes an output smaller if it can be.

        `reserved_bytes` of each record are for a header that is added later.
        """
        self._cut = cut
        self._refused = False
        self._bytes_max = {topic: _payload(limit - reserved_bytes) for topic, limit in message_bytes_max.items()}

    @property
    def batch_bytes_max(self) -> int:
        """What every topic takes of which that is known; after a refusal, each record is a batch."""
        return ALONE if self._refused else min(self._bytes_max.values(), default=UNKNOWN)

    def fitted(self, output: Output) -> Output:
        """The output, cut to what its topic takes, as far as that is known and the output can be cut."""
        bytes_max = self._bytes_max.get(output.topic)
        return output if bytes_max is None or size_of(output) <= bytes_max else self._cut(output, bytes_max)

    def lower(self, refused: Output) -> bool:
        """Take note of a refusal of this output, as it was sent; whether it can be cut further."""
        self._refused = True
        bytes_max = int(size_of(refused) * LOWERED)
        if size_of(self._cut(refused, bytes_max)) >= size_of(refused):
            return False
        self._bytes_max[refused.topic] = bytes_max
        return True


def size_of(output: Output) -> int:
    """Bytes of key, value and headers."""
    headers = sum(len(name.encode()) + len(text or b"") + HEADER_BYTES for name, text in output.headers)
    return len(output.key or b"") + len(output.value or b"") + headers


def _payload(message_bytes_max: int) -> int:
    return max((message_bytes_max - BATCH_BYTES) * EXPANSION // (EXPANSION + 1), 0)
