"""What every monitor in the table promises: cuts, restarts, evictions and changed settings. The table is walked."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from monitor_kit import EVENTS, SETTINGS, alone, fold_with, numbers, stream
from world_kit import bytes_of, kept_models, owner, records

from detectors.registry import bank
from streamer.detect.monitors.drift import DriftMonitor
from streamer.detect.monitors.flow import FlowMonitor
from streamer.detect.monitors.table import MONITORS, detectors_of, reset_by
from streamer.runtime.snapshot import Snapshot

STREAM = list(stream(1))
each_monitor = pytest.mark.parametrize("kind", MONITORS, ids=lambda kind: kind.__name__)


@pytest.fixture(params=MONITORS, ids=lambda kind: kind.__name__)
def kind(request):
    """One monitor; new folds run it alone."""
    with pytest.MonkeyPatch.context() as patch:
        alone(patch, request.param)
        yield request.param


def settings_with(**changed):
    return fold_with(**changed).settings


def test_each_monitor_finds_something(kind):
    """The stream of these checks is no empty one: each monitor alarms, under a name that it states."""
    one = fold_with()
    one.step(records(STREAM))
    alarms = {key[1]: n for key, n in one.tally.items() if key[0] == "alarms" and n}
    assert alarms
    assert set(alarms) <= set(kind.detectors(one.settings)) == set(detectors_of(one.settings))


def test_names_of_detectors_and_keys_of_states_are_unique():
    """No two monitors share a name in the metrics, or the name of an array."""
    settings = fold_with().settings
    names = [name for kind in MONITORS for name in kind.detectors(settings)]
    keys = [key for kind in MONITORS for key in kind.keys]
    others = ["subjects", "series", "marks", "labels", "idle"]
    assert len({*names}) == len(names)
    assert len({*keys, *others}) == len(keys) + len(others)


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_gives_the_same_findings_and_state(kind, seed):
    """However the stream is cut, alerts and state are the same byte for byte."""
    whole, cut = fold_with(), fold_with()
    expected = bytes_of(whole.step(records(STREAM)))
    found = [output for part in parts(seed) for output in bytes_of(cut.step(records(part)))]
    assert sorted(found) == sorted(expected)
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


@pytest.mark.parametrize("owned", [False, True])
def test_it_goes_on_from_a_dumped_state(kind, owned):
    """A restart at any event changes nothing, whether a monitor may keep the arrays or not."""
    whole, cut = fold_with(), fold_with()
    expected, found = bytes_of(whole.step(records(STREAM))), []
    for part in parts(5):
        found += bytes_of(cut.step(records(part)))
        data, cut = cut.dump().to_bytes(), fold_with()
        cut.load(Snapshot.from_private(np.frombuffer(data, np.uint8).copy()) if owned else Snapshot.from_bytes(data))
    assert sorted(found) == sorted(expected)
    assert cut.dump().to_bytes() == whole.dump().to_bytes()


def test_a_dumped_state_has_the_keys_of_the_monitor(kind):
    """Everything it dumps stands under its own prefixes."""
    one = fold_with()
    one.step(records(STREAM[:100]))
    (monitor,) = one.monitors
    assert {name.partition("/")[0] for name in monitor.dump()} == set(kind.keys)


@pytest.mark.parametrize("kind", [kind for kind in MONITORS if kind is not FlowMonitor], ids=lambda kind: kind.__name__)
def test_a_state_without_evicted_ids_is_one_that_never_saw_them(kind, monkeypatch):
    """Remapped and loaded, it equals byte for byte a state that only the survivors' events have made."""
    alone(monkeypatch, kind)

    @examples(max_examples=8, deadline=None, phases=[Phase.generate])  # to shrink a stream of events helps nobody
    @given(st.sets(st.sampled_from(["m0", "m1", "m2"]), max_size=2), st.integers(10, len(STREAM)))
    def check(gone, end):
        forgetful, never = fold_with(), None
        forgetful.step(records(STREAM[:end]))
        never = with_names_of(forgetful)
        never.step(records([one for one in STREAM[:end] if owner(one[1][1]) not in gone]))
        forgetful._evict(kept_models(forgetful, gone))
        assert numbers(forgetful) == numbers(never)

    check()


def with_names_of(one):
    """A fresh fold in which columns and categories have the ids that they have in another."""
    other = fold_with()
    for table in ("columns", "categories"):
        getattr(other.context.names, table).load(getattr(one.context.names, table).names)
    return other


@pytest.mark.parametrize("gone", ["m0", "m1", "m2"])
def test_survivors_of_an_eviction_do_not_notice_it(kind, gone):
    """The alerts of the other models are those of a fold that evicts nothing; for flows, too, which others judge."""
    start = len(STREAM) // 3
    forgetful, keeping = fold_with(), fold_with()
    for one in (forgetful, keeping):
        one.step(records(STREAM[:start]))
    forgetful._evict(kept_models(forgetful, {gone}))
    rest = records([one for one in STREAM[start:] if owner(one[1][1]) != gone])
    found, expected = bytes_of(forgetful.step(rest)), bytes_of(keeping.step(rest))
    assert found == [output for output in expected if output[1] != gone.encode()]


CHANGED = {
    "adwin": {"detectors": SETTINGS["detectors"] | {"adwin": replace(SETTINGS["detectors"]["adwin"], delta=0.5)}},
    "category_window": {
        "detectors": SETTINGS["detectors"]
        | {"category_window": replace(SETTINGS["detectors"]["category_window"], window=31)}
    },
    "rate": {"detectors": SETTINGS["detectors"] | {"rate": replace(SETTINGS["detectors"]["rate"], baseline_size=41)}},
    "joint": {"detectors": SETTINGS["detectors"] | {"joint": replace(SETTINGS["detectors"]["joint"], block=30)}},
    "flow": {"flows": replace(SETTINGS["flows"], factor=3.0)},
}


def test_what_states_rest_on_has_a_change_here():
    """A monitor that depends on further settings gets a line in the table above."""
    assert {name for kind in MONITORS for name in kind.depends_on(settings_with())} == set(CHANGED)


@pytest.mark.parametrize("name", CHANGED)
def test_a_change_of_settings_resets_what_rests_on_them(name, monkeypatch):
    """Just that detector, and its state is then that of a fold that has seen nothing of it."""
    (kind,) = (kind for kind in MONITORS if name in kind.depends_on(settings_with()))
    alone(monkeypatch, kind)
    before, after = fold_with(), fold_with(**CHANGED[name])
    before.step(records(STREAM))
    assert reset_by(before.settings, after.settings) == [name]
    assert reset_by(before.settings, before.settings) == []
    after.load(before.dump(), [name])
    if kind is DriftMonitor:
        check_reset_bank(before, after, name)
    else:
        assert numbers(after) == numbers(fold_with(**CHANGED[name]))


def check_reset_bank(before, after, name):
    """Rows and all other detectors stay; those of this one are fresh."""
    takes = bank(name, after.settings.detectors[name], 0).takes
    mine = f"{takes}/bank.{name}/"
    assert {n: a for n, a in numbers(after).items() if not n.startswith(mine)} == {
        n: a for n, a in numbers(before).items() if not n.startswith(mine)
    }
    rows = len(before.dump().arrays[f"{takes}/first"])
    fresh = bank(name, after.settings.detectors[name], rows).dump(slice(0, rows))
    found = {n.removeprefix(mine): a for n, a in after.dump().arrays.items() if n.startswith(mine)}
    assert set(found) == set(fresh)
    assert all(np.array_equal(found[n], fresh[n]) for n in fresh)


def test_a_monitor_that_was_off_begins_with_nothing(kind):
    """A state of a fold without the monitor is loaded, and the monitor goes on as a new one."""
    with pytest.MonkeyPatch.context() as patch:
        alone(patch)
        off = fold_with()
        off.step(records(STREAM[: len(STREAM) // 4]))
        state = off.dump()
    one = fold_with()
    one.load(state)
    one.step(records(STREAM[len(STREAM) // 4 :]))
    assert set(numbers(one))


def test_an_eviction_keeps_the_pending_alert_of_a_detector_that_was_removed():
    """Its row moves with the alert that is active; a detector that no longer runs breaks no eviction."""
    one = fold_with()
    for end in range(EVENTS // 2, len(STREAM), 40):
        one = fold_with(min_events_after_onset=2000)
        one.step(records(STREAM[:end]))
        if any(detector == "adwin" for _, _, detector, *_ in one.dump().meta["alerts"]["waiting"]):
            break
    rest = {name: of for name, of in SETTINGS["detectors"].items() if name != "adwin"}
    two = fold_with(min_events_after_onset=2000, detectors=rest)
    two.load(one.dump())
    two._evict(kept_models(two, {"m2"}))
    alerts = two.dump().meta["alerts"]
    pending = [entry for entry in alerts["waiting"] if entry[2] == "adwin"]
    rows = {entry[-2]["alert_id"]: entry[1] for entry in alerts["live"]}
    assert pending
    assert all(row == rows[alert["alert_id"]] for _, row, _, alert, *_ in pending if alert["alert_id"] in rows)
    three = fold_with(min_events_after_onset=2000, detectors=rest)
    three.load(Snapshot.from_bytes(two.dump().to_bytes()))
    assert three.dump().to_bytes() == two.dump().to_bytes()


def parts(seed):
    """The stream in pieces."""
    cuts = sorted(Random(seed).sample(range(1, len(STREAM)), 9))
    return [STREAM[start:end] for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
