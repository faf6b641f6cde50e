"""Bytes to whole lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.runtime.supervision.worker_process import LAST_LINE_BYTES_MAX, LAST_LINES, LINE_BYTES_MAX, LineBuffer

texts = st.binary(max_size=200).map(lambda data: data.replace(b"\x00", b"\n"))


@given(st.lists(texts, max_size=20))
def test_no_line_is_torn_or_lost(parts):
    """However what is said is cut into reads, the lines are those of the whole."""
    lines = LineBuffer()
    heard = [line for part in parts for line in lines.feed(part)] + lines.finish()
    whole = b"".join(parts)
    assert heard == whole.split(b"\n")[: None if whole and not whole.endswith(b"\n") else -1]
    assert lines.last() == [line.decode("utf-8", "replace") for line in heard[-LAST_LINES:]]


def test_a_line_without_end_is_cut():
    """What has no line break is reported in pieces of the largest size, and nothing of it is lost."""
    lines = LineBuffer()
    heard = [line for _ in range(100) for line in lines.feed(b"x" * 10_000)] + lines.finish()
    assert {len(line) for line in heard[:-1]} == {LINE_BYTES_MAX}
    assert b"".join(heard) == b"x" * 1_000_000


def test_what_is_kept_is_bounded():
    """The last lines are few, and long ones are shortened."""
    lines = LineBuffer()
    lines.feed(b"".join(b"%d %s\n" % (i, b"x" * 10_000) for i in range(1000)))
    assert [line.split()[0] for line in lines.last()] == [str(i) for i in range(1000 - LAST_LINES, 1000)]
    assert max(map(len, lines.last())) == LAST_LINE_BYTES_MAX + len(" ...")
