"""The examples of launch targets: their configurations are valid, and their parts work with what the launcher sends."""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch_kit import Loop, RunState, RunStatus, Topics, asked, played, rule, tools
from ruamel.yaml import YAML
from training_kit import TOPICS, envelopes, label, prediction, request, window

from streamer.config import load_config
from streamer.launch.callbacks import Callbacks
from streamer.launch.settings import CallbackSettings, chosen
from streamer.launch.targets import TARGETS
from streamer.launch.targets.kubernetes import manifest, with_request
from streamer.launch.targets.webhook import signed

EXAMPLES = Path("examples/launch")


@pytest.mark.parametrize("folder", sorted(one.name for one in EXAMPLES.iterdir() if one.is_dir()))
def test_the_configuration_is_valid(folder):
    """The configuration of each folder names the target of the folder."""
    config = load_config(str(EXAMPLES / folder / "driftline.yaml"))
    assert [chosen(rule.train)[0] for rule in config.launch.values()] == [folder]
    assert folder in TARGETS


def test_the_trainer_of_the_command_trains(tmp_path):
    """The script learns the offset of the labels, and reports both models on the hold-out."""
    events = [prediction(i) for i in range(100)] + [label(i, 10.0 * i + 3) for i in range(100)]
    events.sort(key=lambda event: event["event_time"])
    recording = envelopes(tmp_path / "all.json", "rides.predictions", events)
    (tmp_path / "driftline.yaml").write_text(TOPICS)
    (tmp_path / "request.json").write_text(json.dumps(request(window(0, 130))))
    environment = {
        "DRIFTLINE_REQUEST": str(tmp_path / "request.json"), "DRIFTLINE_RESULT": str(tmp_path / "result.json"),
        "DRIFTLINE_CONFIG": str(tmp_path / "driftline.yaml"), "DRIFTLINE_RECORDINGS": recording,
    }  # fmt: skip
    command = [sys.executable, str(EXAMPLES / "command" / "train.py")]
    subprocess.run(command, check=True, env={**os.environ, **environment}, timeout=300)
    report = json.loads((tmp_path / "result.json").read_text())
    assert (report["kind"], report["model_version"]) == ("trained", "offset+3.00")
    assert (report["champion"], report["challenger"]["mae"]) == ({"mae": 3.0}, 0.0)


def test_the_receiver_believes_what_the_launcher_signs():
    """The verification of the example accepts our signature, and no other."""
    spec = importlib.util.spec_from_file_location("receiver", EXAMPLES / "webhook" / "receiver.py")
    receiver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(receiver)
    receiver.KEY = b"0123456789abcdef"
    at_s = int(receiver.time.time())
    headers = signed("id", at_s, b"{}", ["whsec_MDEyMzQ1Njc4OWFiY2RlZg=="])
    assert receiver.is_signed(headers, b"{}")
    assert not receiver.is_signed(headers, b"{} ")
    assert not receiver.is_signed(signed("id", at_s - 301, b"{}", ["whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]), b"{}")


def test_the_trainer_of_the_webhook_reports_by_a_callback(tmp_path, monkeypatch):
    """The launcher believes the example, and its report is in the log."""
    played(monkeypatch).status = RunStatus(RunState.UNKNOWN)
    topics = Topics()
    topics.request("retrain-1")
    loop = Loop(topics, rule(), tmp_path)
    loop.clock.wall_s = time.time()
    loop.until(lambda: loop.kinds() == ["started"])
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
    given = tools(tmp_path, CALLBACKS=secret)
    callbacks = Callbacks(CallbackSettings("CALLBACKS", port=0), loop.launcher, given, loop.clock)
    try:
        script = [sys.executable, str(EXAMPLES / "webhook" / "report.py"), "retrain-1", "8", "61.0", "48.5"]
        address = {"CALLBACK_URL": callbacks.url, "CALLBACK_SECRET": secret}
        sending = subprocess.Popen(script, stdout=subprocess.PIPE, env={**os.environ, **address})
        while sending.poll() is None:
            callbacks.turn()
            time.sleep(0.01)
    finally:
        callbacks.stop()
    assert sending.communicate()[0] == b"reported\n"
    assert (topics.said()[1]["challenger"], topics.said()[1]["model_version"]) == ({"mae": 48.5}, "8")


def test_the_templates_are_read():
    """The template of the Job gets its request; the other files are valid for their readers."""
    job = with_request(manifest(str(EXAMPLES / "kubernetes" / "job.yaml")), "retrain-1", asked().raw.decode())
    assert {one["name"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]} == {
        "DRIFTLINE_CONFIG", "DRIFTLINE_REQUEST"
    }  # fmt: skip
    template = YAML(typ="safe").load(Path(EXAMPLES / "argo" / "template.yaml"))
    assert template["spec"]["arguments"]["parameters"] == [{"name": "request"}]
    workflow = YAML(typ="safe").load(Path(EXAMPLES / "github" / "retrain.yml"))
    assert workflow["run-name"] == "${{ github.event.client_payload.request.request_id }}"
    ast.parse((EXAMPLES / "airflow" / "retrain_bus.py").read_text())
