"""The sentence of an alert."""

from dataclasses import replace

import pytest

from retrain.messages.alert import AlertKind
from retrain.messages.summary import sentence_of
from streamer.testing.alerts import firing

ALERT = firing("1h", before=0.02, after=0.25, column="dwell_s")


@pytest.mark.parametrize("kind", AlertKind)
def test_every_kind_has_a_sentence(kind):
    """It begins with the column and ends with a full stop."""
    found = sentence_of(replace(ALERT, kind=kind))
    assert found.startswith("dwell_s ")
    assert found.endswith(".")
    assert "{" not in found


def test_sentence_names_what_the_alert_is_about():
    """The segment, the two columns of `joint`, and the change as measured, with long names shortened."""
    assert sentence_of(replace(ALERT, kind=AlertKind.MISSING)) == (
        "dwell_s is missing in 25 % of the values, 2 % before."
    )
    assert sentence_of(replace(ALERT, segment="depot=north"), "moved by 3") == "dwell_s of depot=north moved by 3."
    joint = replace(ALERT, column="joint", columns=("a", "b"))
    assert sentence_of(joint) == "joint of a and b changed: 0.02 before, 0.25 after."
    assert len(sentence_of(replace(ALERT, column="c" * 5000, category="d" * 5000))) < 500
