"""Whether the monitor is well: what the brokers answer, what they do not, and what a file tells."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from page_kit import Parsed, published, serving
from test_page_server import problems

from streamer.app.standing import ServiceStanding, UnitStanding
from streamer.audit.source import DEAD_LETTER
from streamer.clock import ManualClock
from streamer.errors import BrokerError
from streamer.events import time_of
from streamer.page import api
from streamer.page.answers import BrokerWatch, FileAnswers, LetterTable

NASTY = "<script>alert(1)</script>"
NOW = time_of(1_767_300_000_000)


class Brokers:
    """Brokers that answer what a test says, and the watch that asks them."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW.timestamp())
        self.units: list[UnitStanding] = []
        self.workers, self.away = 2, False
        self.letters = LetterTable()
        self.watch = BrokerWatch(self._standing, self._rows, self.clock)

    def _standing(self) -> ServiceStanding:
        if self.away:
            raise BrokerError(f"Kafka at {NASTY} did not answer")
        return ServiceStanding("localhost:9092", "driftline", "Stable", self.workers, NOW, tuple(self.units))

    def _rows(self):
        if self.away:
            raise BrokerError("nor here")
        return self.letters.rows()


@pytest.fixture
def brokers():
    """One unit that is up to date, one behind, and one so far behind that its records are not counted."""
    found = Brokers()
    ago = lambda s: NOW - timedelta(seconds=s)  # noqa: E731
    found.units = [
        UnitStanding("detect-0", 0, True, ago(3), None, ago(600)),
        UnitStanding("detect-1", 40, True, ago(4), ago(90), ago(900)),
        UnitStanding("detect-2", 70_000, False, ago(5), None, ago(5000)),
    ]
    return found


def shown(html):
    return " ".join(Parsed(html).text.split())


def test_units_stand_with_their_lag_the_worst_first(service, brokers):
    """Numbers of the page and its JSON are those of the brokers' answer, and the JSON keeps its schema."""
    brokers.watch.ask()
    with serving(published(service), answers=brokers.watch) as served:
        found, text = served.get("/api/v1/monitor").json, shown(served.get("/monitor").text)
    assert problems(api.openapi(), "monitor", 200, found) == []
    units = found["service"]["units"]
    assert [one["unit"] for one in units] == ["detect-2", "detect-1", "detect-0"]
    assert [(one["behind"], one["waits_s"], one["commit_age_s"]) for one in units] == [
        (70_000, None, 5.0), (40, 90.0, 4.0), (0, None, 3.0),
    ]  # fmt: skip
    for words in ("2 workers run. At most 70,040 records wait.", "at most 70,000", "90 s", "up to date"):
        assert words in text
    assert "stands still." not in text
    assert "All times are event times" not in text


def test_a_unit_that_commits_nothing_while_records_wait_stands_still(service, brokers):
    """After a minute without a commit; it goes first. One that commits, or has nothing to do, never does."""
    for _ in range(7):
        brokers.watch.ask()
        brokers.clock.advance(10.0)
        at = time_of(int(brokers.clock.now_s() * 1000))
        first, behind, far = brokers.units
        brokers.units = [first, behind, _committed(far, at)]
    with serving(published(service), answers=brokers.watch) as served:
        units = served.get("/api/v1/monitor").json["service"]["units"]
        assert [(one["unit"], one["is_stuck"]) for one in units] == [
            ("detect-1", True), ("detect-2", False), ("detect-0", False),
        ]  # fmt: skip
        assert "1 unit stands still." in shown(served.get("/monitor").text)
        brokers.workers = 0
        brokers.watch.ask()
        assert "No worker runs." in shown(served.get("/monitor").text)


def _committed(unit, at):
    return UnitStanding(unit.unit, unit.behind, unit.is_exact, at, None, unit.events_until)


def test_while_the_brokers_are_away_the_page_says_since_when(service, brokers):
    """The last answer stays with its time, the reason is text, and each answer changes the ETag of this view alone."""
    with serving(published(service), answers=brokers.watch) as served:
        assert "Kafka is being asked." in shown(served.get("/monitor").text)
        brokers.watch.ask()
        fleet, monitor = (served.get(f"/api/v1/{name}").headers["etag"] for name in ("fleet", "monitor"))
        brokers.away = True
        for _ in range(3):
            brokers.clock.advance(60.0)
            brokers.watch.ask()
        assert served.get("/api/v1/fleet", if_none_match=fleet).status == 304
        found = served.get("/api/v1/monitor", if_none_match=monitor).json
        assert datetime.fromisoformat(found["service"]["at"]) == NOW
        assert datetime.fromisoformat(found["failing_since"]) == NOW + timedelta(seconds=60)
        html = served.get("/monitor").text
        assert NASTY not in html
        assert f"Kafka at {NASTY} did not answer" in shown(html)
        assert "70,000" in html
        brokers.away = False
        brokers.watch.ask()
        assert served.get("/api/v1/monitor").json["failing_since"] is None


def test_dead_letters_are_counted_by_reason_with_samples(service, brokers):
    """The most frequent first; of each the newest samples, as text."""
    for i in range(5):
        brokers.letters.add("bus", "missing_model", (0, i), 1_767_300_000_000 + i, f"no {NASTY} at {i}" + "x" * 1000)
    brokers.letters.add("tram", "invalid_json", (3, 7), -1, "not JSON")
    brokers.watch.ask()
    with serving(published(service), answers=brokers.watch) as served:
        html, rows = served.get("/monitor").text, served.get("/api/v1/monitor").json["dead_letters"]
    assert [(one["topic"], one["reason"], one["records"]) for one in rows] == [
        ("bus", "missing_model", 5), ("tram", "invalid_json", 1),
    ]  # fmt: skip
    assert [one["offset"] for one in rows[0]["samples"]] == [4, 3, 2]
    assert all(len(one["message"]) == 300 for one in rows[0]["samples"])
    assert rows[1]["newest"] is None
    assert NASTY not in html
    assert f"[0] 4 no {NASTY} at 4" in shown(html)


def test_a_file_tells_of_its_dead_letters_alone(service):
    """Those of a replay are counted, and the page says what a file has no facts of."""
    line = {"type": "dead_letter", "topic": "bus", "partition": 1, "offset": 7, "reason": "invalid_json",
            "message": "not JSON", "key": None, "value": "{"}  # fmt: skip
    letters = [(DEAD_LETTER, msgspec.json.encode(line)), (DEAD_LETTER, b'{"type":"dead_letter"}')]
    with serving([*letters, *published(service)], answers=FileAnswers()) as served:
        found, text = served.get("/api/v1/monitor").json, shown(served.get("/monitor").text)
        assert served.site.progress.unreadable == 0
    sample = {"partition": 1, "offset": 7, "message": "not JSON"}
    row = {"topic": "bus", "reason": "invalid_json", "records": 1, "newest": None, "samples": [sample]}
    assert (found["source"], found["service"], found["dead_letters"]) == ("file", None, [row])
    assert "no workers, lag or commits" in text
    with serving(published(service), answers=FileAnswers()) as served:
        assert "The file holds none." in shown(served.get("/monitor").text)
