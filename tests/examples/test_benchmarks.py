"""The benchmarks run: with sizes at which their figures mean nothing."""

import pytest

from benchmarks import __main__ as bench
from benchmarks.operation import launching
from benchmarks.throughput import banks, segments, waiting_labels


@pytest.fixture
def small(monkeypatch):
    """A moment instead of minutes."""
    for name, value in (("SERIES", (1, 2, 3)), ("TIMED", 2000), ("LIBRARY_TIMED", 100), ("TESTS", 2), ("COLUMNS", 3)):
        monkeypatch.setattr(banks, name, value)


def test_a_line_for_each_detector_and_library(small, capsys):
    """Each with its three figures; the sizes are the real ones."""
    bench.print_banks()
    lines = {line.split("  ")[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert {"adwin", "ks_window", "river.drift.ADWIN"} <= lines.keys()
    assert int(lines["adwin"][-1].replace(",", "")) <= 1300, "bytes a series"
    assert int(lines["ks_window"][-1].replace(",", "")) <= 8192


def test_five_million_predictions_wait_in_less_than_a_gigabyte():
    """And half a million labels a second meet theirs; ten times as many did."""
    waiting = waiting_labels.measure()
    assert waiting_labels.OPEN * 48 < waiting.bytes <= 1e9
    assert waiting.labels_per_s >= 500_000


def test_a_line_with_segments_and_one_without(monkeypatch, capsys):
    """Both tell the time a record."""
    monkeypatch.setattr(segments, "EVENTS", 600)
    segments.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["without segments", "four segments"]
    assert all(line.endswith(" µs a record") for line in lines)


def test_a_storm_is_launched_by_priority_each_model_once(monkeypatch, capsys):
    """Released by a person, within `running_max`, over HTTP."""
    monkeypatch.setattr(launching, "MODELS", 150)
    monkeypatch.setattr(launching, "RUNNING_MAX", 20)
    launching.main()
    assert "150 runs, 150 of them different; requests by priority: True" in capsys.readouterr().out
