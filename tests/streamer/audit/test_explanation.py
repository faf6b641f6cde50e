"""The outcome of every alert, as `explain` and `history` show it: by name, with its numbers."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from retrain.engine.engine import Engine
from retrain.messages.action import PublishDecision, PublishIncident, PublishRequest
from retrain.messages.alert import AlertKind, AlertState, Resolution
from retrain.messages.control import Control
from retrain.messages.silence import Matcher
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.audit.explanation import AlertOutcomes
from streamer.audit.trail import Trail
from streamer.cli import main
from streamer.commands.console.json_lines import OutputLines
from streamer.contracts.topics import OutputTopics
from streamer.decide import DecideFold
from streamer.eventlog.base import Output, Records
from streamer.testing.alerts import firing, moment, place, random_alerts, ready, said

TOPICS = OutputTopics()
DAY_S = 86_400.0


@pytest.fixture
def history(tmp_path):
    """`driftline history MODEL` of a story, as the decide fold publishes it; the lines about decisions on alerts."""

    def of(*story, model="bus-099", config="", edit=lambda line: line, **retrain):
        fold, lines = DecideFold(RetrainSettings(**retrain)), OutputLines(TOPICS)
        path, settings = tmp_path / "replayed.jsonl", tmp_path / "driftline.yaml"
        with path.open("wb") as out:
            for i, record in enumerate(story):
                value = msgspec.json.encode(record)
                topic = TOPICS.control if isinstance(record, Control) else TOPICS.alerts
                if topic == TOPICS.alerts:
                    out.write(lines.line_of(Output(topic, None, value)) or b"")
                for output in fold.step([Records.build(topic, 0, [(i, -1, None, value, ())])]):
                    out.write(edit(lines.line_of(output) or b""))
        arguments = ["history", model, str(path)]
        if config:
            settings.write_text(config)
            arguments += ["--config", str(settings)]
        ran = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return [line.strip() for line in ran.stdout.splitlines() if line.strip().startswith("=>")]

    return of


def test_a_weaker_alert_of_a_column_has_its_own_decision(history):
    """An incident shows the strongest alert of a column; the others have their decision and name the stronger one."""
    lines = history(firing("1h"), firing("2h", effect=0.4), ready("3h", "2h", effect=0.4), firing("4h", effect=0.2))
    assert "waiting_for_data" in lines[1]
    assert "weaker than alert bus-099:7:headway_s:1h of the same column: 0.4 against 1 sd" in lines[1]
    assert lines[2].startswith("=> request_made (all rules agree; weaker than alert")
    assert lines[3].startswith("=> effect_too_small (the effect is too small for a retrain: 0.2 sd; weaker than alert")


def test_an_alert_that_waits_for_data_names_how_many_events_it_has(history):
    """And when there are enough, if events keep coming as often as since the onset."""
    counts = {"events_after_onset": 120, "min_events_after_onset": 500}
    (line,) = history(firing("2h", onset=place("1h"), **counts))
    assert "120 of 500 events when it fired, enough about 2026-01-01 05:10 at the same rate" in line


def test_a_cooldown_names_its_request_and_its_end(history):
    """With the configuration, by its settings; a model whose retrains did not help waits longer."""
    story = (ready("2h", "1h"), firing("9d", column="dwell_s"), ready("9d 1h", "9d", column="dwell_s"))
    config = "retrain: {cooldown_s: 864000}\n"
    lines = history(*story, config=config, cooldown_s=10 * DAY_S)
    assert "cooling_down" in lines[2]
    assert ", made 2026-01-01 02:00, cooldown until 2026-01-11 02:00)" in lines[2]
    assert "cooldown until" not in history(*story, cooldown_s=10 * DAY_S)[2]


def test_an_inhibited_alert_names_the_fault(history):
    """Which alert reported it, and how long it inhibits."""
    fault = firing("1h", kind=AlertKind.MISSING, effect_unit="rate", detector="rate")
    line = history(fault, firing("2h"), config="retrain: {inhibit_s: 7200}\n", inhibit_s=7200.0)[1]
    assert "inhibited_by_data_fault (the data of the column are faulty: missing, bus-099:7:headway_s:1h" in line
    assert "since 2026-01-01 01:00, until 2026-01-01 03:00)" in line


def test_a_spent_budget_names_its_limits(history):
    """The settings that bound the requests of the fleet."""
    story = (ready("2h", "1h", "bus-1"), ready("3h", "2h"))
    (line,) = history(*story, config="retrain: {running_max: 1}\n", running_max=1)
    assert "budget_exhausted (the budget of the fleet is spent: retrain.running_max is 1)" in line


def test_the_end_of_an_alert_is_explained(history):
    """With the distances that were measured, or the alert that took its place."""
    ended = {"state": AlertState.RESOLVED, "resolved_at": place("3h")}
    normal = firing("1h", **ended, resolution=Resolution.BACK_TO_NORMAL, distance=0.05, distance_max=0.4)
    assert (
        "back_to_normal (the values are again as before: distance 0.05, at the height of the drift 0.4), incident-"
        in (history(firing("1h"), normal)[1])
    )
    lines = history(firing("1h"), firing("3h"), firing("1h", **ended, resolution=Resolution.SUPERSEDED))
    assert "which has an alert of its own: bus-099:7:headway_s:3h)" in "".join(lines)


def test_alerts_without_effect_name_why(history):
    """A repeated record, an older version, and an alert that fired before a promotion."""
    lines = history(firing("1h"), firing("1h"), firing("2h", version="8"), firing("3h", column="dwell_s"))
    assert "=> duplicate (a record before it holds the same)" in lines
    assert "=> older_version (a newer version of the model serves: this alert is of 7)" in lines
    promoted = [said("trained", "", "3h", model_version="8"), said("promote", "", "4h")]
    engine = Engine(RetrainSettings())
    request_id = engine.handle(ready("2h", "1h"))[-1].request.request_id
    promoted = [replace(word, request_id=request_id) for word in promoted]
    lines = history(ready("2h", "1h"), *promoted, firing("3h 30m", column="dwell_s"))
    assert lines[-1].startswith(
        "=> before_promotion (it fired before the promotion, so it concerns the version before:"
    )


def test_holds_name_who_and_how_many(history):
    """A silence with its author and end; a storm with its size."""
    silence = said("silence", "s-1", "1h", matcher=Matcher("bus-*"), until=moment("9h"))
    assert history(silence, firing("2h")) == ["=> silenced (a silence matches it: by ann, until 2026-01-01 09:00), s-1"]
    lines = history(firing("1h", "a"), firing("2h", "b"), firing("2h 1m"), storm_models_min=2, storm_window_s=DAY_S)
    assert "a person decides: 2 models), incident-" in lines[0]


def test_records_of_earlier_versions_still_explain(history):
    """They do not name the alert of a decision: a weaker alert joined the incident, and no more is known."""

    def of_earlier_version(line):
        for at in (b"1h", b"2h"):
            line = line.replace(b'"models":[],"alert_id":"bus-099:7:headway_s:%s"' % at, b'"models":[]')
        return line

    lines = history(firing("1h"), firing("2h", effect=0.4), edit=of_earlier_version)
    assert lines[0].startswith("=> waiting_for_data (not enough events of the new regime yet), incident-")
    assert lines[1].startswith("=> absorbed (it joined the incident, which keeps no decision on it; weaker than alert")


def test_an_alert_that_is_not_decided_yet_is_named_so(history):
    """The decide fold has published nothing on it, nor on a later one."""
    assert history(firing("1h"), edit=lambda _: b"") == ["=> not decided (no record on it is published yet)"]


@st.composite
def settings(draw):
    """Settings whose durations are short enough to matter within a stream."""
    durations_s = st.sampled_from([0.0, DAY_S, 9 * DAY_S])
    return RetrainSettings(
        columns_max=draw(st.sampled_from([1, 50])),
        cooldown_s=draw(durations_s),
        incident_quiet_s=draw(durations_s),
        expires_after_s=draw(durations_s.filter(bool)),
        requests_per_hour_max=draw(st.sampled_from([None, 1])),
        storm_models_min=None,
    )


@given(st.randoms(use_true_random=False), settings(), st.booleans(), st.integers(1, 40))
def test_every_alert_has_the_decision_of_the_engine(random, settings, has_sources, n):
    """Whatever came before: late alerts, repeated ones, versions, sources, a budget."""
    engine = Engine(settings, None, {"weather": SourceSettings(["bus-*"])} if has_sources else None)
    trail, decisions = Trail(), []
    for alert in random_alerts(random, n):
        for one in [alert, copy(alert)] if random.random() < 0.05 else [alert]:
            trail.add(one)
            actions = engine.handle(one)
            decision = actions[-1].reason
            for action in actions:
                if isinstance(action, PublishIncident):
                    trail.add(action.incident)
                    if action.incident.alert_id == one.alert_id and action.incident.model_id == one.model_id:
                        decision = action.incident.decision
                elif isinstance(action, PublishRequest):
                    trail.add(action.request)
                elif isinstance(action, PublishDecision):
                    trail.add(action.decision)
            decisions.append((one, decision))
    outcomes = AlertOutcomes(trail, settings)
    for alert, decision in decisions:
        assert decision in [outcome.decision for outcome in outcomes.of(alert)], alert
