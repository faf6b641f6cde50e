"""Faults around a run: each has a reason that docs/retraining.md names, launches nothing twice, and loses nothing."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest
from http_kit import serving
from launch_kit import (
    AT,
    Loop,
    PlayedTarget,
    RunState,
    RunStatus,
    TargetDown,
    TargetRefused,
    Topics,
    asked,
    rule,
    tools,
)  # fmt: skip

from streamer.errors import UsageError
from streamer.launch.base import Tools
from streamer.launch.http import Http
from streamer.launch.ledger import checked_report
from streamer.launch.settings import LaunchRule, RegistrySection, ReviewSettings, TrainSection, check_launch
from streamer.launch.targets.airflow import Airflow, AirflowSettings
from streamer.launch.targets.mlflow import MlflowSettings
from streamer.launch.targets.prefect import Prefect, PrefectSettings
from streamer.launch.targets.webhook import Webhook, WebhookSettings

ID = "retrain-bus-1-aa"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
PAGE = (Path(__file__).parents[3] / "docs" / "retraining.md").read_text()


def documented(words: str, reason: str) -> None:
    """These words are a part of the reason, and the table of faults names them."""
    assert words in reason
    assert f"`{words}`" in PAGE


def turned(loop: Loop) -> None:
    """Some turns, and no call under way after them."""
    for _ in range(3):
        loop.launcher.turn()
        loop.until(lambda: not any(work.busy for work in loop.launcher._work.values()))


def test_a_target_that_does_not_answer_is_slow(tmp_path):
    """After the time limit of a call it is tried again, as the run may have started."""
    over = threading.Event()
    with serving(lambda _: (over.wait(30), None)[1]) as server:
        slow = Tools(Http(timeout_s=0.2), tmp_path, "", {"SECRET": SECRET})
        with pytest.raises(TargetDown) as found:
            Webhook(WebhookSettings(server.url, "SECRET"), slow).launch(asked())
        over.set()
    documented("Read timed out", str(found.value))


def test_a_slow_target_delays_its_own_runs_alone(monkeypatch, tmp_path):
    """While every call to one target hangs, another one's runs are launched."""
    over, slow, fast = threading.Event(), PlayedTarget(), PlayedTarget()
    monkeypatch.setattr(slow, "_fail", lambda: over.wait(60), raising=False)
    monkeypatch.setattr(
        "streamer.launch.launcher.target_class", lambda _: lambda settings, _: slow if settings == ["slow"] else fast
    )
    topics = Topics()
    for i in range(20):
        topics.request(f"retrain-slow-{i}", f"slow-{i}")
    topics.request("retrain-fast", "fast-1")
    rules = {f"{name}-*": LaunchRule(train=TrainSection(command=[name])) for name in ("slow", "fast")}
    loop = Loop(topics, rules, tmp_path)
    try:
        loop.until(lambda: fast.launched == ["retrain-fast"] and loop.kinds() == ["started"])
        assert slow.launched == []
    finally:
        over.set()


def test_a_look_that_is_refused_is_no_failure_of_the_run(target, topics, tmp_path):
    """The run may go on, so it is looked at again."""
    loop = Loop(topics, rule(poll_s=0.05), tmp_path)
    loop.until(lambda: loop.kinds() == ["started"])
    target.down = [TargetRefused("400: odd"), TargetRefused("400: odd")]
    loop.until(lambda: not target.down, step_s=1.0)
    target.status = RunStatus(RunState.FAILED, "exit code 3")
    loop.until(lambda: len(loop.kinds()) == 2, step_s=1.0)
    assert topics.said()[1]["comment"] == "exit code 3"


def test_a_run_that_can_not_be_cancelled_is_left(target, topics, tmp_path):
    """A refusal to cancel is one call and one line of the log, and nothing that is reported."""
    loop = Loop(topics, rule(poll_s=3600), tmp_path)
    loop.until(lambda: loop.kinds() == ["started"])
    turned(loop)  # a look is over
    target.down = [TargetRefused("405: no")] * 5
    loop.decide(ID, "rejected")
    loop.until(lambda: not loop.launcher.ledger.tasks, step_s=1.0)
    assert (len(target.down), loop.kinds()) == (4, ["started"])
    assert loop.launcher.counts["refused"] == 1


def test_a_run_that_never_ends_and_can_not_be_cancelled_has_failed(target, topics, tmp_path):
    """The time limit holds, whatever the target wants."""
    loop = Loop(topics, rule(poll_s=3600, timeout_s=100), tmp_path)
    loop.until(lambda: loop.kinds() == ["started"])
    turned(loop)  # a look is over
    loop.clock.advance(3700)
    target.down = [TargetRefused("405: no")] * 5
    loop.until(lambda: len(loop.kinds()) == 2)
    documented("the run took longer than timeout_s", topics.said()[1]["comment"])
    assert "it can't be cancelled: 405: no" in topics.said()[1]["comment"]


@pytest.mark.parametrize("problem", [KeyError("id"), AttributeError("no such thing"), ValueError("odd")])
def test_a_target_with_a_fault_ends_no_other_run(target, topics, tmp_path, problem):
    """Whatever a target raises is tried again, and the launcher goes on."""
    target.down = [problem]
    topics.request("retrain-bus-2-bb", "bus-2")
    loop = Loop(topics, rule(), tmp_path)
    loop.until(lambda: loop.kinds() == ["started", "started"], step_s=0.5)
    assert sorted(target.launched) == [ID, "retrain-bus-2-bb"]
    assert loop.launcher.counts["retried"] == 1


def test_a_page_of_a_proxy_is_no_answer(tmp_path):
    """A login page with status 200 neither starts a run nor ends one."""
    with serving(lambda _: (200, b"<html>please log in</html>")) as server:
        given = tools(tmp_path, TOKEN="t")
        for one in (
            Airflow(AirflowSettings(server.url, "d", token_env="TOKEN"), given),
            Prefect(PrefectSettings(server.url, "d"), given),
        ):
            with pytest.raises(TargetDown) as found:
                one.launch(asked())
            documented("is no JSON object", str(found.value))


def test_a_missing_secret_ends_the_start(tmp_path):
    """The name of the setting and of its variable are in the error; exit code 2 is that of `UsageError`."""
    given = {"bus-*": LaunchRule(train=TrainSection(webhook=WebhookSettings("http://x", "HOOK")))}
    with pytest.raises(UsageError) as found:
        check_launch(given, tools(tmp_path))
    documented("which must hold a secret, is not set", str(found.value))
    assert "launch.bus-*: webhook.secret_env: the variable HOOK" in str(found.value)
    check_launch(given, tools(tmp_path, HOOK=SECRET))


def trained(version: str, request_id: str = ID) -> bytes:
    about = {"kind": "trained", "request_id": request_id, "at": AT, "actor": "me", "model_version": version}
    return msgspec.json.encode({**about, "challenger": {"mae": 1.0}, "champion": {"mae": 2.0}})


@pytest.mark.parametrize(
    ("report", "words"),
    [(trained("7"), "serves already and has drifted"), (trained("8", "retrain-other"), "it is about retrain-other"),
     (b"{", "the report of the trainer is unusable")],
)  # fmt: skip
def test_a_report_that_can_not_count_is_a_failure(target, topics, tmp_path, report, words):
    """The version that drifted is no challenger; a report about another request, or no report, is none of this one."""
    target.status = RunStatus(RunState.SUCCEEDED, report=report)
    loop = Loop(topics, rule(poll_s=0.05), tmp_path)
    loop.until(lambda: len(loop.kinds()) == 2, step_s=0.1)
    assert loop.kinds() == ["started", "failed"]
    documented(words.replace("retrain-other", "ID"), topics.said()[1]["comment"].replace("retrain-other", "ID"))


def test_versions_without_names_may_be_reported(topics):
    """A model whose versions have no names has a challenger without one."""
    unnamed = msgspec.structs.replace(asked(), model_version="")
    assert checked_report(trained(""), unnamed, -1) == {"request_id": ID, "raw": trained("")}


def test_the_champion_is_no_challenger_however_it_is_reported(target, topics, tmp_path):
    """Where `driftline result` names the version that drifted, no rule promotes it and no alias moves."""
    numbers = {"champion": {"mae": 2.0}, "challenger": {"mae": 1.0}, "model_version": "7"}
    topics.decide(ID, "trained", reason="trained", **numbers)
    with serving(lambda _: (200, {})) as server:
        registry = RegistrySection(mlflow=MlflowSettings(server.url))
        loop = Loop(topics, rule(review=ReviewSettings({"mae": "lower"}), registry=registry), tmp_path)
        kept = loop.launcher._keep_reference = Mock()
        turned(loop)
    assert (loop.kinds(), server.sent, kept.mock_calls) == ([], [], [])


def test_every_fault_of_a_run_is_in_the_table():
    """The page names the reasons that other tests of this folder find."""
    for words in ("the run has vanished", "the target refuses the run", "the process ended without an exit code",
                  "Airflow has another run", "retention has deleted", "it is cancelled"):  # fmt: skip
        assert f"`{words}`" in PAGE, words
