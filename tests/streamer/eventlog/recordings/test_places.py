"""Paths and URLs of recordings: what names a file, what is a topic, and what messages show."""

import pytest
from pyarrow import fs

from streamer.eventlog.recordings.places import files_of, shown, topic_of

KEYS = "s3://id:secret@bucket/june/flights.csv.gz?region=us-east-1"


@pytest.mark.parametrize(
    ("where", "topic", "message"),
    [
        ("june/bus.predictions.parquet", "bus", "june/bus.predictions.parquet"),
        ("./.hidden.csv", "hidden", "./.hidden.csv"),
        ("what?.csv", "what?", "what?.csv"),
        (KEYS, "flights", "s3://bucket/june/flights.csv.gz"),
        ("gs://bucket/a@b.parquet", "a@b", "gs://bucket/a@b.parquet"),
        ("s3://bucket/", "bucket", "s3://bucket/"),
    ],
)
def test_messages_hold_no_keys(where, topic, message):
    """Neither the options of a URL nor its keys; a path is shown as it is."""
    assert (topic_of(where), shown(where)) == (topic, message)


def test_files_of_a_folder_keep_its_options(s3, tmp_path):
    """Each is a URL that can be opened as the folder was; hidden files are left out."""
    for name in ("b.csv", "a.csv", ".lock"):
        (tmp_path / name).write_text("x\n1\n")
    assert files_of(str(tmp_path)) == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    folder = s3.replace("prefix", "places").replace("s3://", "s3://test:test@")
    fs.copy_files(str(tmp_path), folder)
    assert files_of(folder) == [folder.replace("places", f"places/{name}.csv") for name in ("a", "b")]
