"""`driftline check-config --against-state`: what a restart resets, read from checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streamer.app.folds import ConfiguredFolds
from streamer.cli import main
from streamer.config import Config, load_config
from streamer.eventlog.base import Epoch, Records
from streamer.runtime.checkpoints.store import CheckpointStore, Manifest

BASE = "kafka: {bootstrap: 'nowhere:1'}\ntopics: {p: }\n"
DETECTORS = "detectors: {shiryaev_roberts: , rate: , ks_window: }\n"


def event(i: int) -> bytes:
    model = f"m{i % 5}"
    return json.dumps({"model_id": model, "event_time": 60_000 * i, "features": {"x": i % 7, "y": i % 3}}).encode()


@pytest.fixture
def service(tmp_path):
    """A folder with the configuration and one checkpoint of `detect-0` and `decide`."""
    path = tmp_path / "driftline.yaml"
    path.write_text(BASE + DETECTORS)
    config = load_config(str(path))
    folds = ConfiguredFolds(config)
    store = CheckpointStore(config.checkpoints.url, config.kafka.group)
    for unit in ("detect-0", "decide"):
        fold = folds.fresh(unit, config.settings_text)
        if unit == "detect-0":
            fold.step([Records.build("p", 0, [(i, -1, None, event(i), ()) for i in range(100)])])
        spool = store.spool(unit)
        spool.write_bytes(fold.dump().to_bytes())
        epoch = Epoch(unit, 7, {"p": 100}, 2, "5e", config.fingerprint, at=4)
        store.publish(spool, Manifest(unit, epoch, {}, {}, config.settings_text, config.fingerprint, "test"))
    return tmp_path


def shown(folder: Path, text: str, *options: str) -> list[str]:
    (folder / "next.yaml").write_text(BASE + text)
    ran = CliRunner().invoke(main, ["check-config", str(folder / "next.yaml"), *(options or ("--against-state",))])
    assert ran.exit_code == 0, ran.output
    return ran.stdout.splitlines()[2:]  # after the summary and the default detectors that are off


def test_the_same_settings_reset_nothing(service):
    """Settings without effect on state, such as those of commits, are no change."""
    assert shown(service, DETECTORS + "commit: {interval_s: 5}\n") == [
        "  a restart changes no settings of the stored state",
        "  decide, from epoch 7: resets nothing",
        "  detect-0, from epoch 7: keeps: shiryaev_roberts, ks_window, rate, absence, flow and shadow",
    ]


def test_changed_detectors_are_named_with_their_columns(service):
    """Only detectors whose settings changed are reset; one that is new starts empty, one that is gone is dropped."""
    changes = "detectors: {ks_window: {window: 50}, rate: , joint: }\nretrain: {cooldown_s: 7d}\n"
    assert shown(service, changes) == [
        "  a restart changes 4 settings of the stored state",
        '    detectors.shiryaev_roberts: {"arl0": 100000.0, "reference_size": 2000, "tolerance": 0.0} -> (none)',
        "    detectors.ks_window.window: 500 -> 50",
        '    detectors.joint: (none) -> {"arl0": 1000000.0, "columns": 12, "block": 24}',
        "    retrain.cooldown_s: 86400.0 -> 604800.0",
        "  decide, from epoch 7: resets nothing",
        "  detect-0, from epoch 7: resets ks_window on 10 columns of m0, m1, m2 and 2 more models; "
        "starts empty: joint; drops: shiryaev_roberts; keeps: rate, absence, flow and shadow",
    ]


def test_it_is_what_a_restart_resets(service):
    """The names are those that the running service notes in its history."""
    (service / "next.yaml").write_text(BASE + "detectors: {ks_window: {window: 50}, rate: {arl0: 2.0e+9}}\n")
    before, now = (load_config(str(service / name)) for name in ("driftline.yaml", "next.yaml"))
    folds = ConfiguredFolds(now)
    _, reset = folds.moved("detect-0", folds.fresh("detect-0", before.settings_text), now.settings_text)
    assert reset == folds.reset_by(before.settings_text) == ["ks_window", "rate"]


def test_nothing_is_written(service):
    """The files of the checkpoints stay as they are, and none is added."""

    def files():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in service.rglob("checkpoints/**/*.*")}

    before = files()
    assert len(before) == 4
    shown(service, "detectors: {ks_window: {window: 50}}\n")
    assert files() == before


def test_checkpoints_elsewhere_are_named(service, tmp_path_factory):
    """A folder may be given, such as a copy; a wrong one is an error that says what is missing."""
    elsewhere = tmp_path_factory.mktemp("other")
    (elsewhere / "next.yaml").write_text(BASE + DETECTORS)
    ran = CliRunner().invoke(main, ["check-config", str(elsewhere / "next.yaml"), "--against-state"])
    assert (ran.exit_code, "there is no checkpoint of group driftline in" in ran.stderr) == (2, True)
    found = shown(elsewhere, DETECTORS, f"--against-state={service / 'checkpoints'}")
    assert found[-1].startswith("  detect-0, from epoch 7: keeps:")


def test_damaged_checkpoints_are_named(service):
    """Without a usable one, a restart folds the whole log again."""
    for state in service.rglob("detect-0/*.arrow"):
        state.write_bytes(state.read_bytes()[:-1])
    assert shown(service, DETECTORS)[-1] == ("  detect-0: no checkpoint is usable; a restart folds the whole log again")


def test_settings_from_before_a_section_mean_what_was_then():
    """A history of before versions were compared is folded again without it; the present settings compare them."""
    config = Config()
    folds, before = ConfiguredFolds(config), json.loads(config.settings_text)
    del before["shadow"]
    assert "shadow" in folds.detectors
    assert "shadow" not in folds.detectors_of(json.dumps(before))
