"""What the page says of one model and its request: columns in order, metrics, comparisons and links of runs."""

from __future__ import annotations

import msgspec
import pytest
from page_kit import MOVED, Parsed, profiles, published, serving, small_fleet
from service_kit import PlayedService

from retrain.messages.alert import AlertKind
from retrain.policy.model_rules import ModelRules
from retrain.policy.settings import RetrainSettings
from streamer.audit.source import PROFILE
from streamer.testing.alerts import firing, said


def test_a_request_shows_its_metrics_run_and_refusals():
    """Champion and challenger, the link of the run, who did what, and why a command was refused."""
    service = small_fleet(approval_by_model={"*": "both"}, distinct_actors=True)
    name = service.requested()
    service.publish(
        said("approve", name, "4h", comment="new timetable"),
        run := said("started", name, "5h", actor="airflow", run="run-17", link="https://airflow.example/run-17"),
        said("trained", name, "6h", "airflow", model_version="8", champion={"mae": 61.0}, challenger={"mae": 48.5}),
        said("promote", name, "7h", actor="ann"),
    )
    with serving([*published(service), ("control", msgspec.json.encode(run))]) as served:
        html = served.get(f"/request?id={name}").text
        text = " ".join(Parsed(html).text.split())
        for value in ("61", "48.5", "-12.5"):
            assert f'<td class="num">{value}</td>' in html
        for words in ("Approved by ann: new timetable", "refused: the same actor approved", "waits for review"):
            assert words in text
        assert '<a href="https://airflow.example/run-17" rel="noreferrer">run-17</a>' in html
        assert served.get(f"/api/v1/request?id={name}").json["actions"] == ["promote", "reject"]


COMPARED = {
    "kind": AlertKind.BETTER_VERSION, "category": "7", "statistic": 41.0, "effect": 0.5, "effect_unit": "share",
    "before": 48.5, "after": 24.25, "n_current": 87,
}  # fmt: skip


def test_a_comparison_in_shadow_stands_beside_the_metrics_of_the_trainer():
    """With its sentence; the model waits for its review as before, and has no fault."""
    service = small_fleet(approval_by_model={"*": "both"})
    name, words = service.requested(), "error is smaller with version 8 than with 7: 24.25 and 48.5"
    service.publish(
        said("approve", name, "4h"),
        said("trained", name, "6h", "airflow", model_version="8", champion={"mae": 61.0}, challenger={"mae": 48.5}),
        *(firing("7h", model, "error", "8", **COMPARED, summary=words) for model in ("bus-1", "tram-2", "ferry")),
    )
    with serving(published(service)) as served:
        html = served.get(f"/request?id={name}").text
        assert all(f'<td class="num">{value}</td>' in html for value in ("61", "48.5", "24.25", "41", "87"))
        assert words in " ".join(Parsed(html).text.split())
        assert served.get(f"/api/v1/request?id={name}").json["actions"] == ["promote", "reject"]
        (row,) = served.get("/api/v1/fleet?name=bus-1").json["rows"]
        assert row["words"] == "Review the challenger"
        assert [one["kind"] for one in served.get("/api/v1/monitor").json["faults"]] == ["missing"]
        assert served.get("/api/v1/fleet?name=ferry").json["rows"][0]["state"] == "quiet"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//evil.example", " https://x"])
def test_a_link_of_a_run_leads_to_the_web_or_nowhere(link):
    """Only http and https links of a trainer are links on the page."""
    service = small_fleet()
    run = said("started", service.requested(), "5h", actor="airflow", run="run-17", link=link)
    with serving([*published(service), ("control", msgspec.json.encode(run))]) as served:
        links = Parsed(served.get(f"/request?id={service.requested()}").text).links
        assert [one for one in links if not one.startswith(("/", "#"))] == []
        assert link not in links


def test_columns_stand_by_effect_times_importance():
    """A rule that names the importance of a column lifts it above a larger effect; without one the page says so."""
    service = PlayedService()
    of = {"effect_unit": "ks_distance", "distribution": MOVED}
    service.publish(firing("1h", "bus-1", "a", effect=0.6, **of), firing("2h", "bus-1", "b", effect=0.4, **of))
    rules = RetrainSettings(rules_by_model={"bus-*": ModelRules(importance={"b": 3.0, "c*": 0.5})})
    for settings, order, words in (
        (rules, [("b", 3.0), ("a", 1.0)], "Columns, largest effect × importance first"),
        (RetrainSettings(), [("a", None), ("b", None)], "no importance in retrain.rules_by_model"),
        (None, [("a", None), ("b", None)], "Columns, largest effect first"),
    ):
        with serving(published(service), settings=settings) as served:
            found = served.get("/api/v1/model?name=bus-1").json["columns"]
            assert [(one["column"], one["importance"]) for one in found] == order
            assert words in Parsed(served.get("/model?name=bus-1").text).text


def test_segments_stand_beside_the_whole():
    """The last interval of each with its numbers and a link: the whole first, then those that fire, then by PSI."""
    name, service = '<b>"north', PlayedService()
    of = {"4h": name, "5h": "depot=alerts-only"}
    service.publish(*(firing(at, "bus-0001", "prediction", segment=one) for at, one in of.items()))
    _, line = next(profiles(days=1, columns=1))
    whole = msgspec.json.decode(line)
    lines = [
        whole | {"segment": segment, "psi": psi, "p50": p50, "count": 90}
        for segment, psi, p50 in (("depot=a", 0.1, 401.0), ("depot=b", 0.3, 402.0), (name, 0.2, 403.0))
    ]
    older = whole | {"segment": "depot=b", "psi": 9.0, "p50": 1.0, "start": "2025-12-31T00:00:00Z"}
    kept = [(PROFILE, msgspec.json.encode(one)) for one in (*lines, older)]
    with serving([(PROFILE, line), *kept, *published(service)]) as served:
        rows = served.get("/api/v1/column?model=bus-0001&column=prediction").json["beside"]
        html = served.get("/column?model=bus-0001&column=prediction").text
        alone = served.get("/api/v1/column?model=bus-0001&column=error")
    assert [(one["segment"], one["firing"]) for one in rows] == [
        ("", 0), (name, 1), ("depot=alerts-only", 1), ("depot=b", 0), ("depot=a", 0),
    ]  # fmt: skip
    assert [one["profile"] and one["profile"]["p50"] for one in rows][1:] == [403.0, None, 402.0, 401.0]
    assert all(f'<td class="num">{p50}</td>' in html for p50 in (401, 402, 403))
    assert name not in html
    assert "/column?model=bus-0001&column=prediction&segment=depot%3Db" in Parsed(html).links
    assert alone.status == 404
