"""A target that is played, and the topics with one request for it."""

import pytest
from launch_kit import PlayedTarget, Topics, played


@pytest.fixture
def target(monkeypatch) -> PlayedTarget:
    return played(monkeypatch)


@pytest.fixture
def topics() -> Topics:
    found = Topics()
    found.request("retrain-bus-1-aa")
    return found
