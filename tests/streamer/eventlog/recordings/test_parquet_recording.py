"""Recordings in Parquet: written, read back, damaged and made by others."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage_kit import damaged
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.recordings import parquet_writer
from streamer.eventlog.recordings.parquet_writer import SCHEMA
from streamer.eventlog.recordings.recording import RecordingWriter, open_recording

Row = tuple[str, int, int, int, bytes | None, bytes | None, tuple]

PAYLOAD = st.none() | st.binary(max_size=12)
HEADERS = st.lists(st.tuples(st.text("hé", max_size=3), PAYLOAD), max_size=3).map(tuple)
PLACE = st.tuples(st.sampled_from("ab"), st.sampled_from([0, 1, 7]))


@st.composite
def recorded_rows(draw: st.DrawFn) -> list[Row]:
    """Rows of a few partitions, interleaved, offsets increasing in each."""
    reached: dict[tuple[str, int], int] = {}
    rows: list[Row] = []
    for topic, partition in draw(st.lists(PLACE, max_size=25)):
        offset = reached.get((topic, partition), -1) + draw(st.integers(1, 3))
        reached[topic, partition] = offset
        time = draw(st.integers(-1, 5))
        rows.append((topic, partition, offset, time, draw(PAYLOAD), draw(PAYLOAD), draw(HEADERS)))
    return rows


def write(path: Path, rows: list[Row]) -> None:
    with RecordingWriter(path) as writer:
        for topic, partition, *row in rows:
            writer.write(Records.build(topic, partition, [tuple(row)]))


def read(path: Path, chunk_rows: int = 8192) -> list[Row]:
    """The rows in recorded order, through the columns of the chunks."""
    rows: list[Row] = []
    with open_recording(path) as recording:
        for chunk in recording.chunks(chunk_rows):
            assert 0 < len(chunk) <= chunk_rows
            for i in range(len(chunk)):
                (one,) = chunk.take(slice(i, i + 1)).split()
                rows.append(
                    (
                        one.topic,
                        one.partition,
                        int(one.offset[0]),
                        int(one.timestamp_ms[0]),
                        one.key_of(0),
                        one.value_of(0),
                        one.headers_of(0),
                    )
                )
    return rows


@settings(max_examples=60, deadline=None)
@given(rows=recorded_rows(), chunk_rows=st.integers(1, 30), group_rows=st.integers(1, 10))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], chunk_rows: int, group_rows: int
) -> None:
    """Any records come back in the recorded order, byte for byte, however the rows are grouped and read."""
    path = tmp_path_factory.mktemp("r") / "r.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_writer, "ROW_GROUP_ROWS", group_rows)
        write(path, rows)
    assert read(path, chunk_rows) == rows


def test_a_stretch_is_written_as_it_is(tmp_path: Path) -> None:
    """Part of a stretch is written without its neighbours, and spans that step back in the buffer are right too."""
    built = Records.build("t", 0, [(i, i, b"k%d" % i, None if i % 3 == 0 else b"v" * i, ()) for i in range(10)])
    _, right = built.split(4)
    backwards = Records(
        "u", 0, built.data, built.offset, built.timestamp_ms, built.key[::-1], built.value[::-1], built.headers, 10
    )
    with RecordingWriter(tmp_path / "r") as writer:
        writer.write(right)
        writer.write(backwards)
    rows = read(tmp_path / "r")
    assert [(row[2], row[4], row[5]) for row in rows[:6]] == [
        (i, built.key_of(i), built.value_of(i)) for i in range(4, 10)
    ]
    assert [(row[4], row[5]) for row in rows[6:]] == [(built.key_of(9 - i), built.value_of(9 - i)) for i in range(10)]


def test_row_groups_are_bounded_in_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long stretch is cut, and so is a heavy one."""
    monkeypatch.setattr(parquet_writer, "ROW_GROUP_ROWS", 100)
    monkeypatch.setattr(parquet_writer, "ROW_GROUP_BYTES", 10_000)
    with RecordingWriter(tmp_path / "r") as writer:
        writer.write(Records.build("t", 0, [(i, -1, None, b"x", ()) for i in range(250)]))
        writer.write(Records.build("t", 0, [(250 + i, -1, None, b"x" * 1000, ()) for i in range(30)]))
    metadata = pq.ParquetFile(tmp_path / "r").metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    assert metadata.num_rows == 280
    assert max(group.num_rows for group in groups) <= 100
    assert max(group.total_byte_size for group in groups) < 20_000


def test_no_file_appears_unless_it_is_whole(tmp_path: Path) -> None:
    """While writing, and after an exception, there is nothing under the final name, and no leftover."""
    path = tmp_path / "r.parquet"
    writer = RecordingWriter(path)
    with suppress(KeyboardInterrupt), writer:
        writer.write(Records.build("t", 0, [(0, -1, None, b"x", ())]))
        assert not path.exists()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """Writing where nothing can be written is a UsageError."""
    with (
        pytest.raises(UsageError, match=r"Can't write the recording .*No such file"),
        RecordingWriter(tmp_path / "no" / "r"),
    ):
        pass


def test_the_format_is_named_in_the_file(tmp_path: Path) -> None:
    """Schema and metadata are those that the documentation promises, and the number of rows is known."""
    write(tmp_path / "r", [("t", 0, 0, -1, None, b"x", ())])
    schema = pq.read_schema(tmp_path / "r")
    assert schema.equals(SCHEMA)
    assert schema.metadata[b"driftline.format"] == b"driftline-recording"
    assert schema.metadata[b"driftline.version"] == b"1"
    with open_recording(tmp_path / "r") as recording:
        assert (recording.rows, recording.rows_read, recording.bytes_read()) == (1, 0, 0)
        list(recording.chunks())
        assert (recording.rows_read, recording.bytes_read()) == (1, (tmp_path / "r").stat().st_size)


def test_a_recording_of_nothing_is_a_recording(tmp_path: Path) -> None:
    """A topic may have been empty."""
    write(tmp_path / "r", [])
    assert read(tmp_path / "r") == []


def test_values_without_keys_are_not_copied(tmp_path: Path) -> None:
    """The spans of a chunk point into the buffer that Arrow decoded into."""
    write(tmp_path / "r", [("t", 0, i, -1, None, b"x" * 100, ()) for i in range(50)])
    with open_recording(tmp_path / "r") as recording:
        (chunk,) = recording.chunks()
        assert not chunk.data.flags.owndata


@pytest.mark.parametrize("offsets", [[0, 2, 2], [0, 2, 1], [-1]])
def test_offsets_that_do_not_increase_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    """The sentence names file, row, partition and both offsets, wherever the file is cut."""
    path = tmp_path / "bad.parquet"
    write(path, [("t", 0, 9, -1, None, b"", ())] + [("t", 4, o, -1, None, b"", ()) for o in offsets])
    before = max([-1, *offsets[:-1]])
    sentence = rf"Row {len(offsets)} of .*bad.parquet is offset {offsets[-1]} of t\[4\], .* before it \({before}\)"
    for chunk_rows in (1, 2, 100):
        with pytest.raises(UsageError, match=sentence):
            read(path, chunk_rows)


def test_files_of_other_tools_are_read(tmp_path: Path) -> None:
    """Plain types convert, missing columns are unknown, others are passed over."""
    table = pa.table(
        {"extra": [1.5, 2.5], "value": ["a", None], "topic": ["x", "y"], "offset": pa.array([3, 4], pa.int32())}
    )
    pq.write_table(table.append_column("partition", pa.array([0, 1])), tmp_path / "f.parquet")
    assert read(tmp_path / "f.parquet") == [("x", 0, 3, -1, None, b"a", ()), ("y", 1, 4, -1, None, None, ())]


def test_empty_lists_of_headers_are_none(tmp_path: Path) -> None:
    """Null and empty mean the same: no headers; null names and values within are harmless."""
    headers = [[], None, [{"name": "n", "value": None}, {"name": None, "value": b"v"}]]
    columns = {"topic": ["t"] * 3, "partition": [0] * 3, "offset": range(3), "value": [b""] * 3, "headers": headers}
    pq.write_table(pa.table(columns), tmp_path / "f")
    assert [row[6] for row in read(tmp_path / "f")] == [(), (), (("n", None), ("", b"v"))]
    with open_recording(tmp_path / "f") as recording:
        (chunk,) = recording.chunks()
        assert (chunk.headers[:, 0] >= 0).tolist() == [False, False, True]


def test_a_great_many_partitions_are_told_apart(tmp_path: Path) -> None:
    """Partition numbers far apart are grouped as well as dense ones."""
    rows: list[Row] = [("t", 1_000_000_000 * (i % 3), i, i, b"k", b"v", ()) for i in range(20)]
    write(tmp_path / "r", rows)
    assert read(tmp_path / "r") == rows


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"topic": None}, "Parquet file with the columns .*; a recording also needs topic"),
        ({"offset": [0, None]}, "Row 1 of .* has no offset"),
        ({"topic": ["t", None]}, "Row 1 of .* has no topic"),
        ({"offset": ["a", "b"]}, "Column offset of .* is of type string, which can't become int64"),
        ({"offset": [0.5, 1.5]}, "Column offset of .* is of type double, which can't become int64"),
    ],
)
def test_columns_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, list | None], sentence: str) -> None:
    """A Parquet file that is no recording says which column is wrong, and how."""
    columns = {"topic": ["t", "t"], "partition": [0, 0], "offset": [0, 1], "value": [b"", b""]} | change
    pq.write_table(pa.table({name: c for name, c in columns.items() if c is not None}), tmp_path / "f")
    with pytest.raises(UsageError, match=sentence):
        read(tmp_path / "f")


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    """A recording that this code is too old for says so."""
    pq.write_table(
        SCHEMA.empty_table().replace_schema_metadata(
            {"driftline.format": "driftline-recording", "driftline.version": "2"}
        ),
        tmp_path / "f",
    )
    with pytest.raises(UsageError, match="recording of version 2; this Driftline reads up to 1"):
        open_recording(tmp_path / "f")


def test_damage_is_a_sentence(tmp_path: Path) -> None:
    """A file cut short is refused when opened; bytes changed within are noticed where they are read."""
    path = tmp_path / "r.parquet"
    write(path, [("t", 0, i, -1, b"k", b"%d" % (i * i), ()) for i in range(1000)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="begins as a Parquet file does, but its footer can't be read"):
        open_recording(path)
    path.write_bytes(whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :])
    with pytest.raises(UsageError, match=r"r\.parquet is damaged after row 0"):
        read(path)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_whatever_is_damaged_is_told_in_a_sentence(tmp_path: Path, compression: str) -> None:
    """A damaged file is read, or refused; nothing else is raised, wherever the damage is."""
    rows = [
        {"topic": "t", "partition": 0, "offset": i, "timestamp_ms": i, "key": None, "value": b"v", "headers": None}
        for i in range(30)
    ]
    path, rng = tmp_path / "r.parquet", random.Random(3)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, compression=compression)
    whole, refused = path.read_bytes(), 0
    for _ in range(1000):
        path.write_bytes(damaged(whole, rng))
        try:
            read(path)
        except UsageError:
            refused += 1
    assert refused > 500


def test_a_damaged_recording_is_refused_or_the_same(tmp_path: Path) -> None:
    """Checksums, the number of rows and the columns of its own recordings leave no damage unnoticed."""
    path, rng = tmp_path / "r.parquet", random.Random(5)
    rows: list[Row] = [("t", i % 2, i, i, b"k" if i % 3 else None, b"%d" % (i * i), (("h", b"1"),)) for i in range(30)]
    write(path, rows)
    whole, wanted, refused = path.read_bytes(), read(path), 0
    for _ in range(1500):
        path.write_bytes(damaged(whole, rng))
        try:
            assert read(path) == wanted
        except UsageError:
            refused += 1
    assert refused > 1000
