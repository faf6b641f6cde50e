"""How a unit becomes what it was: checkpoints, settings that changed, and records that are gone."""

import json

import pytest
from crash_kit import CrashingLog
from loop_kit import log_with_events, published

from streamer.app.folds import ConfiguredFolds, units
from streamer.clock import ManualClock
from streamer.config import Config
from streamer.errors import GapError, InDoubtError
from streamer.eventlog.base import Epoch
from streamer.eventlog.history import Gap
from streamer.runtime.checkpoints.scheduler import CheckpointScheduler, CheckpointSettings
from streamer.runtime.checkpoints.store import CheckpointStore
from streamer.runtime.epoch_size import CommitSettings
from streamer.runtime.loop import Observer, Service
from streamer.runtime.recovery import NoCheckpoints, Recovery

CONFIG = {
    "topics": {"predictions": {}, "labels": {}},
    "detectors": {"adwin": {"delta": 0.01}, "ks_window": {"window": 40, "reference_size": 40}},
    "retrain": {"min_events_after_onset": 30},
}


def config(**changes):
    return Config.model_validate_json(json.dumps(CONFIG | changes))


class Tell(Observer):
    """Hears of checkpoints."""

    def __init__(self):
        self.numbers = []

    def on_checkpoint(self, unit, number, seconds, size):  # noqa: ARG002
        self.numbers.append((unit, number))

    def on_checkpoint_failed(self, unit):
        raise AssertionError(unit)

    def on_checkpoint_pause(self, seconds):
        pass


def service_with(log, store=None, degrade=False, reported=None, **changes):
    conf = config(**changes)
    clock = ManualClock()
    scheduler = (
        NoCheckpoints()
        if store is None
        else CheckpointScheduler(store, CheckpointSettings(), clock, reported or Tell())
    )
    recovery = Recovery(log, ConfiguredFolds(conf), store or NoCheckpoints(), degrade)
    return Service(units(conf), recovery, CommitSettings(interval_s=0), clock, Observer(), scheduler)


def stop_after(turns):
    left = [turns]

    def stopped():
        left[0] -= 1
        return left[0] < 0

    return stopped


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(str(tmp_path), "group")


@pytest.fixture
def half_done(store):
    """A log of which a service has folded half and kept its state."""
    log = log_with_events(1)
    service_with(log, store).run(stop_after(4))
    return log.reopen()


def golden():
    log = log_with_events(1)
    service_with(log).run(lambda: False)
    return published(log)


def test_a_restart_folds_what_came_since_the_checkpoint(half_done, store):
    """Nothing before it is read again, and what is published is what an uninterrupted service publishes."""
    before = {unit: len(epochs) for unit, epochs in half_done.store.epochs.items()}
    service = service_with(half_done, store)
    taken_over = {}
    while len(taken_over) < len(before):
        service.turn()
        taken_over |= {
            u.name: (u.number, len(u.replay_plan)) for u in service.units.values() if u.name not in taken_over
        }
    assert taken_over == {name: (n, 0) for name, n in before.items()}
    service.run(lambda: False)
    assert published(half_done) == golden()
    folded = sum(unit.fold.tally["records", "predictions"] for unit in service.units.values())
    assert folded == 612 - 50 * sum(before.values())


def test_units_are_taken_over_one_a_turn(half_done, store):
    """A state may take long to read, and units that are there have work to do meanwhile."""
    service, there = service_with(half_done, store), []
    for _ in range(2):
        service.turn()
        there.append((sorted(service.units), service.recovering))
    assert there == [(["detect-0"], True), (["detect-0", "detect-1"], False)]


def test_the_epochs_behind_a_checkpoint_are_folded_again(half_done, store):
    """A process that dies without a last checkpoint loses nothing: the next one follows the script from there on."""
    dies = service_with(half_done, store)
    dies._checkpoint_hook = NoCheckpoints()
    dies.run(stop_after(4))
    again = half_done.reopen()
    service = service_with(again, store)
    service.turn()
    assert any(unit.replay_plan for unit in service.units.values())
    service.run(lambda: False)
    assert published(again) == golden()


def test_a_checkpoint_that_the_log_does_not_bear_out_is_not_used(half_done, store):
    """One of an epoch that was never committed, or of another log: the older one is used, or none."""
    log = log_with_events(2)
    service_with(log).run(stop_after(4))
    again = log.reopen()
    service = service_with(again, store)
    service.turn()
    assert all(unit.replay_plan for unit in service.units.values())
    service.run(lambda: False)
    other = log_with_events(2)
    service_with(other).run(lambda: False)
    assert published(again) == published(other)


def test_a_damaged_manifest_costs_time_only(half_done, store, tmp_path, caplog):
    """With other settings in all manifests, or what are none, the service folds its log again to the same outputs."""
    paths = sorted(tmp_path.rglob("*.json"))
    assert paths
    for turn, path in enumerate(paths):
        found, wrong = (b'\\"window\\":40', b'\\"window\\":50') if turn % 2 else (b'\\"topics\\"', b'\\"topocs\\"')
        data = path.read_bytes()
        assert found in data
        path.write_bytes(data.replace(found, wrong, 1))
    service_with(half_done, CheckpointStore(str(tmp_path), "group")).run(lambda: False)
    assert published(half_done) == golden()
    named = [line.split()[1] for line in caplog.messages if "is damaged" in line]
    assert sorted(named) == [str(path) for path in paths]


@pytest.mark.parametrize("kept", [True, False])
def test_settings_change_at_a_cut(half_done, store, kept):
    """The past is folded under its own settings; then only the detectors whose settings changed begin reset."""
    was = service_with(half_done, store)
    was.run(stop_after(3))
    log = half_done.reopen()
    adwin = was.units["detect-1"].fold.dump().arrays["numbers/bank.adwin/since_look"].copy()
    changed = {"detectors": {"adwin": {"delta": 0.01}, "ks_window": {"window": 30, "reference_size": 30}}}
    service = service_with(log, store if kept else None, **changed)
    before = published(log)["driftline.alerts"]
    while service.recovering or not service.units:
        service.turn()
    unit = service.units["detect-1"]
    assert published(log)["driftline.alerts"] == before
    service._recovery.go_live(unit)
    (note,) = [note for _, note in log.store.notes["detect-1"] if getattr(note, "reset", None)]
    assert note.reset == ["ks_window"]
    arrays = unit.fold.dump().arrays
    assert arrays["numbers/bank.adwin/since_look"].tolist() == adwin.tolist()
    assert unit.fold.settings.detectors["ks_window"].window == 30
    assert not any(array.any() for name, array in arrays.items() if name.startswith("numbers/bank.ks_window/"))
    service.run(lambda: False)
    assert [value for _, value, _ in published(log)["predictions-dlt"]] == [
        value for _, value, _ in golden()["predictions-dlt"]
    ]
    fingerprints = [epoch.settings for epoch in log.store.epochs["detect-1"]]
    assert len(set(fingerprints)) == 2
    assert fingerprints == sorted(fingerprints, key=fingerprints.index)


@pytest.mark.parametrize("changed", [{"flows": {"window_s": 43_200.0}}, {"labels": {"timeout_s": 60.0}}])
def test_flows_begin_anew_under_other_settings(half_done, changed):
    """Counts of other windows, or for another time-out, are no counts of these."""
    log = half_done.reopen()
    service = service_with(log, **changed)
    while service.recovering or not service.units:
        service.turn()
    service._recovery.go_live(service.units["detect-1"])
    (note,) = [note for _, note in log.store.notes["detect-1"] if getattr(note, "reset", None)]
    assert note.reset == ["flow"]
    assert not any(
        len(array) for name, array in service.units["detect-1"].fold.dump().arrays.items() if "flow." in name
    )


def test_a_past_under_two_settings_is_folded_under_each(half_done, store):
    """Without a checkpoint too, a third process becomes what the second was."""
    service_with(half_done, store, retrain={"min_events_after_onset": 20}).run(stop_after(4))
    log = half_done.reopen()
    service = service_with(log, retrain={"min_events_after_onset": 20})
    while service.recovering or not service.units:
        service.turn()
    assert not any(unit.fold.tally["diverged",] for unit in service.units.values())


def test_records_that_are_gone_end_the_service(half_done):
    """Without a checkpoint, a log that has forgotten its beginning can't be folded again: it says so, and stops."""
    half_done.store.forget("predictions", 0, 10)
    service = service_with(half_done)
    with pytest.raises(GapError, match=r"predictions\[0\] has forgotten the records before 10"):
        service.turn()


def gaps_of(log):
    return [note for _, note in log.store.notes["detect-0"] if isinstance(note, Gap)]


def test_records_that_are_gone_are_passed_over_if_so_configured(half_done):
    """The unit begins again behind its last epoch, says so in its history, and a later process goes on from there."""
    number = len(half_done.store.epochs["detect-0"])
    half_done.store.forget("predictions", 0, 10)
    service_with(half_done, degrade=True).run(stop_after(3))
    gaps = gaps_of(half_done)
    assert [gap.after for gap in gaps] == [number]
    assert gaps[0].starts == half_done.store.epochs["detect-0"][number - 1].ends
    later = half_done.reopen()
    service = service_with(later, degrade=True)
    service.run(lambda: False)
    assert later.store.epochs["detect-0"][-1].ends["predictions"] == later.store.end("predictions")
    assert gaps_of(later) == gaps


def test_a_gap_while_running_asks_for_a_fresh_start():
    """If gaps are to be passed over, that is done at a start; if not, the gap is what ends the service."""

    class Gone(CrashingLog):
        def poll(self, timeout_s=0.0):  # noqa: ARG002
            raise GapError("the records are gone")

    with pytest.raises(InDoubtError, match=r"the records are gone\. Restart the service"):
        service_with(Gone(["predictions"]), degrade=True).turn()
    with pytest.raises(GapError):
        service_with(Gone(["predictions"])).turn()


def test_checkpoints_are_made_one_at_a_time_once_an_interval(store):
    """The unit that has waited longest comes first, none twice without a new epoch, and all that is new at the end."""
    reported = Tell()
    log = log_with_events(1)
    log.store.input_ended = False
    service = service_with(log, store, reported=reported)
    for _ in range(4):
        service.turn()
    assert reported.numbers == []
    for _ in range(5):
        service._clock.advance(61)
        service.turn()
        if service._checkpoint_hook._writer is not None:
            service._checkpoint_hook._writer.wait(10)
    service.turn()
    last = {name: unit.number for name, unit in service.units.items()}
    kept = dict(reported.numbers)
    assert set(kept) == set(last)
    assert len(reported.numbers) == len(set(reported.numbers))
    service._checkpoint_hook.finish(service.units)
    assert dict(reported.numbers) == last
    for name, number in last.items():
        assert next(store.newest_first(name)).epoch == Epoch(**_fields(log.store.epochs[name][number - 1]))


def _fields(epoch):
    return {name: getattr(epoch, name) for name in Epoch.__dataclass_fields__}
