"""Standard error that waits for nobody."""

from __future__ import annotations

import os
import threading

import pytest
from supervision_kit import listening

from streamer.runtime.supervision import stderr_writer as outlet_module
from streamer.runtime.supervision.stderr_writer import WAITING_BYTES_MAX, StderrWriter


@pytest.fixture
def pipe():
    """A readable and a writable end; what the test closes stays closed."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def test_lines_of_many_stay_whole():
    """Lines written by several threads at once arrive whole, each thread's in order."""
    with listening() as (fd, heard):
        stderr = StderrWriter(fd)

        def write(name: int) -> None:
            for i in range(2_000):
                stderr.write(b"%d %d %s" % (name, i, b"x" * (i % 300)))

        writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        stderr.close()
    said = [line.split(b" ") for line in bytes(heard).splitlines()]
    for name in range(4):
        mine = [(int(i), len(text)) for by, i, text in said if int(by) == name]
        assert mine == [(i, i % 300) for i in range(2_000)]
    assert len(said) == 8_000


def test_a_reader_that_is_stuck_holds_up_nobody(pipe, monkeypatch):
    """With nobody reading, writing goes on at once and memory is bounded; later it says how much was left out."""
    monkeypatch.setattr(outlet_module, "LAST_WRITE_TIMEOUT_S", 0.05)
    readable, writable = pipe
    stderr = StderrWriter(writable)
    lines = 2 * WAITING_BYTES_MAX // 1_000
    for i in range(lines):
        stderr.write(b"%07d" % i + b"x" * 992)
    stderr.close()  # gives up

    heard, seen, reported = b"", 0, 0
    while seen < lines:
        *ended, heard = (heard + os.read(readable, 2**20)).split(b"\n")
        for line in ended:
            if line.endswith(b" lines dropped here, because standard error was not read"):
                seen += int(line.split()[1])
            else:
                assert int(line[:7]) == seen
                assert len(line) == 999
                seen, reported = seen + 1, reported + 1
    assert (seen, heard) == (lines, b"")
    assert WAITING_BYTES_MAX - 1_000 <= reported * 1_000 <= WAITING_BYTES_MAX + 2**20


def test_a_reader_that_is_gone_holds_up_nobody(pipe):
    """With the reading end closed, what is said is forgotten and the end comes at once."""
    os.close(pipe.pop(0))
    stderr = StderrWriter(pipe[0])
    for _ in range(20_000):
        stderr.write(b"x" * 1_000)
    stderr.close()


def test_a_reader_that_does_not_block_gets_all(pipe):
    """Where another program has made the terminal non-blocking, writing waits and goes on."""
    readable, writable = pipe
    os.set_blocking(writable, False)
    stderr = StderrWriter(writable)
    for i in range(1_000):
        stderr.write(b"%07d" % i + b"x" * 992)
    heard = b""
    while heard.count(b"\n") < 1_000:
        heard += os.read(readable, 2**20)
    stderr.close()
    assert [int(line[:7]) for line in heard.splitlines()] == list(range(1_000))


def test_what_the_parent_says_is_marked():
    """Its first line says who speaks; a text of several lines stays together."""
    with listening() as (fd, heard):
        stderr = StderrWriter(fd)
        stderr.write_message("gave up\n    a line")
        stderr.close()
    assert bytes(heard) == b"driftline: gave up\n    a line\n"


def test_the_bound_is_on_what_waits(pipe):
    """With somebody reading, much more than may wait is passed on, and nothing is left out."""
    readable, writable = pipe
    stderr = StderrWriter(writable)
    lines, at_once = 3 * WAITING_BYTES_MAX // 1_000, 1_000
    for start in range(0, lines, at_once):
        for i in range(start, start + at_once):
            stderr.write(b"%07d" % i + b"x" * 992)
        heard = b""
        while heard.count(b"\n") < at_once:
            heard += os.read(readable, 2**20)
        assert [int(line[:7]) for line in heard.splitlines()] == list(range(start, start + at_once))
    stderr.close()
