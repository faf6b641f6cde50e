"""The read model of the page: what it says is what the records say, in whatever pieces they arrive."""

from __future__ import annotations

import json
import threading
import time
from operator import itemgetter
from random import Random

import msgspec
import pyarrow as pa
import pytest
from service_kit import TOPICS, PlayedService

from retrain.messages.alert import AlertKind
from streamer.audit.fleet import KINDS as DECIDED
from streamer.audit.fleet import Fleet, Wanted
from streamer.audit.source import PROFILE, kinds_of
from streamer.clock import ManualClock
from streamer.contracts.profiles import SCHEMA, profile_objects, read_profiles
from streamer.errors import BrokerError
from streamer.page import follow as follow_module
from streamer.page import store as store_module
from streamer.page.follow import Follower, from_source
from streamer.page.reader import Filter, Reader
from streamer.page.rows import Attention, rows_of
from streamer.page.store import Store
from streamer.testing.alerts import firing, random_alerts, ready, said

HOSTILE = "<b>\"'\u202e"
PROFILE_LINE = {
    "type": "profile", "unit": "detect-0", "start": "2026-01-03T00:00:00Z", "end": "2026-01-04T00:00:00Z",
    "model_id": "m0", "model_version": "1", "segment": "", "topic": "events", "column": "a", "intervals": 1,
    "count": 720, "missing": 3, "faults": 0, "mean": 7.3125, "p50": 7.5, "compared": 10, "psi": 3.65, "ks": 0.811,
    "n_reference": 724.1, "psi_chance": 0.04686, "ks_chance": 0.07148, "kind": "number", "cells": [0.5, 0.5],
}  # fmt: skip


def played(*records, **retrain):
    """The published records of a service, in an order of topics that a reader of the log may meet."""
    service = PlayedService(**retrain)
    service.publish(*records)
    kinds = kinds_of(TOPICS)
    return [(kinds[topic], value) for topic, held in service.held.items() if topic in kinds for _, value in held]


@pytest.fixture
def store():
    made = Store()
    yield made
    made.close()


def loaded(store, records):
    Follower(store, TOPICS, from_source(lambda: iter(records))).load()
    return Reader(store.path)


def shown(store):
    """The models as a page lists them."""
    reader = Reader(store.path)
    with reader.snapshot() as snapshot:
        found = snapshot.models(Filter(), 1000)[0]
    reader.close()
    return found


def profile_message() -> bytes:
    """A column of numbers, one of categories, and one without a reference, as detect publishes them."""
    n = 3
    values = {
        "model_id": ["bus-1", "bus-1", HOSTILE], "model_version": ["7", "7", ""], "segment": ["", "depot=a", ""],
        "topic": ["t"] * n, "column": ["a", "b", "c"], "is_number": [True, False, True], "intervals": [1, 2, 1],
        "count": [720, 50, 3], "missing": [0, 1, 2], "faults": [0, 0, 9], "mean": [1.5, None, -0.25],
        "sd": [0.123456, None, 2.0], "p05": [0.1, None, 0.0], "p25": [0.2, None, 0.0], "p50": [0.3, None, 0.0],
        "p75": [0.4, None, 0.0], "p95": [0.5, None, 0.0], "compared": [10, 2, 0], "size": [80, 40, 0],
        "trained": [True, False, False], "psi": [0.0123, 3.65, None], "ks": [0.5, 0.811, None],
    }  # fmt: skip
    shares = SCHEMA.field("cells").type.value_type
    slots = [None] * 8 + ["north", HOSTILE] + [None] * 14
    lists = {
        "cells": pa.FixedSizeListArray.from_arrays(pa.array([25] * 10 + [175, 75] + [0] * 18, shares), 10),
        "categories": pa.FixedSizeListArray.from_arrays(pa.array(slots, pa.string()).dictionary_encode(), 8),
    }
    columns = []
    for one in SCHEMA:
        if one.name in lists:
            columns.append(lists[one.name])
        elif pa.types.is_dictionary(one.type):
            columns.append(pa.array(values[one.name], pa.string()).dictionary_encode())
        else:
            floats = one.type.to_pandas_dtype() if pa.types.is_float16(one.type) else None
            given = [None if x is None else floats(x) if floats else x for x in values[one.name]]
            columns.append(pa.array(given, one.type))
    schema = SCHEMA.with_metadata({"unit": "detect-3", "interval": "20456", "length_s": "86400"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return sink.getvalue().to_pybytes()


STORY = (
    *random_alerts(Random(3), 200),
    *(firing(f"30d {i}m", f"bus-{i}", "temperature_c", effect=2.0) for i in range(40)),
    firing("40d", "tram-1", "doors", kind=AlertKind.MISSING, effect=0.4, effect_unit="rate"),
)


def test_summaries_are_those_of_the_commands():
    """States, shifts and requests of models are those of the report and the commands, for any cut of arrivals."""
    records = played(*STORY, approval_by_model={"*": "training"}, storm_models_min=20)
    fleet = Fleet(TOPICS, (one for one in records if one[0] in DECIDED))
    expected = rows_of(fleet, fleet.alerts((one for one in records if one[0] == "alert"), Wanted(ended=True)))
    assert {row.state for row in expected} >= {Attention.FAULT, Attention.HELD, Attention.PERSON}
    random = Random(1)
    for _ in range(3):
        store = Store()
        clock = ManualClock()
        follower = Follower(store, TOPICS, lambda: iter(()), clock)
        follower._take(None)
        at = 0
        while at < len(records):
            n = random.randrange(1, 60)
            clock.advance(10.0)
            follower._take(records[at : at + n])
            at += n
        follower._publish(now=True)
        assert shown(store) == expected
        with Reader(store.path).snapshot() as snapshot:
            requests = sorted(snapshot.requests(False, 1000, 1)[0], key=lambda one: one.request_id)
            assert requests == sorted(fleet.requests(), key=lambda one: one.request_id)
            listed = {one.incident_id: one for one in snapshot.incidents(True, 1000, 1)[0]}
            assert listed == fleet.open
        store.close()


def test_a_decision_changes_the_model(store):
    """An approval that arrives later takes its model from those that wait for a person."""
    service = PlayedService(approval_by_model={"*": "training"})
    service.publish(firing("1h"), ready("3h", "1h"))
    kinds = kinds_of(TOPICS)
    seen = {}

    def arrived():
        for topic, held in service.held.items():
            for _, value in held[seen.get(topic, 0) :]:
                if topic in kinds:
                    yield kinds[topic], value
            seen[topic] = len(held)

    reader = loaded(store, list(arrived()))
    with reader.snapshot() as snapshot:
        assert (snapshot.waiting(), snapshot.model("bus-099").words) == (1, "Approve the retrain")
    service.publish(said("approve", service.requested(), "4h"))
    loaded(store, list(arrived()))
    with reader.snapshot() as snapshot:
        assert (snapshot.waiting(), snapshot.model("bus-099").words) == (0, "Approved, not started")


def test_a_view_is_of_one_commit(store):
    """A snapshot does not change while records arrive."""
    reader = loaded(store, played(firing("1h", "bus-1")))
    with reader.snapshot() as snapshot:
        before = snapshot.states()
        loaded(store, played(firing("1h", "bus-2")))
        assert snapshot.states() == before
    with reader.snapshot() as snapshot:
        assert sum(snapshot.states().values()) == 2


def test_what_can_not_be_read_is_counted(store):
    """Records of another version, and bytes that are none, are counted and end nothing."""
    good = played(firing("1h", "bus-1"))
    loaded(store, [("alert", b"{}"), ("incident", b"\xff"), (PROFILE, b"no arrow"), (PROFILE, b"{}"), *good])
    assert store.unreadable == 4
    assert [row.model_id for row in shown(store)] == ["bus-1"]


def test_a_record_of_a_later_version_costs_itself_alone(store):
    """A record whose names can be read and the rest can't is left out and counted; its model and others are shown."""
    later = json.loads(played(firing("1h", "bus-1"))[0][1]) | {"kind": "teleported", "alert_id": "a"}
    storm = {"incident_id": "i", "model_id": "fleet:a", "last_alert_at": "2026-01-01T00:00:00Z", "state": "asleep"}
    bad = [("alert", msgspec.json.encode(later)), ("incident", msgspec.json.encode(storm))]
    loaded(store, [*bad, *played(firing("1h", "bus-1"), firing("2h", "bus-2"))])
    assert store.unreadable == 2
    assert sorted(row.model_id for row in shown(store)) == ["bus-1", "bus-2"]


def test_a_full_disk_is_a_sentence_with_the_next_step(store, caplog):
    """On the page and in the log, without a traceback; pages that SQLite may not write stand for the disk."""
    records = played(*(firing(f"{i}h", f"bus-{i}") for i in range(1, 400)))
    store.db.execute("PRAGMA max_page_count = 40")
    follower = Follower(store, TOPICS, lambda: (stretch for stretch in (records, None)))
    follower.start()
    wait_until(lambda: follower.progress.problem)
    assert "(database or disk is full): make room in" in follower.progress.problem
    assert [line.exc_info for line in caplog.records] == [None]
    follower.stop()


def test_a_follower_that_fails_says_so(store):
    """A bug is a line on the page; what was read stays."""

    def arrivals():
        yield played(firing("1h", "bus-1"))
        yield None
        raise RuntimeError("a bug")

    follower = Follower(store, TOPICS, arrivals)
    follower.start()
    wait_until(lambda: "a bug" in follower.progress.problem)
    assert [row.model_id for row in shown(store)] == ["bus-1"]
    follower.stop()


def test_bounds_leave_the_oldest_out(store, monkeypatch):
    """Beyond its bounds, the read model keeps the newest records and intervals, and counts what it leaves out."""
    monkeypatch.setattr(store_module, "RECORDS_MAX", 10)
    monkeypatch.setattr(store_module, "PROFILES_MAX", 5)
    monkeypatch.setattr(store_module, "SERIES_MAX", 2)
    records = played(*(firing(f"{i}h", "bus-1", f"c{i}") for i in range(1, 20)))
    lines = [
        {
            **PROFILE_LINE,
            "column": column,
            "start": f"2026-01-{day:02}T00:00:00Z",
            "end": f"2026-01-{day + 1:02}T00:00:00Z",
        }
        for day in range(1, 9)
        for column in "abc"
    ]
    loaded(store, [*records, *((PROFILE, msgspec.json.encode(line)) for line in lines)])
    assert store.db.execute("SELECT count(*) FROM records").fetchone()[0] == 10
    starts = [day for (day,) in store.db.execute("SELECT DISTINCT start_ms / 86400000 % 365 FROM profiles ORDER BY 1")]
    assert len(starts) == 2
    assert store.cut == len(records) - 10 + 8 + 12  # series c, and the first six days of a and b


def test_profiles_give_models_and_columns(store):
    """A model without alerts is quiet, and its column has the numbers of its interval."""
    reader = loaded(store, [(PROFILE, msgspec.json.encode(PROFILE_LINE))])
    assert [(row.model_id, row.words, row.since) for row in shown(store)] == [("m0", "Quiet", None)]
    with reader.snapshot() as snapshot:
        (profile,) = snapshot.profiles("m0", "a")
    assert {name: profile[name] for name in ("count", "missing", "p50", "psi", "ks", "cells", "psi_chance")} == {
        name: PROFILE_LINE[name] for name in ("count", "missing", "p50", "psi", "ks", "cells", "psi_chance")
    }


def drawn(store):
    """All profiles as a page draws them, without the number of their series."""
    with Reader(store.path).snapshot() as snapshot:
        found = [one for model in ("bus-1", HOSTILE) for one in snapshot.profiles(model)]
    return sorted(({"model_id": one["model"], **one} for one in found), key=itemgetter("model_id", "column"))


def test_messages_of_the_topic_say_what_lines_of_a_replay_say(store):
    """An Arrow message of profiles gives the same rows as its objects in lines: numbers, categories, and nothing."""
    message = profile_message()
    objects = list(profile_objects(read_profiles(message)))
    loaded(store, [(PROFILE, message)])
    lines = Store()
    loaded(lines, [(PROFILE, msgspec.json.encode(one)) for one in objects])
    found = [drawn(one) for one in (store, lines)]
    assert found[0] == found[1]
    assert len(found[0]) == 3
    for one, given in zip(found[0], sorted(objects, key=itemgetter("model_id", "column")), strict=True):
        shares = given.pop("categories", {})
        same = given.keys() & one.keys() - {"start", "end"}  # at least its counts
        assert {name: one[name] for name in same} == {name: given[name] for name in same}
        assert dict(zip(one["categories"], one["cells"], strict=False)) == shares
    assert store.db.execute("SELECT * FROM units").fetchall() == lines.db.execute("SELECT * FROM units").fetchall()
    lines.close()


@pytest.mark.parametrize("text", ["'; DROP TABLE models; --", "*", "[", "%", "\x00", "\U0001f600", "a" * 5000])
def test_any_text_may_be_searched(store, text):
    """No text of a filter or a search is more than text."""
    reader = loaded(store, played(firing("1h", "bus-1")))
    with reader.snapshot() as snapshot:
        snapshot.search(text)
        snapshot.models(Filter(name=text, group=text), 10)
        assert snapshot.model(text) is None
        assert sum(snapshot.states().values()) == 1


def test_a_broker_that_comes_back_is_read_on(store, monkeypatch):
    """While the broker is away the page has what it had and says why; afterwards new records appear, each once."""
    monkeypatch.setattr(follow_module, "RETRY_S", 0.01)
    stretches = [played(firing("1h", "bus-1")), played(firing("2h", "bus-2"))]
    is_back = threading.Event()

    def arrivals():
        if len(stretches) == 2:
            yield stretches.pop(0)
            yield None
        if not is_back.is_set():
            raise BrokerError("Kafka can't be reached")
        yield stretches.pop(0)
        yield None
        while True:
            yield []

    follower = Follower(store, TOPICS, arrivals)
    follower.start()
    try:
        wait_until(lambda: follower.progress.problem == "Kafka can't be reached")
        assert [row.model_id for row in shown(store)] == ["bus-1"]
        is_back.set()
        wait_until(lambda: len(shown(store)) == 2)
        assert follower.progress.problem == ""
    finally:
        follower.stop()


def test_the_lag_is_from_writing_to_showing(store):
    """Of the oldest record that a change shows, even where it had to wait for the next summary; none of the start."""
    clock = ManualClock(1000.0)
    follower = Follower(store, TOPICS, lambda: iter(()), clock)

    def take(records, *written_s):
        stretch = follow_module.ReadStretch(records)
        if written_s:
            stretch.oldest_ms, stretch.newest_ms = (int(1000 * one) for one in (min(written_s), max(written_s)))
        follower._take(stretch)

    take(played(firing("1h", "bus-1")), 10.0)
    follower._take(None)
    assert (follower.progress.lag_s, follower.progress.newest_ms) == (0.0, 10_000)
    version = follower.progress.version
    take(played(firing("2h", "bus-2")), 999.5, 999.875)
    assert follower.progress.lag_s == 0.0  # summaries wait for a second
    clock.advance(2.0)
    take([])
    assert (follower.progress.lag_s, follower.progress.newest_ms) == (2.5, 999_875)
    assert follower.progress.version > version
    version = follower.progress.version
    take([])
    assert follower.progress.version == version
    take([("profile", msgspec.json.encode(PROFILE_LINE))], 1001.0)
    take([("profile", msgspec.json.encode(PROFILE_LINE))], 1002.0)
    assert follower.progress.version > version + 1  # an interval of a known column shows too


def wait_until(what):
    deadline_s = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
