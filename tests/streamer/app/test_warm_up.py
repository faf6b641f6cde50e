"""What is compiled before a worker joins its group. Each check runs in a process that has no kernels at first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detectors.registry import DEFAULT, DETECTORS
from detectors.river.catalog import RIVER
from streamer.app.warm_up import WarmUp

RECORDING = Path(__file__).parents[2] / "kits" / "ride_events.py"  # other events than those of the warm-up
KERNELS_OF_A_FOLD = 20  # at least
CHECK = """
import subprocess, sys
import numpy as np
from numba.core.dispatcher import Dispatcher
from detectors.profile.bank import ProfileSettings
from detectors.registry import DEFAULT, settings_of
from streamer.app.warm_up import WarmUp
from streamer.codecs import CODECS
from streamer.detect.fold import DetectFold
from streamer.detect.settings import DetectSettings, SegmentSettings
from streamer.eventlog.base import Records
from streamer.detect.references.table import References
from streamer.runtime.snapshot import Snapshot
from detectors.reference import CategoryReference, Reference

def signatures():
    modules = [module for name, module in sys.modules.items() if name.startswith(("detectors.", "streamer."))]
    kernels = {id(one): one for module in modules for one in vars(module).values() if isinstance(one, Dispatcher)}
    return {(one.py_func.__module__, one.py_func.__name__, str(s)) for one in kernels.values() for s in one.signatures}

names, more = sys.argv[1].split(","), sys.argv[2] == "more"
WarmUp(names, has_references=more, has_segments=more, has_profiles=more).run()
warm = signatures()
lines = subprocess.run([sys.executable, sys.argv[3]], capture_output=True, check=True).stdout.splitlines()
rows = [(i, 1_767_225_600_000 + i * 500, None, line, ()) for i, line in enumerate(lines)]
settings, codec = CODECS["json"]
found = {
    "headway_s": Reference.of([float(x) for x in range(300, 500)], 200),
    "weather": CategoryReference.of({"rain": 5, "sun": 5}),
}
by_series = {("rides", "", column): one for column, one in found.items()} if more else {}
settings = DetectSettings(
    codecs={"rides": codec(settings())},
    detectors={name: settings_of(name, **DEFAULT.get(name, {})) for name in names},
    references=References(by_series),
    segments={"*": SegmentSettings(by="weather")} if more else {},
    profiles=ProfileSettings(publish=more, interval_s=60, values_min=20),
)
fold, again = DetectFold(settings), DetectFold(settings)
half = len(rows) // 2
alerts = fold.step([Records.build("rides", 0, rows[:half])])
again.load(Snapshot.from_private(np.frombuffer(bytearray(fold.dump().to_bytes()), np.uint8)))  # as from a checkpoint
alerts += again.step([Records.build("rides", 0, rows[half:])])
assert not more or any(one.topic == settings.outputs.profiles for one in alerts)
print(len(alerts), len(warm), sorted(signatures() - warm))
"""


@pytest.mark.parametrize(
    ("detectors", "more"),
    [(list(DEFAULT), "nothing"), (list(DEFAULT), "more"), (sorted(set(DETECTORS) - set(RIVER)), "more")],
    ids=["default", "with references, segments and profiles", "all detectors"],
)
def test_no_kernel_is_compiled_after_the_warm_up(detectors, more):
    """Folding drift, categories and labels, and a restored state, calls only kernels with types that are compiled."""
    command = [sys.executable, "-c", CHECK, ",".join(detectors), more, str(RECORDING)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    alerts, kernels, new = checked.stdout.split(maxsplit=2)
    assert int(alerts) > 0
    assert int(kernels) > KERNELS_OF_A_FOLD
    assert new.strip() == "[]"


def test_a_detector_that_refuses_the_sample_ends_nothing(caplog):
    """A step that fails is a warning with its name, and the next steps are taken."""

    def refuses():
        raise ValueError("no numbers above 3")

    taken = []
    assert WarmUp((), others={"mine": refuses, "next": lambda: taken.append("next")}).run()
    assert taken == ["next"]
    (line,) = caplog.messages
    assert "mine can't be compiled ahead" in line
    assert "no numbers above 3" in line


def test_it_stops_between_steps():
    """Nothing is compiled after `stopped`, and the result says so."""
    taken = []
    others = {name: (lambda name=name: taken.append(name)) for name in ("first", "second")}
    assert not WarmUp((), others=others, stopped=lambda: bool(taken)).run()
    assert taken == ["first"]
