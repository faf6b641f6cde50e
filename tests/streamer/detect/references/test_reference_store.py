"""References by version: the baseline of a retrained model is its training data, and the epochs name it."""

import json

import numpy as np
import pytest
from crash_kit import AfterFailure, CrashingLog

from detectors.reference import CategoryReference, Reference
from streamer.app.folds import ConfiguredFolds, units
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.detect import eviction
from streamer.detect.references.store import ReferenceStore
from streamer.errors import GapError, InDoubtError, UsageError
from streamer.eventlog.history import decode_entry, encode_entry
from streamer.runtime.checkpoints.scheduler import CheckpointScheduler, CheckpointSettings
from streamer.runtime.checkpoints.store import CheckpointStore
from streamer.runtime.epoch_size import CommitSettings
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery, verify

START_MS = 1_782_889_200_000
N = 600  # events; version 2 serves the second half


def reference(centre, model="m", version="2"):
    """Training data around a value; the second column has categories that no event brings first."""
    rng = np.random.default_rng(9)
    days = CategoryReference.of({"sunday": 5, "monday": 50})
    return {
        (model, version, "x"): Reference.of(rng.normal(centre, 1, 2000), 2000),
        (model, version, "day"): days,
    }


@pytest.fixture
def place(tmp_path):
    """The URL of a store, and the configuration that names it."""
    url = str(tmp_path / "references")
    return url, configured(references={"url": url})


def configured(**more):
    settings = {"topics": {"predictions": {}}, "detectors": {"ks_window": {"window": 40, "reference_size": 200}}}
    return Config.model_validate_json(json.dumps(settings | {"retrain": {"min_events_after_onset": 30}} | more))


def log_of_a_release(shift=4.0):
    """A model whose second version serves in a moved world."""
    rng, log = np.random.default_rng(3), CrashingLog(["predictions", "driftline.alerts"], poll_records_max=50)
    for i in range(N):
        is_new = i >= N / 2
        features = {"x": float(rng.normal() + shift * is_new), "day": "monday" if i % 9 else "sunday"}
        event = {"model_id": "m", "model_version": "2" if is_new else "1", "prediction_id": str(i)}
        event |= {"event_time": START_MS + 1000 * i, "features": features, "prediction": features["x"]}
        log.store.append("predictions", None, json.dumps(event).encode(), partition=0)
    log.end_input()
    return log


def service_over(log, config, checkpoints=None, changed=None):
    folds, clock = ConfiguredFolds(config), ManualClock()
    (changed or (lambda: None))()
    if folds.store is not None:
        folds.store.refresh()
    scheduler = NoCheckpoints()
    if checkpoints is not None:
        scheduler = CheckpointScheduler(checkpoints, CheckpointSettings(), clock, Quiet())
    recovery = Recovery(log, folds, checkpoints or NoCheckpoints())
    service = Service(units(config), recovery, CommitSettings(interval_s=0), clock, Observer(), scheduler)
    return service, folds, recovery


class Quiet(Observer):
    """Hears nothing of checkpoints."""

    def on_checkpoint(self, unit, number, seconds, size):
        pass

    def on_checkpoint_pause(self, seconds):
        pass


def alerts(log):
    records = log.store.read("driftline.alerts")
    return [json.loads(records.value_of(i)) for i in range(len(records))]


def run(service, turns=10_000):
    left = [turns]

    def stopped():
        left[0] -= 1
        return left[0] < 0

    service.run(stopped)


def verified(log, config):
    _, _, recovery = service_over(log.reopen(), config)
    recovery.log._unresumed = {"detect-0"}
    return verify([recovery], "detect-0", lambda _done, _total: None)


def test_a_retrained_version_is_compared_with_its_own_training_data(place):
    """With a reference of the moved world, version 2 has no drift; with one of the old world, it has."""
    url, config = place
    found = {}
    for centre in (4.0, 0.0):
        log = log_of_a_release()
        service, folds, _ = service_over(log, config)
        run(service, 3)
        assert folds.store.catalog == {}, "the reference comes while the service runs"
        digest = ReferenceStore(f"{url}-{centre}", 2000).add("m", "2", reference(centre))
        folds.store._url = f"{url}-{centre}"
        folds.store.refresh()
        run(service)
        found[centre] = [one for one in alerts(log) if one["column"] == "x" and one["state"] == "firing"]
        assert [one.references for one in log.store.epochs["detect-0"] if one.references] == [{"m": {"2": digest}}]
    assert found[4.0] == []
    (alert,) = found[0.0]
    assert (alert["model_version"], alert["detector"]) == ("2", "ks_window")
    assert alert["reference_digest"]


def test_a_replay_loads_what_the_epochs_name_and_nothing_else(place):
    """A restart, a checkpoint and `verify` agree with the past, whatever the store holds by now."""
    url, config = place
    golden_log = log_of_a_release()
    run(service_over(golden_log, config, changed=lambda: ReferenceStore(url, 2000).add("m", "2", reference(0.0)))[0])
    for stop_at in (1, 4, 6, 7, 9, 11):
        log = log_of_a_release()
        checkpoints = CheckpointStore(f"{url}-state-{stop_at}", "group")
        run(service_over(log, config, checkpoints)[0], stop_at)
        ReferenceStore(url, 2000).add("m", "3", reference(7.0, version="3"))
        again = log.reopen()
        run(service_over(again, config, checkpoints if stop_at % 2 else None)[0])
        assert alerts(again) == alerts(golden_log)
        report = verified(log, config)
        assert (report.differing, report.last) == ([], len(log.store.epochs["detect-0"]))


def test_a_reference_that_comes_too_late_changes_nothing(place):
    """A version that has been seen keeps the baseline of its first values, also after a restart."""
    url, config = place
    log = log_of_a_release()
    service, folds, _ = service_over(log, config)
    run(service, 8)
    assert "2" in service.units["detect-0"].fold.context.names.versions.ids
    ReferenceStore(url, 2000).add("m", "2", reference(0.0))
    folds.store.refresh()
    run(service)
    assert not any(one.references for one in log.store.epochs["detect-0"])
    assert alerts(log) == []
    assert verified(log, config).differing == []


def test_a_crash_between_note_and_outputs_loses_no_reference(place):
    """The epoch is in the log and its outputs are not: they are published by the noted reference."""
    url, config = place
    log = log_of_a_release()
    service, folds, _ = service_over(log, config)
    run(service, 2)
    ReferenceStore(url, 2000).add("m", "2", reference(0.0))
    folds.store.refresh()
    log.doubt_next_commit(AfterFailure.EPOCHS)
    with pytest.raises(InDoubtError):
        run(service, 1)
    again = log.reopen()
    service, folds, _ = service_over(again, config)
    folds.store.catalog = {}
    run(service)
    assert [one["column"] for one in alerts(again) if one["state"] == "firing"] == ["x"]
    assert verified(log, config).differing == []


def test_a_reference_that_is_gone_is_a_gap_with_its_name(place, tmp_path):
    """What the state rests on must be there: `verify` names the file, and a start without a store names the setting."""
    url, config = place
    ReferenceStore(url, 2000).add("m", "2", reference(0.0))
    log = log_of_a_release()
    run(service_over(log, config)[0])
    (file,) = (tmp_path / "references" / "m").iterdir()
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(GapError, match=rf"{file.name}.*restore it"):
        verified(log, config)
    without = configured()
    assert without.settings_text == config.settings_text, "where the store is does not change what folds do"
    with pytest.raises(GapError, match=r"references\.url"):
        verified(log, without)


def test_a_damaged_reference_is_not_used(place, tmp_path, caplog):
    """A live fold says so once, and goes on without."""
    url, config = place
    ReferenceStore(url, 2000).add("m", "2", reference(0.0))
    (file,) = (tmp_path / "references" / "m").iterdir()
    file.write_bytes(file.read_bytes()[:-50])
    log = log_of_a_release()
    run(service_over(log, config)[0])
    assert not any(one.references for one in log.store.epochs["detect-0"])
    assert [one.levelname for one in caplog.records if "keeps the baseline" in one.message] == ["ERROR"]


def test_a_version_with_a_reference_takes_no_other(place):
    """Columns that its own training data lack have their first values, not the training data of another version."""
    url, config = place
    ReferenceStore(url, 2000).add("m", "2", reference(4.0))
    fold = ConfiguredFolds(config).fresh("detect-0", config.settings_text)
    fold.settings.reference_store.refresh()
    lookup = fold.context.references
    lookup._references = lookup._references.__class__({("m", "", "y"): Reference.of([1.0, 2.0], 10)})
    fold.refer({"m": {"2": ReferenceStore(url, 2000).add("m", "2", {})}})
    assert lookup.of_any(("m", "1", "y")) is not None
    assert lookup.of_any(("m", "2", "y")) is None
    assert lookup.of_any(("m/depot=north/2", "2", "y")) is None, "a segment of this version"
    assert lookup.of_any(("m", "2", "x")).n_seen == 2000
    assert set(fold.context.names.categories.names) >= {"monday", "sunday"}


def test_a_forgotten_version_takes_its_reference_along(place, monkeypatch):
    """What is loaded is bounded by the versions that a unit remembers, and by `VERSIONS_MAX` of those to come."""
    url, _ = place
    store = ReferenceStore(url, 2000)
    for version in range(2, 9):
        store.add("m", str(version), reference(4.0, version=str(version)))
    store.refresh()
    assert [*store.catalog["m"]] == ["5", "6", "7", "8"]
    monkeypatch.setattr(eviction, "RECORDS_MIN", 20)
    bounds = {"limits": {"models_max": 4, "forget_after": "5s"}, "labels": {"timeout_s": 1.0}}
    few = configured(references={"url": url}, **bounds)
    log = log_of_a_release()
    for i in range(200):
        event = {"model_id": f"m{i // 50}", "model_version": "1", "prediction_id": f"z{i}", "prediction": 1.0}
        event |= {"event_time": START_MS + 1000 * (N + i)}
        log.store.append("predictions", None, json.dumps(event).encode(), partition=0)
    service, _, _ = service_over(log, few)
    run(service, 10)
    loaded = service.units["detect-0"].fold.context.references.digests()
    assert [*loaded["m"]] == ["5", "6", "7", "8"]
    run(service)
    fold = service.units["detect-0"].fold
    assert fold.tally["forgotten",] >= 1
    assert "m" not in fold.context.names.models.ids
    assert fold.context.references.digests() == {}
    assert verified(log, few).differing == []


def test_the_first_reference_of_a_version_stays(tmp_path):
    """A repeat by another process changes nothing; names may hold anything but nothing at all."""
    store = ReferenceStore(str(tmp_path / "store"), 2000)
    model, version = "bus/12 ü.parquet", "2.0/rc.1"
    first = store.add(model, version, reference(1.0, model, version))
    assert store.add(model, version, reference(5.0, model, version)) == first
    store.refresh()
    assert store.catalog == {model: {version: first}}
    assert store.has(model, version)
    assert not store.has(model, "2.0")
    found = store.load(model, version, first)
    assert set(found.by_series) == {(model, version, "x"), (model, version, "day")}
    assert store.load(model, version, first) is found
    with pytest.raises(UsageError, match="needs the version"):
        store.add(model, "", {})


def test_an_epoch_holds_its_references(place):
    """An entry without any is as short as before."""
    url, config = place
    ReferenceStore(url, 2000).add("m", "2", reference(0.0))
    log = log_of_a_release()
    run(service_over(log, config)[0])
    first, *rest = log.store.epochs["detect-0"]
    assert b"references" not in encode_entry(first)
    noted = next(one for one in rest if one.references)
    assert decode_entry(encode_entry(noted)) == noted
