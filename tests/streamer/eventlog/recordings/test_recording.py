"""What is no recording is refused with a sentence that says what it looks like and what would do."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from streamer.errors import UsageError
from streamer.eventlog.recordings.recording import RecordingFormat, RecordingWriter, kind_of, open_recording


@pytest.mark.parametrize(
    ("content", "likeness"),
    [
        (b"", "is empty, so there is nothing to replay"),
        (b"\n \n", "is empty"),
        (b"PK\x03\x04rest", "looks like a zip archive"),
        (b"ARROW1\x00\x00", "looks like an Arrow file"),
        (b"Obj\x01\x00", "looks like an Avro file"),
        ('{"a": 1}'.encode("utf-16"), "looks like text in UTF-16"),
        (b"\x01\x02\x00\x03", "looks like a binary file"),
        (b'[{"a": 1},\n{"b": 2}\n]', "looks like one JSON array"),
        (b'{\n  "a": 1\n}\n', "looks like JSON spread over several lines"),
        (b"model_id,prediction\na,1\n", "looks like a table in text"),
        (b"hello\nworld\n", "looks like text that is not JSON"),
        (gzip.compress(b"hello", mtime=0), "looks like text that is not JSON"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, likeness: str) -> None:
    """The sentence names the file, its likeness, and the kinds that are accepted."""
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"file\.jsonl {likeness}.*A recording is Parquet .* JSON lines .*kcat"):
        open_recording(path)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """A wrong path is the user's to mend."""
    with pytest.raises(UsageError, match=r"There is no recording .*nope\.parquet"):
        open_recording(tmp_path / "nope.parquet")


def test_a_directory_is_a_sentence(tmp_path: Path) -> None:
    """The files in it are to be named."""
    with pytest.raises(UsageError, match=r"is a directory. Name the recordings in it"):
        open_recording(tmp_path)


def test_parquet_within_gzip_is_to_be_unpacked(tmp_path: Path) -> None:
    """Parquet is read from its end, which a packed stream doesn't allow."""
    with RecordingWriter(tmp_path / "r"):
        pass
    (tmp_path / "r.gz").write_bytes(gzip.compress((tmp_path / "r").read_bytes()))
    with pytest.raises(UsageError, match=r"r\.gz holds a Parquet recording, which can only be read from a plain file"):
        open_recording(tmp_path / "r.gz")


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "standard input is empty"), (b"PAR1", "standard input holds a Parq")]
)
def test_standard_input_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str) -> None:
    """Nothing, or something that can't be streamed, is said of standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    with pytest.raises(UsageError, match=sentence):
        open_recording("-")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b'\n\n{"a": 1}', RecordingFormat.EVENTS),
        (b'damaged\n{"a": 1}\n', RecordingFormat.EVENTS),
        (b'{"a": "' + b"x" * 100_000, RecordingFormat.EVENTS),
        (b'{"topic":"t","partition":0,"offset":1,"payload":null}\n', RecordingFormat.ENVELOPES),
        (
            b'{"topic":"t","partition":0,"offset":1,"tstype":"create","payload":"' + b"x" * 100_000,
            RecordingFormat.ENVELOPES,
        ),
        (b"PAR1...", RecordingFormat.PARQUET),
        (b"1\n2\n", None),
        (b"[" * 70_000, None),
    ],
)
def test_the_kind_is_told_by_the_first_bytes(head: bytes, kind: RecordingFormat | None) -> None:
    """Damaged lines at the top, and a first line longer than what is looked at, don't hide it."""
    assert kind_of(head) is kind
