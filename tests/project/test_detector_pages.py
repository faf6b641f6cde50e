"""The pages of detectors and monitors have one form, and their measured tables those columns that benchmarks write."""

from __future__ import annotations

import re

import pytest
from project_tree import ROOT

from benchmarks import page
from benchmarks.detection import categories, dependence, false_alarms, quality
from benchmarks.evidence import __main__ as evidence
from benchmarks.joint import comparison, rates
from benchmarks.recorded import marked_streams, weeks
from detectors.registry import DETECTORS
from retrain.messages.alert import AlertKind

FOLDER = ROOT / "docs" / "detectors"
OVERVIEWS = {
    "choosing.md", "kinds.md", "columns.md", "measurements.md", "situations.md", "few-events.md", "evidence.md",
    "notebook.md", "statistics.md",
}  # fmt: skip
PAGES = sorted(path.name for path in FOLDER.glob("*.md") if path.name not in OVERVIEWS)
SECTIONS = ["Claim", "Assumptions", "Source", "When to use", "Settings", "Figures"]
OURS = [name for name, known in DETECTORS.items() if known.bank.__module__.startswith("detectors.")]
MEASURED = {
    "detectors": quality.COLUMNS,
    "false alarms": false_alarms.COLUMNS,
    "dependence": dependence.COLUMNS,
    "categories": categories.STEADY_COLUMNS,
    "changes of categories": categories.CHANGE_COLUMNS,
    "changes of rates": categories.RATE_COLUMNS,
    "joint rates": rates.COLUMNS,
    "joint": comparison.COLUMNS,
    "joint costs": comparison.COST_COLUMNS,
    "marked streams": marked_streams.COLUMNS,
    "recorded weeks": weeks.COLUMNS,
    "recorded alarms": weeks.ALARMS,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_sections_in_their_order(name):
    """Claim, assumptions, source, when to use, settings, figures; each with a text."""
    sections = re.split(r"^## (.+)\n", (FOLDER / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sections[1::2] == SECTIONS
    assert all(text.strip() for text in sections[2::2])


@pytest.mark.parametrize("name", PAGES)
def test_the_table_of_choices_has_every_page(name):
    """Each page is linked from choosing.md."""
    assert f"]({name})" in (FOLDER / "choosing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OURS)
def test_every_detector_has_a_page(name):
    """A page of the detector's own name, or of its library, which links its settings."""
    settings = f"configuration.md#detectors{name})"
    assert [page for page in PAGES if settings in (FOLDER / page).read_text(encoding="utf-8")] != []


def test_every_kind_of_alert_is_listed():
    """Each kind has a line in the table of kinds.md."""
    text = (FOLDER / "kinds.md").read_text(encoding="utf-8")
    assert [kind for kind in AlertKind if f"\n| `{kind}`" not in text] == []


@pytest.mark.parametrize("name", MEASURED)
def test_a_measured_table_has_the_columns_of_its_benchmark(name):
    """The table stands between its marks, under the columns that a new measurement writes."""
    head = f"<!-- measured: {name} -->\n| {' | '.join(MEASURED[name])} |\n"
    text = page.PAGE.read_text(encoding="utf-8")
    assert text.count(head) == 1
    assert text.count(f"|\n<!-- end: {name} -->\n") == 1


def test_the_tables_of_evidence_have_the_columns_of_their_benchmark():
    """They stand between their marks on the page of evidence, and there are no others."""
    heads = {f"evidence at {state}": evidence.COLUMNS for state in evidence.STATES}
    heads["evidence by law"] = evidence.LAW_COLUMNS
    text = evidence.PAGE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- measured: (.+) -->", text) == list(heads)
    for name, columns in heads.items():
        assert text.count(f"<!-- measured: {name} -->\n| {' | '.join(columns)} |\n") == 1
        assert text.count(f"|\n<!-- end: {name} -->\n") == 1


def test_no_measured_table_lacks_its_benchmark():
    """What stands between marks on the page is written by a benchmark of this table."""
    marks = re.findall(r"<!-- measured: (.+) -->", page.PAGE.read_text(encoding="utf-8"))
    assert sorted(marks) == sorted(MEASURED)


def test_a_measurement_replaces_its_own_table_only(tmp_path, monkeypatch):
    """What stands before and behind the marks stays as it is."""
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.PAGE.write_text("a\n<!-- measured: b -->\n| old |\n<!-- end: b -->\nc\n")
    page.written("b", ["x", "y"], [["1", "2"]])
    table = "| x | y |\n| --- | --- |\n| 1 | 2 |\n"
    assert page.PAGE.read_text() == f"a\n<!-- measured: b -->\n{table}<!-- end: b -->\nc\n"
