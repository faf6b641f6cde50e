"""A parent of workers for each test."""

from __future__ import annotations

import pytest
from supervision_kit import Parent


@pytest.fixture
def parent(tmp_path):
    return Parent(tmp_path)
