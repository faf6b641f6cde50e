"""Outputs as JSON lines: `{"type": "alert" | "incident" | "request" | "decision" | "profile" | "dead_letter", …}`.

A message of profiles is Arrow, so it becomes a line for each of its columns.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from streamer.contracts.dead_letters import PREFIX
from streamer.contracts.topics import OutputTopics
from streamer.eventlog.base import Output


class OutputLines:
    """The JSON line of each output; its kind follows from its topic."""

    def __init__(self, topics: OutputTopics) -> None:
        self._types = {topics.alerts: "alert", topics.incidents: "incident", topics.requests: "request"}
        self._types |= {topics.decisions: "decision", topics.profiles: "profile"}

    def type_of(self, output: Output) -> str | None:
        """The kind of an output; None for internal ones, such as watermarks and epochs."""
        if any(name == PREFIX + "reason" for name, _ in output.headers):
            return "dead_letter"
        return self._types.get(output.topic)

    def line_of(self, output: Output) -> bytes | None:
        """The output as one line with its line break, or several lines; None for internal ones."""
        kind = self.type_of(output)
        if kind is None or (kind != "dead_letter" and output.value is None):
            return None
        if kind == "dead_letter":
            return json.dumps(_dead_letter(output), ensure_ascii=False).encode() + b"\n"
        if kind == "profile":
            return b"".join(_profile_lines(output.value or b""))
        # The value is a JSON object of our own on one line: only the type goes before its members.
        return b'{"type":"%s",%s\n' % (kind.encode(), (output.value or b"{}")[1:])


def _profile_lines(message: bytes) -> Iterator[bytes]:
    from msgspec.json import encode

    from streamer.contracts.profiles import profile_objects, read_profiles

    for one in profile_objects(read_profiles(message)):
        yield encode({"type": "profile", **one}) + b"\n"


def _dead_letter(output: Output) -> dict[str, object]:
    about = {name.removeprefix(PREFIX): (value or b"").decode() for name, value in output.headers if _is_ours(name)}
    numbers: dict[str, object] = {
        name: int(about.pop(name)) for name in ("partition", "offset", "timestamp") if name in about
    }
    return {
        "type": "dead_letter",
        "topic": about.pop("topic"),
        **numbers,
        **about,
        **readable("key", output.key),
        **readable("value", output.value),
    }


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX)


def readable(name: str, data: bytes | None) -> dict[str, str | None]:
    """Bytes as text where they are UTF-8, else as base64 under another name."""
    try:
        return {name: None if data is None else data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data or b"").decode()}
