"""`driftline record` into a folder of parts, on a broker: killed, started again, filtered and redacted."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from driftline_process import DRIFTLINE, PATIENCE_S, Place

from streamer.app import record as app
from streamer.app.offline.record_filter import RecordFilter, Redaction
from streamer.app.offline.recorded_tables import open_recordings
from streamer.clock import SystemClock
from streamer.config import Config
from streamer.errors import BrokerError, UsageError
from streamer.eventlog.base import Records
from streamer.eventlog.kafka.connection import KafkaConnection
from streamer.eventlog.recordings.places import files_of, place_of
from streamer.eventlog.recordings.recording import RecordingFolder, RecordingWriter, open_recording
from streamer.eventlog.time_merge import Taken

pytestmark = pytest.mark.broker

PARTITIONS, N = 3, 6000
PAD = "x" * 200
NONE = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def place(kafka_broker, tmp_path_factory) -> Place:
    place = Place(kafka_broker.bootstrap, tmp_path_factory.mktemp("place"), partitions=PARTITIONS)
    send(place, 0, N)
    return place


def send(place: Place, start: int, end: int) -> None:
    for p in range(PARTITIONS):
        rows = [(1000 + i, json.dumps({"id": i, "email": f"{i}@b.c", "pad": PAD}).encode()) for i in range(start, end)]
        place.produce_at(place.events, p, rows[p::PARTITIONS])


def record(place: Place, out: Path | str, chosen: RecordFilter | None = None, records_max: int | None = None) -> int:
    """Record to the end, in this process: a folder in parts of 20 KB, or a file."""
    target = RecordingWriter(out) if Path(out).suffix == ".parquet" else RecordingFolder(out, 20_000)
    return app.record(
        KafkaConnection(bootstrap=(place.bootstrap,)),
        (place.events,),
        target,
        SystemClock(),
        extent=app.Extent(until_end=True, records_max=records_max),
        chosen=chosen or RecordFilter(),
        stop=threading.Event(),
        progress=lambda *_: None,
    )


def ids_of(parts: Iterable[Path | str]) -> list[int]:
    """The ids in the recorded order."""
    found = []
    for part in parts:
        with open_recording(part) as recording:
            for chunk in recording.chunks():
                data = chunk.data.tobytes()
                found += [json.loads(data[a:b])["id"] for a, b in chunk.value.tolist()]
    return found


def test_a_killed_recording_goes_on_without_gap_or_duplicate(place, tmp_path):
    """Parts that were complete stay, what was being written is recorded again, and new records follow."""
    out = tmp_path / "june"
    command = [*DRIFTLINE, "record", "--bootstrap", place.bootstrap, place.events, "--out", f"{out}/"]
    killed = subprocess.Popen([*command, "--rotate", "20KB"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while not list(out.glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    complete = sorted(out.glob("*.parquet"))
    before = ids_of(complete)
    assert before == sorted(before)
    send(place, N, N + 300)
    assert record(place, out) == N + 300 - len(before)
    parts = sorted(out.glob("*.parquet"))
    assert parts[: len(complete)] == complete
    assert len(parts) > len(complete)
    assert ids_of(parts) == list(range(N + 300))
    assert record(place, out) == 0


def test_a_folder_is_written_by_one_process(tmp_path):
    """A second is refused, and a part that does not say where it ended."""
    with (
        RecordingFolder(tmp_path, 1000),
        pytest.raises(UsageError, match="Another process records into"),
        RecordingFolder(tmp_path, 1000),
    ):
        pass
    (tmp_path / "000001.parquet").write_bytes(b"PAR1")
    with (
        pytest.raises(UsageError, match=r"000001\.parquet does not say where it ended"),
        RecordingFolder(tmp_path, 1000),
    ):
        pass


@pytest.mark.parametrize(("at", "match"), [(10**6, "it was created again"), (9, "deleted the records in between")])
def test_lost_records_and_a_new_topic_are_refused(place, tmp_path, at, match):
    """Going on would leave a gap that nobody sees."""
    delete_records(place.bootstrap, place.events, 0, 10)
    with RecordingFolder(tmp_path / "june", 1000) as folder:
        folder.ends[place.events, 0] = at
        folder.write_merged(Taken([Records.build("bus", 0, [])], NONE, NONE))
    with pytest.raises(BrokerError, match=rf"{place.events}\[0\] up to offset {at}, .* {match}"):
        record(place, tmp_path / "june")


def delete_records(bootstrap: str, topic: str, partition: int, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        done.result(PATIENCE_S)


def test_a_recording_hides_fields(place, tmp_path):
    """Nothing of a dropped field is in the file. `--records` counts what is kept."""
    chosen = RecordFilter(redactions=[Redaction.parse("id=hash"), Redaction.parse("email=drop")], salt=b"pepper")
    out = tmp_path / "x.parquet"
    assert record(place, out, chosen, records_max=50) == 50
    with open_recording(out) as recording:
        (chunk,) = recording.chunks()
    data = chunk.data.tobytes()
    values = [json.loads(data[a:b]) for a, b in chunk.value.tolist()]
    assert len({one["id"] for one in values}) == len(values) == 50
    assert all(set(one) == {"id", "pad"} and len(one["id"]) == 32 for one in values)
    assert b"@b.c" not in out.read_bytes()
    by_key = RecordFilter(share=0.5)
    assert record(place, out, by_key) == 0
    assert by_key.keyless == record(place, tmp_path / "all.parquet")  # no record has a key


def test_parts_may_lie_in_an_object_store(place, tmp_path, s3):
    """A second start goes on after the parts that are there, and a replay finds all by the name of the folder."""
    folder = s3.replace("prefix", "recorded/")
    taken = record(place, folder, records_max=2_000)
    whole = record(place, tmp_path / "whole.parquet")
    assert (taken, record(place, folder)) == (2_000, whole - 2_000)
    assert len(files_of(folder)) > 1
    assert ids_of(files_of(folder)) == ids_of([tmp_path / "whole.parquet"])
    found, _ = open_recordings([folder], None, Config())
    assert sum(one.rows for one in found) == whole
    for one in found:
        one.close()
    (system, path), damaged = place_of(folder), files_of(folder)[-1]
    with system.open_output_stream(f"{path.rstrip('/')}/{len(files_of(folder)):06d}.parquet") as file:
        file.write(b"PAR1")
    with pytest.raises(UsageError, match=r"s3://bucket/recorded/0000\d\d.parquet does not say where it ended"):
        record(place, folder)
    with pytest.raises(UsageError, match="its footer can't be read"):
        open_recording(damaged)
    with pytest.raises(UsageError, match=r"There is no recording s3://bucket/juli.parquet. Check the URL."):
        open_recording(s3.replace("prefix", "juli.parquet"))
