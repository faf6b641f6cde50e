"""`driftline ui` as a process on a real broker: what people see and decide there is what the service does."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from statistics import median
from urllib.error import URLError

import msgspec
import pytest
from browser_kit import browser, tab
from driftline_process import DRIFTLINE, PATIENCE_S, Patience, Place, driftline, running
from page_kit import page_of, status_of

from streamer.testing.alerts import START, firing, ready

pytestmark = [pytest.mark.broker, pytest.mark.slow]

START_MS = int(START.timestamp() * 1000)
LAG_S = 2.0
ASK = "retrain: {approval_by_model: {'bus-*': both}, expires_after_s: 3.0e+9}\n"


def test_a_person_approves_on_the_page_of_a_running_service(kafka_broker, tmp_path):
    """A request appears while the page is open, is approved in a browser, and is then approved for every command."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1, extra=ASK)
    place.produce({0: [b"not JSON <b>", b"nor this"]})
    config = ("--config", str(place.config))
    with running(place.config) as service, page_of(*config) as url, browser() as chromium, tab(chromium) as shown:
        page, patience = shown.page, Patience(service.said)
        page.goto(f"{url}/requests")
        assert page.locator("text=Nothing waits and nothing is under way.").count() == 1
        place.produce_at(place.outputs["alerts"], 0, [(START_MS, msgspec.json.encode(ready("2h", fired="1h")))])
        while not (found := page.locator("a.id")).count():
            patience.check()
            time.sleep(0.2)
            page.reload()
        name = found.first.inner_text()
        found.first.click()
        page.get_by_role("link", name="Approve the retrain …").click()
        page.get_by_label("Comment").fill("new timetable")
        page.get_by_role("button", name="Approve the retrain of bus-099").click()
        page.get_by_text("Approved by").wait_for(timeout=PATIENCE_S * 1000)
        assert page.locator("[aria-current=step]").inner_text().startswith("Approved")
        assert page.locator("q").inner_text() == "new timetable"
        assert page.locator('meta[http-equiv="refresh"]').count() == 0
        assert "\napproved  " in driftline("requests", *config).stdout
        control, decision = place.jsons("control")[-1], place.jsons("decisions")[-1]
        assert (control["request_id"], control["actor"]) == (name, decision["actor"])
        assert (decision["reason"], decision["comment"]) == ("approved", "new timetable")
        page.goto(f"{url}/act?kind=silence&model=bus-*&for=4h")
        page.get_by_label("Comment").fill("known")
        page.get_by_role("button", name="Silence * of bus-* for 4h").click()
        page.get_by_text("1 active silence").wait_for(timeout=PATIENCE_S * 1000)
        assert place.jsons("decisions")[-1]["silence"]["matcher"]["model"] == "bus-*"
        says_what_kafka_says(page, url, place, patience)
        assert shown.said == []
        assert service.stop() == 0, "".join(service.said)


def says_what_kafka_says(page, url, place, patience):
    """The monitor shows the worker, units that are up to date and commit, and both dead letters with their places."""
    while True:
        found = read(f"{url}/api/v1/monitor")
        waiting = [one["behind"] for one in units_of(found)]
        if found["dead_letters"] and waiting and not any(waiting):
            break
        patience.check((len(found["dead_letters"]), waiting))
        time.sleep(0.2)
    assert (found["service"]["workers"], found["failing_since"]) == (1, None)
    assert {one["unit"]: (one["behind"], one["is_exact"], one["is_stuck"]) for one in units_of(found)} == {
        "detect-0": (0, True, False), "decide": (0, True, False),
    }  # fmt: skip
    assert all(one["commit_age_s"] < PATIENCE_S for one in units_of(found) if one["committed_at"])
    (letters,) = found["dead_letters"]
    assert (letters["topic"], letters["records"]) == (place.events, 2)
    assert [one["offset"] for one in letters["samples"]] == [1, 0]
    page.goto(f"{url}/monitor")
    assert page.locator("text=1 worker runs. 0 records wait.").count() == 1
    assert page.locator(f"th:has-text('{place.events}')").count() == 1


def units_of(found):
    return found["service"]["units"] if found["service"] else []


def test_a_record_is_on_the_page_within_two_seconds(kafka_broker, tmp_path, record_property):
    """From the writing of an alert until the page shows its model: the median of ten. The metric says the same."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    lags, patience = [], Patience([])
    with page_of("--config", str(place.config)) as url:
        for i in range(10):
            alert = firing(f"{i + 1}h", f"bus-{i}")
            began_s = time.monotonic()
            place.produce_at(place.outputs["alerts"], 0, [(int(time.time() * 1000), msgspec.json.encode(alert))])
            while read(f"{url}/api/v1/fleet?name=bus-{i}")["total"] == 0:
                patience.check(len(lags))
                time.sleep(0.02)
            lags.append(time.monotonic() - began_s)
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:  # noqa: S310 -- a loopback address
            said = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    record_property("lag_s", lags)
    print(f"lag: median {median(lags):.2f} s, at most {max(lags):.2f} s")
    assert median(lags) <= LAG_S, lags
    assert 0.0 < float(said["driftline_ui_lag_seconds"]) <= lags[-1]
    assert time.time() - float(said["driftline_ui_record_timestamp_seconds"]) < PATIENCE_S
    assert float(said["driftline_ui_records_total"]) == 10


def read(url):
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 -- a loopback address
        return json.loads(answer.read())


def test_one_command_runs_the_service_and_its_page(kafka_broker, tmp_path):
    """`run --ui` serves the page beside the worker; whatever ends the parent, even SIGKILL, ends the page."""
    place = Place(kafka_broker.bootstrap, tmp_path, partitions=1)
    command = [*DRIFTLINE, "run", "--ui", "0", "--config", str(place.config)]
    for end, exit_code in (("terminate", 0), ("kill", -9)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
            url = re.match(r"(http://\S+)/ shows the topics of driftline-", parent.stdout.readline())[1]
            until(lambda url=url: status_of(f"{url}/readyz") == 200)
            getattr(parent, end)()
            said = parent.communicate(timeout=PATIENCE_S)[1]
        assert parent.returncode == exit_code, said
        with pytest.raises(URLError):
            status_of(url)


def until(holds):
    """Wait for it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
