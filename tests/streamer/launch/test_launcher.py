"""The launcher: each approved request once, whatever happens, and a word about everything that ends."""

from __future__ import annotations

import random
import time

import msgspec
import pytest
from launch_kit import Loop, RunState, RunStatus, TargetDown, TargetRefused, Topics, rule

from streamer.errors import BrokerError
from streamer.launch.settings import ReviewSettings, verdict
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.table import LAUNCH_TABLE

ID = "retrain-bus-1-aa"


@pytest.fixture
def topics():
    return Topics()


def test_what_is_approved_is_launched_and_reported_with_its_run(target, topics, tmp_path):
    """A request that needs no approval starts at once; `started` names the run and where to see it."""
    topics.request(ID)
    loop = Loop(topics, rule(), tmp_path)
    loop.until(lambda: bool(topics.said()))
    said = topics.said()[0]
    assert target.launched == [ID]
    assert (said["kind"], said["run"], said["link"]) == ("started", f"command:{ID}", f"http://runs/{ID}")


def test_what_waits_for_a_person_is_not_launched(target, topics, tmp_path):
    """A request that needs approval starts once it is approved, and not before."""
    topics.request(ID, "bus-1", "required")
    loop = Loop(topics, rule(), tmp_path)
    for _ in range(20):
        loop.launcher.turn()
    assert target.launched == []
    loop.decide(ID, "approved")
    loop.until(lambda: bool(target.launched))


@pytest.mark.parametrize("state", ["rejected", "withdrawn", "expired", "failed", "helped", "watching", "trained"])
def test_what_is_over_is_not_launched(target, topics, tmp_path, state):
    """A request that has gone beyond training is never launched, in whatever order its records are read."""
    topics.decide(ID, state)
    topics.request(ID)
    loop = Loop(topics, rule(), tmp_path)
    for _ in range(20):
        loop.launcher.turn()
    assert (target.launched, topics.said()) == ([], [])


@pytest.mark.parametrize("state", ["rejected", "withdrawn", "expired"])
def test_a_request_that_is_called_off_cancels_its_run(target, topics, tmp_path, state):
    """Rejection, withdrawal and expiry cancel the run, once."""
    topics.request(ID)
    loop = Loop(topics, rule(), tmp_path)
    loop.until(lambda: loop.kinds() == ["started"])
    loop.decide(ID, state)
    loop.until(lambda: not loop.launcher.ledger.tasks)
    assert target.cancelled == [ID]


def test_a_new_process_goes_on_where_the_log_ends(target, topics, tmp_path):
    """After a restart, a started run is followed and not started again."""
    topics.request(ID)
    Loop(topics, rule(), tmp_path).until(lambda: bool(topics.said()))
    again = Loop(topics, rule(poll_s=0.05), tmp_path)
    target.status = RunStatus(RunState.FAILED, "exit code 3")
    again.until(lambda: again.kinds() == ["started", "failed"], step_s=0.1)
    assert target.launched == [ID]
    assert topics.said()[1]["comment"] == "exit code 3"


@pytest.mark.parametrize("status", [RunStatus(RunState.FAILED, "no memory"), RunStatus(RunState.GONE, "no such run")])
def test_a_failure_is_reported_once_with_its_reason(target, topics, tmp_path, status):
    """A run that fails or vanishes gives one `failed`."""
    topics.request(ID)
    target.status = status
    loop = Loop(topics, rule(poll_s=0.05), tmp_path)
    loop.until(lambda: len(topics.said()) == 2, step_s=0.1)
    for _ in range(20):
        loop.launcher.turn()
    assert loop.kinds() == ["started", "failed"]
    assert status.reason in topics.said()[1]["comment"]


def test_the_report_of_the_trainer_is_passed_on(target, topics, tmp_path):
    """What the trainer has left at its target goes to the topic byte for byte, once."""
    topics.request(ID)
    report = msgspec.json.encode({"kind": "trained", "request_id": ID, "at": "2026-03-01T00:00:00Z", "actor": "me"})
    target.status = RunStatus(RunState.SUCCEEDED, report=report)
    loop = Loop(topics, rule(poll_s=0.05), tmp_path)
    loop.until(lambda: len(topics.said()) == 2, step_s=0.1)
    assert topics.values["driftline.control"][1] == report


def test_a_run_without_a_report_is_trained_after_a_while(target, topics, tmp_path):
    """A run that ends well has a minute for the report of its trainer; then it counts as trained, without metrics."""
    topics.request(ID)
    target.status = RunStatus(RunState.SUCCEEDED)
    loop = Loop(topics, rule(poll_s=0.05), tmp_path)
    loop.until(lambda: len(topics.said()) == 2, step_s=1.0)
    assert loop.kinds() == ["started", "trained"]
    assert "no metrics" in topics.said()[1]["comment"]
    assert loop.clock.elapsed_s > 60


def test_a_run_that_never_ends_is_cancelled(target, topics, tmp_path):
    """A run that takes longer than `timeout_s` is cancelled, and then reported as failed."""
    topics.request(ID)
    loop = Loop(topics, rule(poll_s=1, timeout_s=100), tmp_path)
    loop.until(lambda: len(topics.said()) == 2, step_s=5)
    assert target.cancelled == [ID]
    assert "longer than timeout_s, 100 s" in topics.said()[1]["comment"]


def test_a_target_that_is_away_is_tried_again_later(target, topics, tmp_path):
    """While a target is away, nothing is reported; the tries become rarer, and `Retry-After` holds."""
    topics.request(ID)
    target.down = [TargetDown("no route"), TargetDown("503"), TargetDown("429", after_s=40)]
    loop = Loop(topics, rule(), tmp_path)
    loop.until(lambda: loop.kinds() == ["started"], step_s=0.5)
    assert target.launched == [ID]
    assert loop.launcher.counts["retried"] == 3
    assert loop.clock.elapsed_s > 1 + 2 + 40


def test_a_refused_run_fails_with_the_words_of_the_target(target, topics, tmp_path):
    """A target that will never start the run ends the request."""
    topics.request(ID)
    target.down = [TargetRefused("422: no such parameter")]
    loop = Loop(topics, rule(), tmp_path)
    loop.until(lambda: bool(topics.said()))
    assert loop.kinds() == ["failed"]
    assert "422: no such parameter" in topics.said()[0]["comment"]


def test_no_more_runs_than_running_max(target, topics, tmp_path):
    """Of many approved requests, `running_max` run at once; the next starts when one ends."""
    for i in range(9):
        topics.request(f"retrain-{i}")
    loop = Loop(topics, rule(running_max=4), tmp_path)
    loop.until(lambda: len(target.launched) == 4)
    for _ in range(20):
        loop.launcher.turn()
    assert len(target.launched) == 4
    loop.decide(target.launched[0], "trained")
    loop.until(lambda: len(target.launched) == 5)


def test_a_storm_of_requests_is_launched_in_its_order(target, topics, tmp_path):
    """16,000 approved requests: `running_max` run, in the order in which they were made, and waiting costs little."""
    names = [f"retrain-{i:05d}" for i in range(16_000)]
    for name in names:
        topics.request(name, f"bus-{name}")
    loop = Loop(topics, rule(running_max=500, poll_s=3600), tmp_path)
    loop.until(lambda: len(target.launched) == 500 and loop.kinds() == ["started"] * 500)
    assert sorted(target.launched) == names[:500]
    began_s = time.process_time()
    for _ in range(20):
        loop.launcher.turn()
    assert (time.process_time() - began_s) / 20 < 0.2, "seconds of a turn; there are five in a second"
    for name in names[:100]:
        loop.decide(name, "trained")
    loop.until(lambda: len(target.launched) == 600)
    assert sorted(target.launched) == names[:600]


def test_runs_of_another_target_are_left_alone(target, topics, tmp_path):
    """A run that another target has started is neither followed nor cancelled after a change of the settings."""
    topics.request(ID)
    started = {"kind": "started", "request_id": ID, "at": "2026-03-01T00:00:00Z", "actor": "x", "run": "airflow:a/b"}
    topics.append("driftline.control", msgspec.json.encode(started))
    target.down = [TargetDown("asked")]
    loop = Loop(topics, rule(poll_s=0.05), tmp_path)
    for _ in range(20):
        loop.launcher.turn()
        loop.clock.advance(1)
    assert target.down
    assert target.launched == []


def test_a_better_challenger_is_promoted_where_no_person_must_review(target, tmp_path):
    """The rule promotes what is better by enough on enough rows, in the state `trained` alone."""
    review = ReviewSettings({"mae": "lower"}, 0.02, 500)
    numbers = {"champion": {"mae": 61.0}, "challenger": {"mae": 48.5, "holdout_rows": 800.0}, "model_version": "8"}
    for state, expected in (("trained", ["promote"]), ("awaiting_review", [])):
        some = Topics()
        some.request(ID)
        some.decide(ID, state, reason="trained", **numbers)
        loop = Loop(some, rule(review=review), tmp_path)
        for _ in range(5):
            loop.launcher.turn()
        assert loop.kinds() == expected


@pytest.mark.parametrize(
    ("champion", "challenger", "words"),
    [
        ({"mae": 10.0}, {"mae": 9.9, "holdout_rows": 800.0}, "not better"),
        ({"mae": 10.0}, {"mae": 5.0, "holdout_rows": 499.0}, "499 rows"),
        ({"mae": 10.0}, {"rmse": 5.0, "holdout_rows": 800.0}, "not reported mae"),
        ({"mae": 0.0}, {"mae": -1.0, "holdout_rows": 800.0}, "not better"),
        ({"mae": float("nan")}, {"mae": 1.0, "holdout_rows": 800.0}, "not better"),
    ],
)
def test_what_is_not_shown_to_be_better_waits_for_a_person(champion, challenger, words):
    """Too small a gain, too few rows and missing metrics are no reason to promote."""
    is_better, text = verdict(ReviewSettings({"mae": "lower"}, 0.02, 500), champion, challenger)
    assert not is_better
    assert words in text


@pytest.mark.parametrize(("evidence", "words"), [(None, "paired errors"), (19.0, "not certain"), (21.0, "evidence 21")])
def test_a_gain_must_be_certain_where_an_error_rate_is_set(evidence, words):
    """At 5 %, the paired errors of the trainer must give an evidence of 20."""
    of_challenger = {"mae": 5.0, "holdout_rows": 800.0} | ({} if evidence is None else {"evidence": evidence})
    is_better, text = verdict(ReviewSettings({"mae": "lower"}, error_rate=0.05), {"mae": 10.0}, of_challenger)
    assert is_better == (evidence == 21.0)
    assert words in text


WON = {"champion": {"shadow_error": 9.0}, "challenger": {"shadow_error": 5.0, "shadow_evidence": 41.0}}
LOST = {"champion": {"shadow_error": 5.0, "shadow_evidence": 41.0}, "challenger": {"shadow_error": 9.0}}


@pytest.mark.parametrize("better", [{"mae": "lower"}, {"shadow_error": "lower"}])
@pytest.mark.parametrize(("found", "promotions"), [(WON, 1), (LOST, 0)])
def test_a_comparison_in_shadow_serves_as_evidence(target, topics, tmp_path, better, found, promotions):
    """A trainer without paired errors waits for it; a challenger that loses is not promoted, whatever its metrics."""
    topics.request(ID)
    loop = Loop(topics, rule(review=ReviewSettings(better, error_rate=0.05)), tmp_path)
    metrics = {"champion": {"mae": 9.0}, "challenger": {"mae": 5.0, "holdout_rows": 800.0}}
    loop.decide(ID, "trained", reason="trained", model_version="8", **metrics)
    for _ in range(5):
        loop.launcher.turn()
    assert loop.kinds() == []
    loop.decide(ID, "trained", reason="compared", model_version="8", **found)
    for _ in range(5):
        loop.launcher.turn()
    assert loop.kinds() == ["promote"] * promotions
    assert all(one["comment"].endswith("evidence 41 in shadow") for one in topics.said())


def test_killed_anywhere_everything_is_launched_once(target, topics, tmp_path):
    """A launcher that dies at any of 200 points, between a call and its report too, launches nothing twice or never."""
    dice, names = random.Random(7), [f"retrain-{i:02d}" for i in range(40)]
    handles: dict[str, int] = {}

    def launch(request):
        handles[request.request_id] = handles.get(request.request_id, 0) + 1
        from streamer.launch.base import Run

        return Run(request.request_id)

    target.launch = launch
    for name in names:
        topics.request(name)
    for _ in range(200):
        loop = Loop(topics, rule(running_max=5, poll_s=0.05), tmp_path)
        for _ in range(dice.randrange(4)):
            loop.launcher.turn()
        loop.launcher.calls.close(wait=dice.random() < 0.5)  # dies: what the calls gave is lost
        for name in dice.sample(sorted(handles), min(len(handles), 2)):
            if f'"{name}"'.encode() in b"".join(topics.values.get("driftline.control", [])) and dice.random() < 0.2:
                topics.decide(name, "trained")
    loop = Loop(topics, rule(running_max=99), tmp_path)
    loop.until(lambda: len({one["request_id"] for one in topics.said()}) == len(names), step_s=1)
    started = [one["request_id"] for one in topics.said() if one["kind"] == "started"]
    assert sorted(started) == sorted(set(started)) == names
    assert max(handles.values()) > 1  # the target saw repeats, all under one id


def test_metrics_show_runs_and_errors_of_the_target(target, topics, tmp_path):
    """Runs by state with the age of the oldest, those that are overdue, and what became of calls."""
    metrics = Metrics(table=LAUNCH_TABLE)

    def shown(name):
        loop.launcher.show(metrics)
        rows = [line.rsplit(" ", 1) for line in metrics.expose().decode().splitlines() if line.startswith(name)]
        return {series.partition('"')[2].partition('"')[0]: float(value) for series, value in rows}

    topics.request(ID)
    topics.request("retrain-bus-2-aa", "bus-2")
    target.down = [TargetDown("away") for _ in range(100)]
    loop = Loop(topics, rule(timeout_s=4_000, poll_s=3_600, running_max=1), tmp_path)
    loop.until(lambda: loop.launcher.counts["retried"] >= 3, step_s=1.0)
    assert shown("driftline_runs{") == {"waiting": 2, "running": 0}
    assert shown("driftline_runs_overdue") == {"waiting": 0, "running": 0}
    loop.until(lambda: loop.clock.elapsed_s > 650, step_s=5.0)
    assert shown("driftline_runs_overdue") == {"waiting": 2, "running": 0}
    assert shown("driftline_run_age_seconds")["waiting"] >= 650
    target.down = []
    loop.until(lambda: loop.kinds() == ["started"], step_s=5.0)
    loop.launcher.turn()
    assert shown("driftline_runs{") == {"waiting": 1, "running": 1}
    assert shown("driftline_runs_overdue") == {"waiting": 0, "running": 0}, "the other waits for room"
    loop.clock.advance(2_100)
    assert shown("driftline_runs_overdue") == {"waiting": 0, "running": 1}
    assert shown("driftline_run_age_seconds")["running"] >= 2_100
    assert shown("driftline_launch_total")["launched"] == 1
    assert shown("driftline_launch_total")["retried"] == loop.launcher.counts["retried"]


def test_a_launcher_that_is_replaced_launches_nothing(target, topics, tmp_path):
    """Before anything is launched, the log must accept its records; where a later one has taken over, it does not."""
    topics.request(ID)
    loop = Loop(topics, rule(), tmp_path)
    checks = []

    def fenced(reports):
        checks.append(reports)
        raise BrokerError("a later process has this transactional id")

    loop.launcher._report = fenced
    with pytest.raises(BrokerError):
        loop.launcher.turn()
    assert (checks, target.launched) == ([[]], [])
