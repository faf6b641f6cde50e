"""Recordings as lines: plain events and the envelopes of kcat, plain, packed and from standard input."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.recordings import lines as line_source
from streamer.eventlog.recordings.recording import open_recording

EVENTS = b'{"model_id": "a"}\n\n  \r\n{"model_id": "b"}\r\nnot json\n\t{"model_id": "c"}'
LINES = [(0, b'{"model_id": "a"}'), (3, b'{"model_id": "b"}'), (4, b"not json"), (5, b'\t{"model_id": "c"}')]
ENVELOPE = {"topic": "t", "partition": 1, "offset": 7, "tstype": "create", "ts": 1600, "broker": 1, "key": "k"}


def read(path: Path | str, topic: str | None = None, chunk_rows: int = 8192) -> list[Records]:
    with open_recording(path, topic) as recording:
        return [records for chunk in recording.chunks(chunk_rows) for records in chunk.split()]


def lines_of(stretches: list[Records]) -> list[tuple[int, bytes | None]]:
    return [(int(r.offset[i]), r.value_of(i)) for r in stretches for i in range(len(r))]


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_each_line_is_a_record(tmp_path: Path, chunk_rows: int) -> None:
    """The offset is the number of the line, blank lines are passed over, line ends of any kind are no part of it."""
    path = tmp_path / "bus.arrivals.jsonl"
    path.write_bytes(EVENTS)
    stretches = read(path, chunk_rows=chunk_rows)
    assert lines_of(stretches) == LINES
    assert {(r.topic, r.partition) for r in stretches} == {("bus", 0)}
    assert max(map(len, stretches)) <= chunk_rows
    first = stretches[0]
    assert (first.key_of(0), first.headers_of(0), first.timestamp_ms[0]) == (None, (), -1)


def test_the_topic_can_be_given(tmp_path: Path) -> None:
    """A given topic goes before the name of the file."""
    (tmp_path / "a.jsonl").write_bytes(EVENTS)
    assert read(tmp_path / "a.jsonl", topic="predictions")[0].topic == "predictions"


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.sampled_from([b"", b" ", b"\r", b" \r", b"x", b"{}", b" {}\t", b'{"a": 1}\r', b"\xff"]), max_size=20
    ),
    last_newline=st.booleans(),
    block_bytes=st.integers(1, 40),
    chunk_rows=st.integers(1, 8),
)
def test_lines_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], last_newline: bool, block_bytes: int, chunk_rows: int
) -> None:
    """However the file is cut into blocks and chunks, the lines are those that splitting the whole gives."""
    whole = b"\n".join([b'{"first": 1}', *lines]) + b"\n" * last_newline
    path = tmp_path_factory.mktemp("l") / "l"
    path.write_bytes(whole)
    expected = [(i, line.removesuffix(b"\r")) for i, line in enumerate(whole.split(b"\n")) if line.strip()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_source, "BLOCK_BYTES", block_bytes)
        patch.setattr("streamer.eventlog.recordings.byte_stream.HEAD_BYTES", 16)
        assert lines_of(read(path, chunk_rows=chunk_rows)) == expected


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_packed_lines_are_unpacked(tmp_path: Path, packed: str) -> None:
    """Compression is reported by content; progress counts stored bytes up to the file's size."""
    path = tmp_path / "events.log"
    path.write_bytes(pa.compress(EVENTS, packed, asbytes=True) if packed == "zstd" else gzip.compress(EVENTS))
    assert lines_of(read(path)) == LINES
    with open_recording(path) as recording:
        assert recording.rows is None
        assert sum(map(len, recording.chunks())) == len(LINES)
        assert recording.bytes_read() == recording.size_bytes == path.stat().st_size


def test_packed_files_put_together_are_read_to_the_end(tmp_path: Path) -> None:
    """`cat a.gz b.gz` is one recording of both."""
    (tmp_path / "e.gz").write_bytes(gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"b": 2}\n'))
    assert lines_of(read(tmp_path / "e.gz")) == [(0, b'{"a": 1}'), (1, b'{"b": 2}')]


def test_a_packed_file_cut_short_is_a_sentence(tmp_path: Path) -> None:
    """What is missing is said, not passed over."""
    packed = gzip.compress(b"".join(b'{"n": %d}\n' % (i * i * 7919) for i in range(40_000)))
    (tmp_path / "e.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UsageError, match=r"e\.gz does not unpack as gzip .*cut short or damaged"):
        read(tmp_path / "e.gz")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, pack: object) -> None:
    """`-` reads lines, packed or not, as topic `stdin`, and leaves standard input open."""
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(pack(EVENTS))))  # type: ignore[operator]
    monkeypatch.setattr(sys, "stdin", stdin)
    with open_recording("-") as recording:
        assert recording.size_bytes is None
        stretches = [records for chunk in recording.chunks() for records in chunk.split()]
    assert lines_of(stretches) == LINES
    assert stretches[0].topic == "stdin"
    assert not stdin.closed


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    """Editors on Windows put one there."""
    (tmp_path / "e").write_bytes(b'\xef\xbb\xbf{"a": 1}\n{}\n')
    assert lines_of(read(tmp_path / "e")) == [(0, b'{"a": 1}'), (1, b"{}")]


def test_a_first_line_of_ten_megabytes_is_a_record(tmp_path: Path) -> None:
    """A huge event is for the codec to refuse, not for the log."""
    line = b'{"model_id": "' + b"x" * 10_000_000 + b'"}'
    (tmp_path / "e").write_bytes(line + b"\n{}\n")
    assert [len(value or b"") for _, value in lines_of(read(tmp_path / "e"))] == [len(line), 2]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded when a file has no lines."""
    monkeypatch.setattr(line_source, "LINE_BYTES_MAX", 100_000)
    (tmp_path / "e").write_bytes(b"{}\n" + b"x" * 200_000)
    with pytest.raises(UsageError, match="holds a line longer than"):
        read(tmp_path / "e")


def test_envelopes_of_kcat_are_opened(tmp_path: Path) -> None:
    """Topic, partition, offset, time, key, payload and the flat list of headers come out as they were in the log."""
    lines = [
        ENVELOPE | {"payload": '{"a": "é"}', "headers": ["h", "1", "h", None]},
        ENVELOPE | {"partition": 0, "offset": 3, "key": None, "payload": None},
        ENVELOPE | {"offset": 9, "payload": {"decoded": 1}},
    ]
    path = tmp_path / "dump.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    even, odd = read(path, topic="not this")
    assert [(r.topic, r.partition, r.offset.tolist()) for r in (even, odd)] == [("t", 0, [3]), ("t", 1, [7, 9])]
    assert (even.key_of(0), even.value_of(0), even.timestamp_ms[0]) == (None, None, 1600)
    assert (odd.key_of(0), odd.value_of(0)) == (b"k", '{"a": "é"}'.encode())
    assert odd.headers_of(0) == (("h", b"1"), ("h", None))
    assert odd.value_of(1) == b'{"decoded": 1}'


def test_payloads_that_are_no_text_keep_their_bytes(tmp_path: Path) -> None:
    """kcat prints bytes that are not UTF-8 as they are, and half a surrogate pair may be escaped."""
    head = b'{"topic":"t","partition":0,"tstype":"create","ts":1,"key":null,'
    (tmp_path / "d").write_bytes(
        head + b'"offset":0,"payload":"\xff\xc3"}\n' + head + b'"offset":1,"payload":"\\ud800"}\n'
    )
    (records,) = read(tmp_path / "d")
    assert records.value_of(0) == b"\xff\xc3"
    assert records.value_of(1) == b"\xed\xa0\x80"


@pytest.mark.parametrize(
    "line",
    [
        b"broken",
        b"{}",
        b"[" * 100_000,
        json.dumps(ENVELOPE | {"payload": "", "offset": "x"}).encode(),
        json.dumps(ENVELOPE | {"payload": "", "headers": ["odd"]}).encode(),
        json.dumps(ENVELOPE | {"payload": "", "headers": 5}).encode(),
    ],
)
def test_a_damaged_envelope_is_named_by_its_line(tmp_path: Path, line: bytes) -> None:
    """The sentence says which line, and how to record again."""
    (tmp_path / "d").write_bytes(json.dumps(ENVELOPE | {"payload": ""}).encode() + b"\n" + line)
    with pytest.raises(UsageError, match=r"Line 2 of .*d is not an envelope .*kcat -C -J"):
        read(tmp_path / "d")


def test_envelopes_out_of_order_are_refused(tmp_path: Path) -> None:
    """A record that comes twice is an error in any kind of recording."""
    (tmp_path / "d").write_text(2 * (json.dumps(ENVELOPE | {"payload": ""}) + "\n"))
    with pytest.raises(UsageError, match=r"Row 1 of .*d is offset 7 of t\[1\]"):
        read(tmp_path / "d")
