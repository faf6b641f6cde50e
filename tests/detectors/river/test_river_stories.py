"""River's own drift tests through the adapter, and what the page says of them."""

import pytest

from benchmarks.detection import river_stories


@pytest.fixture(scope="module")
def compared():
    return list(river_stories.compared())


def test_the_adapter_alarms_where_river_does(compared):
    """With the same settings, at the same values of each of river's test streams, and at least once."""
    assert {story.name for story, _, _ in compared} >= {
        "adwin",
        "kswin",
        "page_hinkley",
        "ddm",
        "eddm",
        "hddm_a",
        "hddm_w",
    }
    for story, theirs, ours in compared:
        assert ours == theirs != [], story


def test_the_first_alarm_is_soon_after_the_change(compared):
    """The streams are those that change at value 1,000, or at 500, 1,000 and 1,500; `eddm` alarms before as well."""
    for story, _, ours in compared:
        changes = (500, 1000, 1500) if "turn" in story.stream else (1000,)
        assert any(0 < at - change < 100 for at in ours for change in changes), story
