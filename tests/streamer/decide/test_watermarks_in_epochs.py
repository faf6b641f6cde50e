"""Alerts, words and marks of time on three topics, cut into epochs at random: along the same cuts, and along any."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from retrain.engine.engine import Engine
from retrain.messages.control import Control, ControlKind
from retrain.messages.lifecycle import RUNNING
from retrain.messages.silence import Matcher
from retrain.messages.watermark import Watermark
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from retrain.state.hold import Hold
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Records
from streamer.runtime.snapshot import Snapshot
from streamer.testing.alerts import START, random_alerts

TOPICS = (OutputTopics().alerts, OutputTopics().control, OutputTopics().watermarks)
DAY_S = 86_400.0
SOURCES = {"weather": SourceSettings(["bus-*", "tram-7"])}
HALF_DAY = timedelta(hours=12)

seeds = st.integers(0, 2**32)
lengths = st.integers(0, 20)
durations_s = st.sampled_from([0.0, DAY_S, 3 * DAY_S])


@st.composite
def plain_settings(draw, **changes):
    """Settings under which nobody waits for others: no budget, no storms."""
    return RetrainSettings(
        cooldown_s=draw(durations_s),
        expires_after_s=draw(durations_s.filter(bool)),
        incident_quiet_s=draw(durations_s),
        watch_s=draw(durations_s.filter(bool)),
        inhibit_s=draw(durations_s),
        **{"storm_models_min": None} | {name: draw(values) for name, values in changes.items()},
    )


any_settings = plain_settings(
    storm_models_min=st.sampled_from([None, 2]),
    requests_per_hour_max=st.sampled_from([None, 1, 2]),
    running_max=st.sampled_from([None, 1, 2]),
)


def words(random: Random, ids: list[str], at):
    """Something that is said of a request about now; or of a silence."""
    kind, until = random.choice(list(ControlKind)), at + timedelta(days=random.randrange(1, 5))
    silence = {"matcher": Matcher("bus-1"), "until": until} if kind is ControlKind.SILENCE else {}
    return Control(kind, random.choice([*ids[-2:], "s-1"]), at, "ann", **silence)


def story(random: Random, settings: RetrainSettings, n: int):
    """Alerts in any order of time, words on what comes of them, and marks, one for each half day."""
    engine, ids, reported = Engine(settings, None, SOURCES), ["retrain-unknown"], []
    for alert in random_alerts(random, n):
        records = [alert] if random.random() < 0.6 else [alert, words(random, ids, alert.event_time)]
        for record in records:
            acted = engine.handle(record)
            ids += [a.request.request_id for a in acted if hasattr(a, "request")]
            ids += [a.incident.incident_id for a in acted if a.reason == "storm_opened"]
        reported += records
    return reported, [Watermark("detect-0", START + k * HALF_DAY) for k in range(6, n + 8)]


def topic_of(record) -> str:
    """Where a record stands."""
    return TOPICS[2] if isinstance(record, Watermark) else TOPICS[isinstance(record, Control)]


def epochs_of(random: Random, records):
    """The records of each topic in their order, in epochs that end anywhere; with a time each by which they came."""
    rows = defaultdict(list)
    for i, record in enumerate(records):
        of = rows[topic_of(record)]
        of.append((len(of), 2_000_000_000_000 + i, b"", msgspec.json.encode(record), ()))
    cuts = random.randrange(1, 6)
    bounds = {topic: [*sorted(random.randint(0, len(of)) for _ in range(cuts)), len(of)] for topic, of in rows.items()}
    begun = dict.fromkeys(rows, 0)
    for k in range(cuts + 1):
        parts = {topic: (begun[topic], bounds[topic][k]) for topic in rows}
        begun = {topic: end for topic, (_, end) in parts.items()}
        yield [Records.build(topic, 0, rows[topic][a:b]) for topic, (a, b) in parts.items() if a < b]


def through_a_file(fold: DecideFold, settings: RetrainSettings) -> DecideFold:
    """Another fold, from what this one has dumped."""
    resumed = DecideFold(settings, sources=SOURCES)
    resumed.load(Snapshot.from_bytes(fold.dump().to_bytes()))
    return resumed


@given(any_settings, seeds, lengths, st.integers(0, 6))
def test_along_the_same_cuts_everything_is_the_same_again(settings, seed, n, restart):
    """Folded again from the beginning, or on from a checkpoint, each epoch gives the same outputs byte for byte."""
    random = Random(seed)
    reported, marks = story(random, settings, n)
    random.shuffle(marks)
    records = reported + marks
    records.sort(key=lambda _: random.random() if random.random() < 0.1 else 0)
    epochs = list(epochs_of(random, records))
    first, again = DecideFold(settings, sources=SOURCES), DecideFold(settings, sources=SOURCES)
    for k, epoch in enumerate(epochs):
        resumed = through_a_file(first, settings) if k == restart else None
        outputs = first.step(epoch)
        assert again.step(epoch) == outputs
        assert resumed is None or resumed.step(epoch) == outputs
    assert first.dump().to_bytes() == again.dump().to_bytes()


@given(plain_settings(), seeds, lengths)
def test_marks_that_are_late_change_nothing_that_is_told(settings, seed, n):
    """Where nobody waits for others, the same is reported whenever marks come behind what they were ahead of."""
    alerts = sorted(random_alerts(Random(seed), n), key=lambda alert: alert.event_time)
    assert told_of(settings, alerts, Random(seed), 1.0) == told_of(settings, alerts, Random(seed), 0.2)


def told_of(settings, alerts, random, share):
    """All outputs for alerts, in epochs of one, each with the marks of times before it, for this share of them."""
    fold, outputs = DecideFold(settings, sources=SOURCES), []
    marks = [Watermark("detect-0", START + k * HALF_DAY) for k in range(len(alerts) + 30)]
    for alert in alerts:
        came = [mark for mark in marks if mark.at <= alert.event_time] if random.random() < share else []
        marks = marks[len(came) :]
        made = fold.step(list(one_epoch([*came, alert])))
        outputs += made + fold.step(list(one_epoch(promoted(made, alert.event_time))))
    outputs += fold.step(list(one_epoch(marks)))
    return sorted((output.topic, output.value) for output in outputs)


def one_epoch(records):
    """All of them in one epoch."""
    for topic in TOPICS:
        of = [record for record in records if topic_of(record) == topic]
        if of:
            yield Records.build(topic, 0, [(i, -1, b"", msgspec.json.encode(one), ()) for i, one in enumerate(of)])


def promoted(outputs, at):
    """Every request is trained and promoted as soon as it is made."""
    requests = [msgspec.json.decode(o.value) for o in outputs if o.topic == OutputTopics().requests]
    done = (ControlKind.TRAINED, ControlKind.PROMOTE)
    return [Control(kind, request["request_id"], at, "ann") for request in requests for kind in done]


@given(any_settings, seeds, lengths)
def test_in_any_order_nothing_that_is_due_is_left(settings, seed, n):
    """However alerts, words and marks have mixed, behind the newest mark all has ended and is asked for that can be."""
    random = Random(seed)
    reported, marks = story(random, settings, n)
    engine = Engine(settings, None, SOURCES)
    now = START + (n + 60) * HALF_DAY
    mixed = [*reported, *marks[: random.randint(0, len(marks))]]
    random.shuffle(mixed)
    reached = []
    for record in [*mixed, Watermark("detect-1", now)]:
        engine.handle(record)
        reached.append(engine.state.now or START)
    assert reached == sorted(reached)
    assert reached[-1] == now
    state = engine.state
    lives = [model.last_request for model in state.models.values() if model.last_request]
    assert all(life.answer_by > now for life in lives if life.has_deadline)
    assert all(silence.until > now for silence in state.silences.values())
    quiet = timedelta(seconds=settings.incident_quiet_s)
    assert all(now - storm.incident.last_alert_at <= quiet for storm in state.storms.values())
    assert all(storm.state is not Hold.HELD for storm in state.storms.values() if not storm.models)
    running = sum(life.state in RUNNING for life in lives)
    is_full = running >= (settings.running_max or n + 1)
    is_full |= len(state.made) >= (settings.requests_per_hour_max or n + 1)
    waiting = [model.waiting for model in state.models.values() if model.waiting]
    assert is_full or not any(map(state.may_request, waiting))
