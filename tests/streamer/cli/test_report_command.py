"""`driftline report`: one file that says what the records say, bounded, and safe for hostile names."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest
from cli_kit import cli
from service_kit import PlayedService

from retrain.messages.alert import AlertKind
from retrain.messages.distribution import Distribution, distances_of
from streamer.contracts.topics import OutputTopics
from streamer.page.drawing import DISTANCE_NAMES
from streamer.page.report import STORIES_MAX, write_report
from streamer.testing.alerts import firing, place, ready

HOSTILE = '<img src=x onerror="alert(1)">&\u202e'
MOVED = Distribution((0.7, 0.2, 0.1), (0.1, 0.2, 0.7), 1000, 400, (300.0, 400.0, 500.0, 600.0))
WENT = Distribution((0.9, 0.1), (0.5, 0.5), 1000, 400, categories=("north", HOSTILE))


class Page(HTMLParser):
    """The text of a page, its tags, and its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.ids, self.links = "", [], set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids.add(dict(attributes).get("id"))
        if tag == "a":
            self.links.append(dict(attributes)["href"])

    def handle_data(self, data):
        self.text += " " + data


def reported(tmp_path, *alerts, options=(), **retrain):
    """The report of these alerts, and what the command printed."""
    service = PlayedService(**retrain)
    service.publish(*alerts)
    out = tmp_path / "june.html"
    result = cli("report", service.replayed(tmp_path), "--out", str(out), *options)
    assert result.exit_code == 0, result.stderr
    return out.read_text(encoding="utf-8"), result.stdout


def test_it_says_what_the_records_say(tmp_path):
    """State, onset, numbers and sizes of each model; what is most pressing first."""
    html, said = reported(
        tmp_path,
        firing("1h", "bus-1", effect=0.6, effect_unit="ks_distance", before=411.5, after=529.25, onset=place("30m")),
        ready(
            "3h", "1h", "bus-1", effect=0.7, effect_unit="ks_distance", before=412.5, after=530.75, onset=place("30m"),
            distribution=MOVED, summary="headway_s moved up by about 118", effect_se=0.02,
        ),
        firing("4h", "tram-1", "dwell_s", effect=0.1),
        firing("5h", "tram-2", "doors", kind=AlertKind.MISSING, effect=0.4, effect_unit="rate"),
        approval_by_model={"*": "training"},
    )  # fmt: skip
    page = Page(html)
    assert said.startswith(f"{tmp_path}/june.html: 3 models, 3 with a story, 3 alerts, ")
    order = [page.text.index(words) for words in ("Approve the retrain", "Fault: missing", "Incident open")]
    assert order == sorted(order)
    for words in ("412.5 → 530.8", "0.7 ± 0.02", "headway_s moved up by about 118", "1,000", "400", "2026-01-01 00:30"):
        assert words in page.text
    for name, one in distances_of(MOVED).items():
        assert f"{DISTANCE_NAMES[name]} {one.value:.3g} {one.low:.3g} to {one.high:.3g}, by chance" in page.text
    assert page.text.index("411.5") > page.text.index("4 records")  # what the alarm said stands in the story alone


def test_names_are_text(tmp_path):
    """Markup in the name of a model, a column or a category stays text; the page allows no script but its own."""
    alerts = firing("1h", HOSTILE, HOSTILE), ready("2h", "1h", HOSTILE, HOSTILE, distribution=WENT, category=HOSTILE)
    html, _ = reported(tmp_path, *alerts)
    page = Page(html)
    assert HOSTILE in page.text
    assert {tag for tag, _ in page.tags} & {"img", "iframe", "object", "link", "base", "form"} == set()
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:" in html


def test_links_lead_somewhere_and_nothing_is_fetched(tmp_path):
    """Each link is to a part of the file."""
    html, _ = reported(tmp_path, *(firing(f"{i + 1}h", f"bus-{i}") for i in range(5)))
    page = Page(html)
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"(https?:)?//", html)


def test_two_hundred_models_stay_below_a_megabyte(tmp_path):
    """Each with an incident, two pictures and its records."""
    alerts = [
        one
        for i in range(200)
        for one in (
            firing(f"{i}s", f"bus-{i:03d}", f"column-{i}"),
            ready(f"1h {i}s", f"{i}s", f"bus-{i:03d}", f"column-{i}", distribution=MOVED, summary="moved up"),
        )
    ]
    html, said = reported(tmp_path, *alerts)
    assert "200 models, 200 with a story, 200 alerts" in said, said
    assert len(html.encode()) < 1_000_000


def test_sixteen_thousand_models_stay_below_five_megabytes():
    """The map has all of them; the table and the stories hold the most pressing."""
    given = [ready("1h", "1h", f"bus-{i:05d}", f"column-{i}", distribution=MOVED) for i in range(16_000)]
    alerts = [("alert", msgspec.json.encode(one)) for one in given]
    html, size = write_report(lambda: iter(alerts), OutputTopics(), "June", None)
    assert (size.models, size.stories) == (16_000, STORIES_MAX)
    assert html.count("h8v8h-8z") == 16_000
    assert len(html.encode()) < 5_000_000


def test_what_is_left_out_is_said(tmp_path, monkeypatch):
    """Of many models the table and the stories hold the most pressing."""
    monkeypatch.setattr("streamer.page.report.LISTED_MAX", 3)
    monkeypatch.setattr("streamer.page.report.STORIES_MAX", 2)
    html, _ = reported(tmp_path, *(firing(f"{i + 1}h", f"bus-{i}", f"column-{i}", effect=0.1 + i) for i in range(5)))
    page = Page(html)
    assert "2 further models not listed" in page.text
    assert "The 2 most pressing models." in page.text
    assert "bus-4" in page.text
    assert "h-alert" in html


def test_nothing_to_report_is_an_error(tmp_path):
    """It says so, and writes no file."""
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b'{"type":"dead_letter"}\n')
    result = cli("report", str(empty), "--out", str(tmp_path / "r.html"))
    assert result.exit_code == 2
    assert "no alert, incident or request to report" in result.stderr
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("out", ["missing/r.html", "."])
def test_a_file_that_cannot_be_written(tmp_path, out):
    """One sentence."""
    service = PlayedService()
    service.publish(firing("1h", "bus-1"))
    result = cli("report", service.replayed(tmp_path), "--out", str(tmp_path / out))
    assert result.exit_code == 2


def test_columns_stand_by_effect_times_importance(tmp_path):
    """The importance that a rule of the configuration names lifts a column above a larger effect."""
    alerts = [firing("1h", "bus-1", "first", effect=0.6), firing("2h", "bus-1", "second", effect=0.4)]
    config = tmp_path / "driftline.yaml"
    config.write_text("retrain: {rules_by_model: {'bus-*': {importance: {second: 3.0}}}}\n")
    found = []
    for options in ((), ("--config", str(config))):
        html, _ = reported(tmp_path, *alerts, options=options)
        table = html[html.rindex("Since, UTC") :]
        found.append(table.index(">first<") < table.index(">second<"))
    assert found == [True, False]
