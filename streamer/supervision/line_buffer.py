"""What a worker says, cut into whole lines; and the last of them, for the last word."""

from __future__ import annotations

from collections import deque
from typing import Final

LINE_BYTES_MAX: Final = 65_536  # a longer line becomes several
LAST_LINES: Final = 20
LAST_LINE_BYTES_MAX: Final = 2_000  # of a line that is kept for the last word


class Lines:
    """Bytes in, whole lines out, without their line breaks. Holds one unfinished line and the last few finished."""

    def __init__(self) -> None:
        self._begun = b""
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` finishes, in order."""
        *ended, rest = (self._begun + data).split(b"\n")
        lines = [piece for line in ended for piece in _pieces(line)]
        *too_much, self._begun = _pieces(rest)
        return self._kept(lines + too_much)

    def finish(self) -> list[bytes]:
        """What was said after the last line break, if anything."""
        rest, self._begun = self._begun, b""
        return self._kept([rest] if rest else [])

    def last(self) -> list[str]:
        """The last lines said, as text; long ones are cut short."""
        return [line.decode("utf-8", "replace") for line in self._last]

    def _kept(self, lines: list[bytes]) -> list[bytes]:
        for line in lines[-LAST_LINES:]:
            self._last.append(line if len(line) <= LAST_LINE_BYTES_MAX else line[:LAST_LINE_BYTES_MAX] + b" ...")
        return lines


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + LINE_BYTES_MAX] for at in range(0, len(line) or 1, LINE_BYTES_MAX)]
