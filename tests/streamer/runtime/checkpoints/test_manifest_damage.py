"""A manifest is believed only as a whole: whatever is hit, the older checkpoint or the log is used."""

from hashlib import sha256
from random import Random

import msgspec
import pytest

from streamer.config import Config
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import settings_fingerprint
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest
from streamer.runtime.snapshot import Snapshot

SETTINGS = '{"topics":{"predictions":{"codec":"json"}},"detectors":{"adwin":{"arl0":10000.5}}}'
STATE = Snapshot({}, {})


def manifest(number, fingerprint=None):
    fingerprint = settings_fingerprint(SETTINGS) if fingerprint is None else fingerprint
    epoch = Epoch("detect-0", number, {"t": 10 * number}, 2, "5e", fingerprint, {"t": [3]}, at=number + 3)
    return Manifest("detect-0", epoch, {"t": 0}, {"t": "id"}, SETTINGS, fingerprint, "test")


def keep(store, number, fingerprint=None):
    spool = store.spool("detect-0")
    spool.write_bytes(STATE.to_bytes())
    return store.publish(spool, manifest(number, fingerprint))


@pytest.fixture
def path(tmp_path):
    """The manifest of the second of two checkpoints."""
    store = CheckpointStore(str(tmp_path), "g")
    keep(store, 1)
    keep(store, 2)
    (found,) = tmp_path.rglob("000000000002-*.json")
    return found


def usable(tmp_path):
    """The numbers of the checkpoints that a fresh process finds."""
    return [one.epoch.number for one in CheckpointStore(str(tmp_path), "g").newest_first("detect-0")]


def mutated(good):
    """Manifests with one fault: each byte another by chance and each digit another digit, cuts, gaps, additions."""
    chance = Random(8)
    for at, byte in enumerate(good):
        yield good[:at] + bytes([chance.choice([b for b in range(256) if b != byte])]) + good[at + 1 :]
        yield good[:at] + bytes([byte ^ 1 << chance.randrange(8)]) + good[at + 1 :]
        if chr(byte).isdigit():
            other = chance.choice([digit for digit in b"0123456789" if digit != byte])
            yield good[:at] + bytes([other]) + good[at + 1 :]
    for _ in range(100):
        at = chance.randrange(len(good))
        yield good[:at]
        yield good[:at] + good[at + chance.randrange(1, 20) :]
    yield from (b" " + good, good + b"\n", good.replace(b'"unit"', b'"more":1,"unit"', 1), b'{"x":' + b"[" * 100_000)


def test_a_manifest_with_any_fault_is_passed_over(path, tmp_path):
    """Wherever it is hit, the older checkpoint is the newest that is found."""
    good = path.read_bytes()
    assert usable(tmp_path) == [2, 1]
    believed = []
    for bad in mutated(good):
        path.write_bytes(bad)
        if usable(tmp_path) != [1]:
            believed.append(bad)
    assert believed == []


def test_a_damaged_manifest_is_reported_once(path, tmp_path, caplog):
    """As a warning with its file and what to do, however often the store is read."""
    path.write_bytes(path.read_bytes().replace(b"adwin", b"odwin"))
    store = CheckpointStore(str(tmp_path), "g")
    for _ in range(3):
        assert [one.epoch.number for one in store.newest_first("detect-0")] == [1]
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert str(path) in line.getMessage()
    assert "it is damaged: check the disk or the object store" in line.getMessage()


def test_settings_of_another_fingerprint_are_passed_over(tmp_path, caplog):
    """Even of a manifest with the right SHA-256."""
    keep(CheckpointStore(str(tmp_path), "g"), 1, fingerprint="f1")
    assert usable(tmp_path) == []
    assert "its settings have the fingerprint" in caplog.messages[-1]


def test_a_manifest_states_the_digest_of_its_other_bytes(path):
    """SHA-256 of the same JSON with an empty digest, which other programs can check."""
    data = path.read_bytes()
    stated = msgspec.json.decode(data)["manifest_sha256"]
    assert sha256(data.replace(stated.encode(), b"", 1)).hexdigest() == stated


def test_a_configuration_has_the_fingerprint_of_its_settings():
    """The one that a checkpoint's settings are compared with."""
    config = Config.model_validate_json('{"topics": {"predictions": {}}}')
    assert config.fingerprint == settings_fingerprint(config.settings_text)
