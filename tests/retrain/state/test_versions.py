"""Which version of a model is the newest."""

from retrain.state.versions import OLDER_MAX, Order, Versions
from streamer.testing.alerts import moment


def test_the_version_seen_first_latest_is_the_newest():
    """Order is that of event time at first sight, not of arrival or of names."""
    versions = Versions("10", moment("2h"))
    assert versions.add("10", moment("9h")) is Order.SAME
    assert versions.add("9", moment("3h")) is Order.NEWER
    assert versions.add("8", moment("1h")) is Order.OLDER
    assert versions.add("10", moment("9h")) is Order.OLDER
    assert versions.newest == "9"


def test_a_first_name_supersedes_nothing():
    """A model whose events begin to name a version has not changed."""
    versions = Versions("", moment("1h"))
    assert versions.add("7", moment("2h")) is Order.SAME
    assert (versions.newest, versions.older) == ("7", [])


def test_superseded_versions_are_bounded():
    """The one superseded longest ago is forgotten first."""
    versions = Versions("0", moment("0s"))
    for i in range(1, 100):
        versions.add(str(i), moment(f"{i}s"))
    assert versions.older == [str(i) for i in range(99 - OLDER_MAX, 99)]
