"""Records that can't be folded, kept byte for byte beside the reason.

A dead letter has the key, value and headers of the record it stands for, plus headers that say where it was and what is
wrong with it. Their names follow Kafka Connect's (`__connect.errors.topic`, ...), so that the same tools and habits
serve.
"""

from __future__ import annotations

from streamer.codecs.base import Reason
from streamer.logs.base import Output, Records

PREFIX = "__driftline.errors."
VALUE_BYTES_MAX = 900_000  # what fits a broker's default `message.max.bytes`; longer values are cut, and say so


def dead_letter(records: Records, i: int, reason: Reason, detail: str, topic: str) -> Output:
    """Record `i` as a record of the dead-letter topic `topic`."""
    value = records.value_of(i)
    about = {
        "topic": records.topic,
        "partition": str(records.partition),
        "offset": str(records.offset[i]),
        "timestamp": str(records.timestamp_ms[i]),
        "reason": reason.value,
        "message": detail,
    }
    if value is not None and len(value) > VALUE_BYTES_MAX:
        about["cut.from.bytes"] = str(len(value))
        value = value[:VALUE_BYTES_MAX]
    ours = tuple((PREFIX + name, text.encode()) for name, text in about.items())
    return Output(topic, records.key_of(i), value, records.headers_of(i) + ours)
