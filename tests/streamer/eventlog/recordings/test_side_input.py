"""Records that take their place by their own time, behind what came of the others up to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.eventlog.base import Output, Records
from streamer.eventlog.memory import MemoryLog
from streamer.eventlog.recordings import side_input as aside
from streamer.eventlog.recordings.log import RecordedLog
from streamer.eventlog.recordings.parquet_writer import RecordingWriter
from streamer.eventlog.recordings.recording import open_recording


def write(path: Path, rows: list[tuple[str, int, int]]) -> str:
    """A recording of these (topic, offset, time), in this order."""
    with RecordingWriter(path) as writer:
        for topic, offset, at in rows:
            writer.write(Records.build(topic, 0, [(offset, at, None, b"%d" % at, ())]))
    return str(path)


def read(paths: list[str], epoch_records: int, chunk_rows: int) -> list[tuple[str, int]]:
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
        paths = [write(folder / "all.parquet", [*rows[:before], *words, *rows[before:]])]
    else:
        paths = [write(folder / "e.parquet", rows), write(folder / "said.parquet", words)]
    expected = sorted([("echo", at) for at in events] + [("said", at) for at in said], key=lambda one: one[1])
    assert read(paths, epoch_records, chunk_rows) == expected


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    """A recording of nothing but words of the future is refused with a sentence."""
    monkeypatch.setattr(aside, "WAITING_MAX", 2)
    path = write(tmp_path / "said.parquet", [("said", i, 50) for i in range(3)])
    with pytest.raises(UsageError, match="more than 2 records of said wait for their time"):
        read([path], 9, 9)
