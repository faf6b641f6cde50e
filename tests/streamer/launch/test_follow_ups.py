"""After the training: aliases in the registry and the release, each from its decision, and harmless when repeated."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from http_kit import serving
from launch_kit import Loop, Topics, rule

from streamer.launch.base import TargetDown, TargetRefused
from streamer.launch.http import traceparent_of
from streamer.launch.settings import LaunchRule, RegistrySection, ReleaseSection, TrainSection
from streamer.launch.targets.mlflow import MlflowSettings
from streamer.launch.targets.webhook import WebhookSettings, why_unsigned

ID = "retrain-bus-1-aa"
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


class FakeMlflow:
    """The registry of MLflow: versions that exist, aliases, and tags."""

    def __init__(self) -> None:
        self.versions, self.aliases, self.tags = {"7", "8"}, {"champion": "7"}, {}

    def __call__(self, sent):
        path = urlsplit(sent.path)
        if sent.method == "GET":
            alias = parse_qs(path.query)["alias"][0]
            if alias not in self.aliases:
                return 400, {"error_code": "INVALID_PARAMETER_VALUE"}
            return 200, {"model_version": {"name": "bus-1", "version": self.aliases[alias]}}
        if sent.json["version"] not in self.versions:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        if path.path.endswith("set-tag"):
            self.tags[sent.json["version"]] = (sent.json["key"], sent.json["value"])
        else:
            self.aliases[sent.json["alias"]] = sent.json["version"]
        return 200, {}


@pytest.fixture
def registry():
    fake = FakeMlflow()
    with serving(fake) as server:
        yield fake, server, rule(registry=RegistrySection(mlflow=MlflowSettings(server.url)))


def turned(loop: Loop, times: int = 5) -> None:
    loop.until(lambda: not any(work.busy for work in loop.launcher._work.values()))
    for _ in range(times):
        loop.launcher.turn()


@pytest.mark.parametrize("state", ["trained", "awaiting_review"])
def test_a_challenger_gets_its_alias_and_tag(registry, tmp_path, state):
    """What is trained becomes `challenger`, with the id of its request; the champion stays."""
    fake, _, settings = registry
    topics = Topics()
    topics.request(ID)
    topics.decide(ID, state, model_version="8")
    loop = Loop(topics, settings, tmp_path)
    loop.until(lambda: fake.aliases.get("challenger") == "8")
    assert fake.aliases == {"champion": "7", "challenger": "8"}
    assert fake.tags == {"8": ("driftline.request_id", ID)}


def test_a_promotion_moves_the_champion_once(registry, tmp_path):
    """A promoted version becomes `champion`; a new process reads the alias and changes nothing."""
    fake, server, settings = registry
    topics = Topics()
    topics.request(ID)
    topics.decide(ID, "watching", reason="promoted", model_version="8")
    for _ in range(2):
        loop = Loop(topics, settings, tmp_path)
        loop.until(lambda loop=loop: loop.launcher.counts["champion"] == 1)
        turned(loop)
    assert fake.aliases["champion"] == "8"
    assert len(server.of("POST")) == 2  # the tag and the alias
    assert len(server.of("GET")) == 2


def test_a_version_that_is_not_there_yet_is_tried_again(registry, tmp_path):
    """A version that is reported before it is registered gets its alias later."""
    fake, _, settings = registry
    fake.versions = {"7"}
    topics = Topics()
    topics.request(ID)
    topics.decide(ID, "trained", model_version="8")
    loop = Loop(topics, settings, tmp_path)
    loop.until(lambda: loop.launcher.counts["retried"] > 0)
    fake.versions.add("8")
    loop.until(lambda: fake.aliases.get("challenger") == "8", step_s=1)


def test_a_promotion_is_released_under_an_id_of_its_own(tmp_path):
    """The release target gets a signed `model.released`; after a restart again, under the same id; not before."""
    with serving(lambda _: (202, {})) as server:
        release = ReleaseSection(webhook=WebhookSettings(f"{server.url}/deploy", "SECRET"))
        topics = Topics()
        topics.request(ID)
        topics.decide(ID, "trained", model_version="8")
        waiting = Loop(topics, rule(release=release), tmp_path, SECRET=SECRET)
        turned(waiting)
        assert server.sent == []
        topics.decide(ID, "watching", reason="promoted", model_version="8")
        for _ in range(2):
            loop = Loop(topics, rule(release=release), tmp_path, SECRET=SECRET)
            loop.until(lambda loop=loop: loop.launcher.counts["release"] == 1)
            turned(loop)
    assert len(server.sent) == 2
    assert {sent.headers["webhook-id"] for sent in server.sent} == {f"{ID}-release"}
    first = server.sent[0]
    assert first.json == {
        "type": "model.released",
        "data": {"request_id": ID, "model_id": "bus-1", "model_version": "8"},
    }
    assert why_unsigned(first.headers, first.body, [SECRET], loop.clock.now_s()) is None


def test_run_and_release_are_of_one_trace(tmp_path):
    """The receiver of a webhook gets the `traceparent` of the request, with the run and with the release."""
    with serving(lambda _: (202, {})) as server:
        settings = WebhookSettings(server.url, "SECRET")
        both = LaunchRule(train=TrainSection(webhook=settings), release=ReleaseSection(webhook=settings))
        topics = Topics()
        topics.request(ID)
        topics.decide(ID, "approved")
        loop = Loop(topics, both, tmp_path, SECRET=SECRET)
        loop.until(lambda: loop.kinds() == ["started"])
        loop.decide(ID, "watching", reason="promoted", model_version="8")
        loop.until(lambda: loop.launcher.counts["release"] == 1, step_s=1.0)
    assert [sent.headers["webhook-id"] for sent in server.sent] == [ID, f"{ID}-release"]
    assert {sent.headers["traceparent"] for sent in server.sent} == {traceparent_of(ID)}


def test_a_refused_release_fails_no_request(tmp_path):
    """What a release target refuses is logged and not tried again; the request stays promoted."""
    with serving(lambda _: (422, {})) as server:
        release = ReleaseSection(webhook=WebhookSettings(server.url, "SECRET"))
        topics = Topics()
        topics.request(ID)
        topics.decide(ID, "watching", reason="promoted", model_version="8")
        loop = Loop(topics, rule(release=release), tmp_path, SECRET=SECRET)
        loop.until(lambda: loop.launcher.counts["refused"] == 1)
        turned(loop)
    assert len(server.sent) == 1
    assert topics.said() == []


def test_a_reference_is_kept_before_the_registry_and_the_release(registry, tmp_path):
    """It must be there when the new version serves. One that can't be made holds nothing up, and is logged."""
    fake, _, settings = registry
    for refusal in (None, TargetRefused("retention has deleted the window")):
        fake.aliases, topics, kept = {"champion": "7"}, Topics(), []
        topics.request(ID)
        topics.decide(ID, "watching", reason="promoted", model_version="8")
        loop = Loop(topics, settings, tmp_path)

        def keep(request, version, kept=kept, refusal=refusal):
            kept.append((request.request_id, version, dict(fake.aliases)))
            if len(kept) == 1:
                raise TargetDown("the broker is away")
            if refusal is not None:
                raise refusal

        loop.launcher._keep_reference = keep
        loop.until(lambda: fake.aliases["champion"] == "8", step_s=1.0)
        turned(loop)
        assert kept == 2 * [(ID, "8", {"champion": "7"})]
        assert loop.launcher.counts["reference"] == (refusal is None)
