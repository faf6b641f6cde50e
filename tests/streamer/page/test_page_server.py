"""The server of the page: it says what the records say, decides only for whom it may, and survives hostile input."""

from __future__ import annotations

import json
import re
import threading
from datetime import datetime
from html import unescape

import msgspec
import pytest
from jsonschema import Draft202012Validator
from page_kit import LOCAL, MODELS, MOVED, Parsed, profiles, published, serving
from prometheus_client.parser import text_string_to_metric_families
from service_kit import PlayedService

from retrain.messages.control import Control
from retrain.messages.request import RetrainRequest
from streamer.errors import BrokerError
from streamer.page import api
from streamer.page.access import Access
from streamer.page.views import VIEWS
from streamer.testing.alerts import firing


def test_pages_and_their_json_say_what_the_records_say(page, service):
    """Numbers of a model, its column and its request stand on the pages as in the record, to four digits."""
    name = service.requested()
    value = next(value for kind, value in published(service) if kind == "request")
    record = json.loads(value)
    shown = page.get(f"/api/v1/request?id={name}").json
    assert msgspec.convert(shown["request"], RetrainRequest) == msgspec.json.decode(value, type=RetrainRequest)
    text = Parsed(page.get(f"/request?id={name}").text).text
    for words in ("412.5 → 530.8", "0.7 ± 0.02", "headway_s moved up by about 118.", "n = 1,000", "n = 400"):
        assert words in text
    for window in record["training_window"]:
        assert f"{window['start_offset']} to {window['end_offset']}" in text
    column = Parsed(page.get("/column?model=bus-1&column=headway_s").text).text
    for words in ("412.5 → 530.8", "2026-01-01 00:30", "1,000 before, 300 after"):
        assert words in column
    fleet = Parsed(page.get("/fleet").text).text
    order = [fleet.index(words) for words in ("Approve the retrain", "Fault: missing", "Incident open")]
    assert order == sorted(order)
    assert page.get("/api/v1/fleet").json["states"] == {"person": 1, "fault": 1, "incident": 1}


def test_every_view_answers_and_its_links_lead_somewhere(page):
    """From the fleet, each link of each page leads to a page; none is answered with an error."""
    seen, todo = set(), ["/fleet"]
    while todo:
        path = todo.pop()
        if path in seen or path.startswith("/static") or path.startswith("#"):
            continue
        seen.add(path)
        answer = page.get(path)
        assert answer.status == 200, (path, answer.text[:300])
        if not path.startswith("/api"):
            todo += Parsed(answer.text).links
    visited = {path.partition("?")[0] for path in seen}
    missing = {f"/{name}" for name in VIEWS} - visited - {"/search"}
    assert missing == set()
    assert page.get("/search?q=bus").status == 200
    assert page.get("/").headers["location"] == "/fleet"


def test_an_etag_changes_with_the_records_alone(page):
    """The same view is 304 until the read model changes."""
    first = page.get("/api/v1/fleet")
    assert page.get("/api/v1/fleet", if_none_match=first.headers["etag"]).status == 304
    page.site.progress.version += 1
    assert page.get("/api/v1/fleet", if_none_match=first.headers["etag"]).status == 200


def test_what_is_unknown_is_404_with_near_names(page):
    """An unknown model, column, request or id says so, and names what was probably meant."""
    for path in (
        "model?name=bus-11",
        "column?model=bus-1&column=x",
        "request?id=retrain-bus-1",
        "explain?id=x",
        "nothing",
    ):
        assert page.get(f"/{path}").status == 404
        if path != "nothing":
            assert page.get(f"/api/v1/{path}").status == 404
    assert "bus-1" in Parsed(page.get("/model?name=bus-11").text).text
    assert page.get("/api/v1/nothing").json == {"error": "Not Found"}


def test_a_search_names_what_was_probably_meant(page):
    """Where nothing holds the text, near models and near columns that moved are links; else neither is there."""
    found = page.get("/api/v1/search?q=headwey_s").json
    assert (found["columns"], found["near_columns"][0]) == ([], ["headway_s", 1, "bus-1"])
    assert "/column?model=bus-1&column=headway_s" in Parsed(page.get("/search?q=headwey_s").text).links
    assert page.get("/api/v1/search?q=trem-1").json["near"][0] == "tram-1"
    assert page.get("/api/v1/search?q=headway").json["near_columns"] == []


def test_a_decision_is_a_control_record_of_the_user(page, service):
    """What the form sends is the record that `driftline approve` would send; the author is never a field."""
    name, token = service.requested(), page.token()
    confirm = page.get(f"/act?kind=approve&id={name}").text
    assert "it trains bus-1 on bus.predictions[0] from offset 1800 to 10801." in unescape(confirm)
    form = {"kind": "approve", "id": name, "token": token, "comment": "new timetable"}
    form |= {"actor": "eve", "user": "eve", "proof": "oidc"}
    answer = page.post(form)
    assert answer.status == 303
    (key, value) = page.sent.pop()
    control = msgspec.json.decode(value, type=Control)
    assert (key.decode(), control.kind, control.request_id) == (name, "approve", name)
    assert (control.actor, control.proof, control.comment) == ("ann", "local", "new timetable")
    shown = page.get(answer.headers["location"]).text
    assert "The answer of the service appears here" in shown
    assert 'http-equiv="refresh"' in shown


def test_a_silence_is_previewed_and_sent(page):
    """The preview counts the models that it fits now; the record has matcher and end."""
    preview = Parsed(page.get("/act?kind=silence&model=bus-*&column=headway_s&for=4h").text).text
    assert "1 model" in preview
    form = {"kind": "silence", "model": "bus-*", "column": "headway_s", "for": "4h", "comment": "known"}
    assert page.post(form | {"token": page.token()}).status == 303
    control = msgspec.json.decode(page.sent.pop()[1], type=Control)
    assert (control.matcher.model, control.matcher.column, control.actor) == ("bus-*", "headway_s", "ann")
    assert (control.until - control.at).total_seconds() == 4 * 3600
    assert "is not like 90s" in unescape(page.get("/act?kind=silence&for=soon").text)
    assert page.post(form | {"token": page.token(), "for": "soon"}).status == 409
    assert page.sent == []


def test_a_decision_that_can_not_be_is_not_sent(page, service):
    """Promotion of what is not trained, unknown ids and unknown kinds send nothing."""
    token = page.token()
    for form, status in (
        ({"kind": "promote", "id": service.requested()}, 409),
        ({"kind": "approve", "id": "retrain-no"}, 404),
        ({"kind": "unsilence", "id": "silence-no"}, 404),
        ({"kind": "trained", "id": service.requested()}, 409),
        ({"kind": "approve", "id": service.requested(), "comment": "x" * 10_001}, 409),
    ):
        assert page.post(form | {"token": token}).status == status
    assert page.sent == []


def test_a_broker_that_fails_is_an_answer(service):
    """The page says that it is not certain, and does not fail itself."""

    def send(_key, _value):
        raise BrokerError("Kafka can't be reached")

    with serving(published(service), send=send) as served:
        answer = served.post({"kind": "approve", "id": service.requested(), "token": served.token()})
        assert answer.status == 502
        assert "Kafka can" in answer.text


@pytest.mark.parametrize("access", [Access("127.0.0.1", "ann", read_only=True), Access("0.0.0.0")])
def test_a_server_that_may_not_decide_does_not(service, access):
    """Read-only, and open to the network without a proxy: no buttons, and no decision by a form either."""
    name = service.requested()
    with serving(published(service), access) as served:
        assert "/act?" not in served.get(f"/request?id={name}").text
        token = served.site.access.token(served.site.access.user_of("127.0.0.1", {}))
        assert served.post({"kind": "approve", "id": name, "token": token}).status == 403
        assert served.sent == []


def test_many_readers_see_whole_commits(page):
    """Forty clients at once get the same page, and no error."""
    texts = []
    threads = [threading.Thread(target=lambda: texts.append(page.get("/api/v1/fleet").text)) for _ in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(texts) == 40
    assert len(set(texts)) == 1


def test_an_empty_log_says_what_will_come():
    """Without any record, each view says what makes it appear."""
    with serving([]) as served:
        assert "No model yet" in served.get("/fleet").text
        assert "No incident is open." in served.get("/incidents").text
        assert "Nothing waits and nothing is under way." in served.get("/requests").text
        assert "No record has been read" in served.get("/monitor").text
        assert "Nothing is silenced." in served.get("/silences").text


def test_while_the_log_is_read_the_page_says_so(page):
    """Before everything is read, views wait and probes know."""
    page.site.progress.is_loaded = False
    try:
        assert (page.get("/fleet").status, page.get("/readyz").status, page.get("/api/v1/fleet").status) == (503,) * 3
        assert page.get("/healthz").status == 200
        assert re.search(r"[\d,]+ records so far", page.get("/fleet").text)
    finally:
        page.site.progress.is_loaded = True
    assert page.get("/readyz").status == 200


def test_pages_hold_what_their_address_says():
    """Filter, order and page of the table come from the address; each model is on one page."""
    service = PlayedService()
    service.publish(*(firing(f"{i}h", f"bus-{i:03}", effect=1.0 + i / 100, distribution=MOVED) for i in range(1, 61)))
    with serving(published(service)) as served:
        names = [
            row["model_id"]
            for page in (1, 2, 3)
            for row in served.get(f"/api/v1/fleet?sort=model&page={page}").json["rows"]
        ]
        assert names == [f"bus-{i:03}" for i in range(1, 61)]
        assert served.get("/api/v1/fleet?name=bus-0*5").json["rows"][0]["model_id"] == "bus-055"
        assert served.get("/api/v1/fleet?name=s-01").json["total"] == 10
        since = [row["since"] for row in served.get("/api/v1/fleet?sort=since").json["rows"]]
        assert since == sorted(since, key=datetime.fromisoformat, reverse=True)
        assert served.get("/api/v1/fleet?state=held").json["total"] == 0


def test_the_local_user_needs_no_proxy():
    """On the loopback address the user of the machine decides; a user header from there means nothing."""
    assert LOCAL.user_of("127.0.0.1", {"x-forwarded-user": "root"}).name == "ann"
    assert Access("0.0.0.0", "ann").user_of("127.0.0.1", {}).name == ""


def test_a_column_can_be_saved_as_a_file(page):
    """The picture of `driftline plot` is offered as a download, and a wrong name is not found."""
    answer = page.get("/column.svg?model=bus-1&column=headway_s")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.headers["content-disposition"] == 'attachment; filename="column.svg"'
    assert "before 412.5 → after 530.8" in answer.text
    assert page.get("/column.svg?model=bus-1&column=nothing").status == 404
    assert "/column.svg?model=bus-1&amp;column=headway_s" in page.get("/column?model=bus-1&column=headway_s").text


def test_metrics_count_answers_and_rows(service):
    """Answers by view and status, what was read, and each table beside its bound; no name of a model."""
    with serving(published(service)) as served:
        served.get("/fleet")
        served.get("/api/v1/fleet")
        served.get("/model?name=nobody")
        served.get("/nothing/of/that")
        answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }
    counted = "driftline_ui_requests_total"
    requests = {tuple(labels): value for (name, *labels), value in found.items() if name == counted}
    assert requests == {("200", "fleet"): 2, ("404", "model"): 1, ("404", "other"): 1}
    assert found["driftline_ui_request_seconds_count",] == 4
    assert found["driftline_ui_records_total",] == len(published(service))
    assert found["driftline_ui_table_rows", "records"] == len(published(service))
    assert found["driftline_ui_table_rows_max", "records"] == 1_000_000
    assert (found["driftline_ready",], found["driftline_ui_following",]) == (1, 1)
    assert found["driftline_ui_left_out_total", "unreadable"] == 0
    assert "bus-1" not in answer.text


def test_each_view_gives_what_the_published_schema_says(page, service):
    """The JSON of every view validates, unknown fields count as errors, and so does a wrong name."""
    document = api.openapi()
    name = service.requested()
    given = {
        "model": "name=bus-1", "column": "model=bus-1&column=headway_s", "request": f"id={name}",
        "explain": f"id={name}", "search": "q=bus",
    }  # fmt: skip
    assert {path.removeprefix("/api/v1/") for path in document["paths"]} == VIEWS.keys()
    for part in document["components"]["schemas"].values():
        if "properties" in part:
            part["additionalProperties"] = False
    with serving([*published(service), next(profiles(days=1, columns=1))]) as served:
        for view in VIEWS:
            answer = served.get(f"/api/v1/{view}?{given.get(view, '')}")
            assert answer.status == 200
            assert problems(document, view, 200, answer.json) == []
        profiled = served.get(f"/api/v1/column?model={MODELS[0]}&column=prediction").json
    assert len(profiled["profiles"]) == 1
    assert problems(document, "column", 200, profiled) == []
    assert problems(document, "fleet", 200, page.get("/api/v1/fleet").json | {"models": "3"}) != []
    assert problems(document, "model", 404, page.get("/api/v1/model?name=nobody").json) == []


def problems(document, view, status, value):
    answer = document["paths"][f"/api/v1/{view}"]["get"]["responses"][str(status)]
    schema = {**document, **answer["content"]["application/json"]["schema"]}
    return [one.message for one in Draft202012Validator(schema).iter_errors(value)]
