"""Checkpoints as files: whole or not there, checked before they are used, and never fewer than they were."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import numpy as np
import pytest
from pyarrow import fs

from streamer.errors import UsageError
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import settings_fingerprint
from streamer.runtime.checkpoints import store as checkpoint
from streamer.runtime.checkpoints.store import KEPT, CheckpointStore, Manifest
from streamer.runtime.snapshot import Snapshot

FINGERPRINT = settings_fingerprint("{}")
STATE = Snapshot({"names": ["a", "b"]}, {"x": np.arange(1000.0), "y": np.ones((3, 7), np.int16)})


def manifest(number=1, unit="detect-0"):
    epoch = Epoch(unit, number, {"t": 10 * number}, 2, "5e", FINGERPRINT, at=number + 3)
    return Manifest(unit, epoch, {"t": 0}, {"t": "id"}, "{}", FINGERPRINT, "test")


def keep(store, number=1, unit="detect-0", state=STATE):
    spool = store.spool(unit)
    spool.write_bytes(state.to_bytes())
    return store.publish(spool, manifest(number, unit))


def numbers(store, unit="detect-0"):
    return [one.epoch.number for one in store.newest_first(unit)]


def is_state(snapshot, state=STATE):
    return snapshot is not None and snapshot.to_bytes() == state.to_bytes()


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(str(tmp_path), "a group/with a slash")


def files(tmp_path):
    return sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_what_is_kept_comes_back(store, tmp_path):
    """State, cut, place, starts, topic ids and settings, by another store on the same folder."""
    keep(store)
    (one,) = CheckpointStore(str(tmp_path), "a group/with a slash").newest_first("detect-0")
    assert is_state(one.read())
    assert (one.epoch, one.epoch.at) == (manifest().epoch, 4)
    assert (one.starts, one.topic_ids, one.settings, one.fingerprint) == (
        {"t": 0},
        {"t": "id"},
        "{}",
        FINGERPRINT,
    )
    assert numbers(store, "detect-1") == numbers(CheckpointStore(str(tmp_path), "another")) == []


def test_a_restored_state_is_nobody_elses(store):
    """It may be changed, and neither the file nor another reader sees that."""
    keep(store)
    (one,) = store.newest_first("detect-0")
    changed = one.read()
    assert changed.is_private
    changed.arrays["x"][:] = -1
    assert is_state(one.read())


def test_the_newest_three_stay(store, tmp_path):
    """Of each unit; older ones and pieces of interrupted ones go, and other units' are not touched."""
    keep(store, 1, "decide")
    for number in range(1, 6):
        (store.spool("detect-0").parent / "000000000099-dead.arrow").write_bytes(b"a piece")
        keep(store, number)
    assert numbers(store) == [5, 4, 3]
    assert numbers(store, "decide") == [1]
    assert len(files(tmp_path)) == 2 * (KEPT + 1)


def test_what_another_process_writes_is_left_alone(store):
    """A spool of a process that is alive stays, one of a process that died goes."""
    folder = store.spool("detect-0").parent
    theirs, dead = folder / f"tmp-{os.getppid()}-x.arrow", folder / "tmp-4194304-x.arrow"
    theirs.touch()
    dead.touch()
    keep(store)
    assert theirs.exists()
    assert not dead.exists()


def broken(data, how):
    """The bytes of a file, damaged: cut short, longer, or with one bit flipped."""
    n = len(data)
    yield from (data[: n * part // 8] for part in range(8)) if how == "cut" else ()
    yield from (data + b"x",) if how == "longer" else ()
    for part in range(32) if how == "flipped" else ():
        at = (n - 1) * part // 31
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("how", ["cut", "longer", "flipped"])
@pytest.mark.parametrize("suffix", [".arrow", ".json"])
def test_a_damaged_checkpoint_is_never_loaded(store, tmp_path, how, suffix, caplog):
    """Whatever region is hit, of state or manifest: it gives the true state or none, and the older one is there."""
    keep(store, 1)
    keep(store, 2)
    (path,) = [path for path in files(tmp_path) if path.name.startswith("000000000002") and path.suffix == suffix]
    good = path.read_bytes()
    for bad in broken(good, how):
        path.write_bytes(bad)
        for one in store.newest_first("detect-0"):
            snapshot = one.read()
            assert snapshot is None or is_state(snapshot)
        last = list(store.newest_first("detect-0"))[-1]
        assert last.epoch.number == 1
        assert is_state(last.read())
        if suffix == ".arrow":
            assert next(store.newest_first("detect-0")).read() is None
            assert "is rejected; trying an older one" in caplog.messages[-1]


@pytest.mark.parametrize("field", ["format", "semantics"])
def test_a_checkpoint_of_another_version_is_passed_over(store, monkeypatch, field, caplog):
    """One that another format wrote, or that would fold otherwise."""
    keep(store)
    monkeypatch.setattr(checkpoint, field.upper(), 99)
    assert numbers(store) == []
    assert "this version reads format" in caplog.messages[-1]


def test_a_checkpoint_of_another_unit_is_passed_over(store, tmp_path):
    """Files that somebody has moved into the wrong folder."""
    keep(store)
    folder = store.spool("detect-0").parent
    folder.rename(folder.with_name("detect-1"))
    assert numbers(store, "detect-1") == []


STEPS = ["fsync", "replace", "write_bytes", "open"]


@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_fails_at_any_step_costs_no_older_checkpoint(store, tmp_path, monkeypatch, step):
    """At the first, the second or the third call of any kind, the older one is still there and can be read."""
    keep(store, 1)
    owner = os if step in ("fsync", "open") else type(tmp_path)
    real = getattr(owner, step)
    for turn in range(4):
        calls = [turn]

        def failing(*arguments, calls=calls, **options):
            calls[0] -= 1
            if calls[0] < 0:
                raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        spool = store.spool("detect-0")
        spool.write_bytes(STATE.to_bytes())
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, failing)
            try:
                store.publish(spool, manifest(2))
            except OSError:
                assert 1 in numbers(store)
        last = list(store.newest_first("detect-0"))[-1]
        assert is_state(last.read())
    keep(store, 3)
    assert numbers(store)[0] == 3


def test_a_store_that_is_away_has_no_checkpoints(store, tmp_path, caplog):
    """It is reported in the log, and the service folds from the beginning."""
    keep(store)
    folder = store.spool("detect-0").parent
    folder.rename(tmp_path / "elsewhere")
    folder.touch()
    assert numbers(store) == []
    assert "can't be listed" in caplog.messages[-1]


def test_a_url_that_means_nothing_is_told():
    """By name, before anything is read."""
    with pytest.raises(UsageError, match=r"checkpoints\.url: nowhere://x names no usable folder or object store"):
        CheckpointStore("nowhere://x", "g")


def test_an_object_store_keeps_them_too(s3):
    """Kept, listed newest first, pruned, read and checked, through S3's own protocol."""
    store = CheckpointStore(s3, "group")
    for number in range(1, 6):
        keep(store, number)
    assert numbers(store) == [5, 4, 3]
    newest = next(store.newest_first("detect-0"))
    assert is_state(newest.read())
    bucket, _ = fs.FileSystem.from_uri(s3)
    with bucket.open_output_stream(f"bucket/prefix/group/detect-0/{newest.manifest.state}") as sink:
        sink.write(b"x" * newest.manifest.bytes)
    assert newest.read() is None


class Refuses(BaseHTTPRequestHandler):
    """Answers 503 to everything."""

    def answer(self):
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, *_):
        pass


def test_an_object_store_that_refuses_fails_and_is_told(monkeypatch, caplog):
    """Nothing is kept, nothing hangs, and reading finds none."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    url = f"s3://bucket/p?endpoint_override=127.0.0.1:{server.server_port}&scheme=http&region=us-east-1"
    store = CheckpointStore(url, "group")
    spool = store.spool("detect-0")
    try:
        with pytest.raises(OSError, match=r"503|SLOW_DOWN|UNKNOWN|SERVICE_UNAVAILABLE|HTTP"):
            store.publish(spool, manifest())
        assert numbers(store) == []
        assert "can't be listed" in caplog.messages[-1]
    finally:
        spool.unlink()
        server.shutdown()
        server.server_close()


def test_a_manifest_is_plain_json(store, tmp_path):
    """So that people and other programs can read what a checkpoint is."""
    keep(store)
    (path,) = [path for path in files(tmp_path) if path.suffix == ".json"]
    found = msgspec.json.decode(path.read_bytes())
    assert (found["unit"], found["epoch"]["number"], found["bytes"]) == ("detect-0", 1, len(STATE.to_bytes()))
