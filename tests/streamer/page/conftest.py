"""The small fleet, and its pages in a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from page_kit import Served, published, serving, small_fleet
from service_kit import PlayedService


@pytest.fixture(scope="module")
def service() -> PlayedService:
    return small_fleet()


@pytest.fixture(scope="module")
def page(service: PlayedService) -> Iterator[Served]:
    with serving(published(service)) as served:
        yield served
