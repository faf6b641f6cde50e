"""The registry of a real MLflow server follows a request from training to promotion."""

from __future__ import annotations

import pytest
from launch_kit import Loop, Topics, rule
from mlflow_kit import mlflow

from streamer.launch.settings import RegistrySection
from streamer.launch.targets.mlflow import MlflowSettings

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(900)]

ID, MODEL = "retrain-bus-1-aa", "bus-1"


def test_aliases_follow_a_request(tmp_path):
    """A version that comes late is waited for; then `challenger` and `champion` name it, and its tag the request."""
    with mlflow(tmp_path) as registry:
        version = {"name": MODEL, "source": "s3://models/bus-1"}
        registry.call("POST", "registered-models/create", {"name": MODEL})
        assert registry.call("POST", "model-versions/create", version)["model_version"]["version"] == "1"
        registry.call("POST", "registered-models/alias", {"name": MODEL, "alias": "champion", "version": "1"})
        topics = Topics()
        topics.request(ID)
        topics.decide(ID, "trained", model_version="2")
        loop = Loop(topics, rule(registry=RegistrySection(mlflow=MlflowSettings(registry.url))), tmp_path)
        loop.until(lambda: loop.launcher.counts["retried"] > 0)
        assert registry.version_of(MODEL, "challenger") is None
        registry.call("POST", "model-versions/create", version)
        loop.until(lambda: registry.version_of(MODEL, "challenger") == "2", step_s=1.0)
        assert registry.version_of(MODEL, "champion") == "1"
        assert registry.tags_of(MODEL, "2") == {"driftline.request_id": ID}
        loop.decide(ID, "watching", reason="promoted", model_version="2")
        loop.until(lambda: registry.version_of(MODEL, "champion") == "2", step_s=1.0)
        again = Loop(topics, rule(registry=RegistrySection(mlflow=MlflowSettings(registry.url))), tmp_path)
        again.until(lambda: again.launcher.counts["champion"] == 1)
        assert [registry.version_of(MODEL, alias) for alias in ("challenger", "champion")] == ["2", "2"]
