"""Recordings as one log: the merged order, its cuts, what commits bring back, and side inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from crash_kit import CrashingLog
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.eventlog.base import Epoch, Log, Output, Records
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings import log as recorded_log
from streamer.eventlog.recordings.log import RecordedLog
from streamer.eventlog.recordings.recording import RecordingWriter, open_recording

Row = tuple[str, int, int, int, bytes]  # topic, partition, offset, timestamp_ms, value
Poll = dict[tuple[str, int], list[tuple[int, int, bytes | None]]]


def write(path: Path, rows: Sequence[Row]) -> Path:
    with RecordingWriter(path) as writer:
        for topic, partition, offset, time, value in rows:
            writer.write(Records.build(topic, partition, [(offset, time, None, value, ())]))
    return path


def content(stretches: list[Records]) -> Poll:
    """A poll as plain rows; no partition may come twice."""
    polled = {
        (r.topic, r.partition): [(int(r.offset[i]), int(r.timestamp_ms[i]), r.value_of(i)) for i in range(len(r))]
        for r in stretches
    }
    assert len(polled) == len(stretches)
    return polled


def replay(log: Log) -> list[Poll]:
    polls = []
    while not log.exhausted():
        polls.append(content(log.poll(0)))
    log.close()
    return polls


def expected_polls(files: Sequence[Sequence[Row]], wanted: Sequence[str], epoch_records: int) -> list[Poll]:
    """The merged order and its cuts, the plain way."""
    keyed = []
    for rank, rows in enumerate(files):
        rows = [row for row in rows if row[0] in wanted]
        times = np.maximum.accumulate([max(row[3], -1) for row in rows]) if rows else []
        keyed += [(time, rank, i, row) for i, (time, row) in enumerate(zip(times, rows, strict=True))]
    merged = [row for *_, row in sorted(keyed, key=lambda entry: entry[:3])]
    polls = []
    for first in range(0, len(merged), epoch_records):
        poll: Poll = {}
        for topic, partition, offset, time, value in merged[first : first + epoch_records]:
            poll.setdefault((topic, partition), []).append((offset, time, value))
        polls.append({place: poll[place] for place in sorted(poll)})
    return polls


@st.composite
def recorded_files(draw: st.DrawFn) -> list[list[Row]]:
    """Up to three files of a few partitions each, with times that tie and step back."""
    files = []
    for rank in range(draw(st.integers(1, 3))):
        offsets: dict[tuple[str, int], int] = {}
        rows: list[Row] = []
        for topic in draw(st.lists(st.sampled_from("abz"), max_size=20)):
            place = topic, 2 * rank + draw(st.integers(0, 1))
            offsets[place] = offsets.get(place, -1) + 1
            rows.append((*place, offsets[place], draw(st.integers(-1, 8)), b"%d.%d" % (rank, len(rows))))
        files.append(rows)
    return files


@settings(max_examples=150, deadline=None)
@given(files=recorded_files(), chunk_rows=st.integers(1, 25), epoch_records=st.integers(1, 15))
def test_polls_depend_on_the_data_alone(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[Row]], chunk_rows: int, epoch_records: int
) -> None:
    """Whatever the chunks, each poll is the next `epoch_records` of the order that sorting everything would give."""
    folder = tmp_path_factory.mktemp("files")
    paths = [write(folder / f"{rank}", rows) for rank, rows in enumerate(files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded_log, "CHUNK_ROWS_MIN", 1)
        log = RecordedLog([open_recording(p) for p in paths], CrashingLog(), ["a", "b"], chunk_rows, epoch_records)
        polls = replay(log)
    assert polls == expected_polls(files, "ab", epoch_records)
    assert [list(poll) for poll in polls] == [sorted(poll) for poll in polls]


def test_one_file_keeps_its_own_order(tmp_path: Path) -> None:
    """Record times that step back don't move a record within its file."""
    rows = [("t", 0, 0, 50, b""), ("u", 0, 0, 10, b""), ("t", 0, 1, 20, b"")]
    polls = replay(RecordedLog([open_recording(write(tmp_path / "r", rows))], CrashingLog(), epoch_records=1))
    assert [list(poll) for poll in polls] == [[("t", 0)], [("u", 0)], [("t", 0)]]


def test_ties_go_to_the_earlier_file_even_beyond_its_chunk(tmp_path: Path) -> None:
    """Rows of the first file that are not yet read still come before rows of the second at the same time."""
    paths = [write(tmp_path / topic, [(topic, 0, i, 5, b"") for i in range(2)]) for topic in "ab"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded_log, "CHUNK_ROWS_MIN", 1)
        log = RecordedLog([open_recording(p) for p in paths], CrashingLog(), chunk_rows=2, epoch_records=2)
        assert [list(poll) for poll in replay(log)] == [[("a", 0)], [("b", 0)]]


def test_a_partition_may_go_on_in_the_next_file(tmp_path: Path) -> None:
    """Files that follow one another in time are one stretch, within a poll too."""
    first = write(tmp_path / "1", [("t", 0, i, i, b"%d" % i) for i in range(5)])
    second = write(tmp_path / "2", [("t", 0, i, i, b"%d" % i) for i in range(5, 9)])
    polls = replay(RecordedLog([open_recording(second), open_recording(first)], CrashingLog(), epoch_records=7))
    assert polls == [
        {("t", 0): [(i, i, b"%d" % i) for i in range(7)]},
        {("t", 0): [(i, i, b"%d" % i) for i in range(7, 9)]},
    ]


@pytest.mark.parametrize("epoch_records", [1, 100])
def test_overlapping_recordings_are_refused(tmp_path: Path, epoch_records: int) -> None:
    """A record that two files hold is named with the files, whether or not one poll would hold both."""
    paths = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for path in paths:
        path.write_bytes(b"{}\n{}\n")
    log = RecordedLog([open_recording(p, "t") for p in paths], CrashingLog(), epoch_records=epoch_records)
    with pytest.raises(UsageError, match=r"one\.jsonl and .*two\.jsonl overlap: offset 0 of t\[0\] comes after 1"):
        replay(log)
    log.close()


def test_alerts_come_back_in_the_poll_after_their_commit(tmp_path: Path) -> None:
    """What a commit appends to a subscribed topic comes with the next records, and before the log is exhausted."""
    path = write(tmp_path / "r", [("t", 0, 0, -1, b"0"), ("t", 0, 1, -1, b"1")])
    outputs = CrashingLog(subscribe=["alerts"])
    log: Log = RecordedLog([open_recording(path)], outputs, epoch_records=1)
    assert content(log.poll(0)) == {("t", 0): [(0, -1, b"0")]}
    epoch = Epoch("detect-0", 1, {"t": 1}, 2)
    log.commit([Output("alerts", None, b"A"), Output("requests", None, b"R")], [epoch])
    assert content(log.poll(0)) == {("t", 0): [(1, -1, b"1")], ("alerts", 0): [(0, -1, b"A")]}
    assert log.exhausted()
    log.commit([Output("alerts", None, b"B")], [Epoch("detect-0", 2, {"t": 2}, 1)])
    assert not log.exhausted()
    assert content(log.poll(0)) == {("alerts", 0): [(1, -1, b"B")]}
    assert log.exhausted()
    assert log.past("detect-0").committed == 2
    assert log.past("detect-0") == outputs.reopen().past("detect-0")
    log.close()
    log.close()


def test_recorded_alerts_give_way_to_those_made_anew(tmp_path: Path) -> None:
    """A recording of everything can be replayed: topics that the replay itself writes and reads are passed over."""
    path = write(tmp_path / "r", [("alerts", 0, 0, -1, b"old"), ("t", 0, 0, -1, b"0"), ("alerts", 0, 1, -1, b"old")])
    assert replay(RecordedLog([open_recording(path)], CrashingLog(["alerts"]))) == [{("t", 0): [(0, -1, b"0")]}]


def test_recordings_rest_while_a_partition_is_held(tmp_path: Path) -> None:
    """Holding delays the merged order and never changes it; outputs are held on their own."""
    path = write(tmp_path / "r", [("t", p, 0, -1, b"%d" % p) for p in (0, 1)])
    outputs = CrashingLog(["alerts"])
    log = RecordedLog([open_recording(path)], outputs)
    log.hold("t", 1, True)
    log.commit([Output("alerts", None, b"A")], [])
    assert list(content(log.poll())) == [("alerts", 0)]
    log.hold("t", 1, False)
    log.hold("alerts", 0, True)
    log.commit([Output("alerts", None, b"B")], [])
    assert list(content(log.poll())) == [("t", 0), ("t", 1)]
    assert not log.exhausted()
    log.hold("alerts", 0, False)
    assert content(log.poll()) == {("alerts", 0): [(1, -1, b"B")]}
    assert log.exhausted()
    log.close()


def test_progress_counts_records_where_their_number_is_known(tmp_path: Path) -> None:
    """Parquet knows its rows; records of other topics are passed but not delivered."""
    path = write(tmp_path / "r", [("t" if i % 2 else "other", 0, i, -1, b"") for i in range(10)])
    log = RecordedLog([open_recording(path)], CrashingLog(), ["t"], epoch_records=3)
    assert log.progress() == recorded_log.ReadProgress(0, 0, 10, "records")
    log.poll()
    assert log.progress() == recorded_log.ReadProgress(3, 8, 10, "records")
    log.poll()
    assert log.progress() == recorded_log.ReadProgress(5, 10, 10, "records")
    log.close()


def test_progress_counts_bytes_otherwise(tmp_path: Path) -> None:
    """Lines are not counted beforehand, so progress is in bytes of all files."""
    (tmp_path / "l.jsonl").write_bytes(b"{}\n{}\n")
    paths = [tmp_path / "l.jsonl", write(tmp_path / "r", [("t", 0, 0, -1, b"")])]
    size = sum(path.stat().st_size for path in paths)
    log = RecordedLog([open_recording(p) for p in paths], CrashingLog())
    assert log.progress() == recorded_log.ReadProgress(0, 6, size, "bytes")
    replay(log)
    assert log.progress() == recorded_log.ReadProgress(3, size, size, "bytes")


def test_the_rows_in_memory_are_shared_among_the_files(tmp_path: Path) -> None:
    """Many files are read in smaller chunks, so that memory does not grow with their number."""
    recordings = []
    for topic in "abcd":
        with RecordingWriter(tmp_path / topic) as writer:
            writer.write(Records.build(topic, 0, [(i, i, None, b"", ()) for i in range(3000)]))
        recordings.append(open_recording(tmp_path / topic))
    log = RecordedLog(recordings, CrashingLog(), chunk_rows=4096, epoch_records=5)
    log.poll()
    assert [recording.rows_read for recording in recordings] == [1024] * 4
    log.close()


def write_timed(path: Path, rows: Sequence[tuple[str, int, int]]) -> Path:
    """A recording of these (topic, offset, time), whose values are their times."""
    return write(path, [(topic, 0, offset, at, b"%d" % at) for topic, offset, at in rows])


def echoed(paths: Sequence[Path], epoch_records: int, chunk_rows: int) -> list[tuple[str, int]]:
    """(topic, time) in the order in which a fold gets them that answers each event `e` with an `echo` of its time."""
    outputs = MemoryLog(["echo"])
    outputs.end_input()
    files = [open_recording(path) for path in paths]
    log = RecordedLog(files, outputs, chunk_rows=chunk_rows, epoch_records=epoch_records, aside=["said"])
    got: list[tuple[str, int]] = []
    while not log.exhausted():
        polled = sorted(log.poll(), key=lambda records: records.topic == "said")  # as the decide fold has them
        for records in polled:
            times = [int(records.value_of(i) or b"") for i in range(len(records))]
            if records.topic == "e":
                log.commit([Output("echo", None, b"%d" % at) for at in times], [])
            else:
                got += [(records.topic, at) for at in times]
    log.close()
    return got


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.integers(0, 9), max_size=12).map(sorted),
    said=st.lists(st.integers(-1, 10), max_size=5).map(sorted),
    ahead=st.integers(0, 12),
    together=st.booleans(),
    epoch_records=st.integers(1, 9),
    chunk_rows=st.integers(1, 9),
)
def test_what_is_said_comes_behind_what_came_of_records_up_to_its_time(
    tmp_path_factory: pytest.TempPathFactory, events, said, ahead, together, epoch_records, chunk_rows
):
    """Wherever it stands ahead of its time, in one file with the others or in its own, however the file is read."""
    folder = tmp_path_factory.mktemp("files")
    rows = [("e", i, at) for i, at in enumerate(events)]
    words = [("said", i, at) for i, at in enumerate(said)]
    if together:
        before = min([ahead, *(i for i, at in enumerate(events) if said and at > said[0])])
        paths = [write_timed(folder / "all.parquet", [*rows[:before], *words, *rows[before:]])]
    else:
        paths = [write_timed(folder / "e.parquet", rows), write_timed(folder / "said.parquet", words)]
    expected = sorted([("echo", at) for at in events] + [("said", at) for at in said], key=lambda one: one[1])
    assert echoed(paths, epoch_records, chunk_rows) == expected


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    """A recording of nothing but words of the future is refused with a sentence."""
    monkeypatch.setattr(recorded_log, "WAITING_MAX", 2)
    path = write_timed(tmp_path / "said.parquet", [("said", i, 50) for i in range(3)])
    with pytest.raises(UsageError, match="more than 2 records of said wait for their time"):
        echoed([path], 9, 9)
