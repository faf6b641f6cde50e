"""Pictures over time: times stand in their order, heights say the numbers, and any number gives a picture."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from streamer.page import lanes
from streamer.page.lanes import Axis, Item, Lane

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTILE = "<script>alert(1)</script>\"'&"
NUMBERS = st.floats(-1e300, 1e300)


def profile(day, middle=5.0, psi=0.1, chance=0.2, missing=0):
    return {
        "start": START + day * DAY, "end": START + (day + 1) * DAY, "p05": middle - 2, "p25": middle - 1, "p50": middle,
        "p75": middle + 1, "p95": middle + 2, "psi": psi, "psi_chance": chance, "count": 90, "missing": missing,
        "faults": 0,
    }  # fmt: skip


def elements(svg, tag):
    return [one for one in ElementTree.fromstring(svg).iter() if one.tag == tag]  # noqa: S314 -- our own


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=1, max_size=20))
def test_times_stand_in_their_order_within_the_picture(times):
    """Earlier is further left, all lies within the frame, and dates of the axis do not meet."""
    moments = sorted(times)
    axis = Axis(moments[0], moments[-1])
    places = [axis.x(one) for one in moments]
    assert places == sorted(places)
    assert lanes.LEFT <= places[0] <= places[-1] <= lanes.WIDTH - lanes.RIGHT
    svg = lanes.story([Lane("a", [Item("inc", one, None, "x") for one in moments])], moments[-1], "story")
    dates = [float(one.get("x")) for one in elements(svg, "text") if one.get("text-anchor") == "middle"]
    assert len(dates) <= lanes.TICKS_MAX + 1
    assert all(b - a > 50 for a, b in pairwise(dates))


def test_a_bar_ends_with_its_end_or_at_the_newest_record():
    """What goes on reaches to now, what has ended does not, and each states its dates on hover."""
    now = START + 10 * DAY
    ended, open_one = (
        Item("inc", START, START + 5 * DAY, HOSTILE),
        Item("req1", START, datetime.max.replace(tzinfo=UTC), "b"),
    )
    svg = lanes.story([Lane(HOSTILE, [ended]), Lane("b", [open_one])], now, HOSTILE)
    axis = Axis(START, now)
    first, second = (float(one.get("x")) + float(one.get("width")) for one in elements(svg, "rect"))
    assert abs(first - axis.x(START + 5 * DAY)) < 0.2
    assert abs(second - axis.x(now)) < 0.2
    assert [one.text for one in elements(svg, "title")] == [HOSTILE, "b"]
    assert elements(svg, "script") == []


@given(st.lists(st.tuples(NUMBERS, st.floats(0, 1e6), st.floats(0, 10), st.integers(0, 100)), min_size=1, max_size=30))
def test_any_interval_gives_a_picture(rows):
    """Huge, equal and single values have finite coordinates."""
    found = [profile(i, *row) for i, row in enumerate(rows)]
    for svg in (lanes.intervals(found, START, HOSTILE), lanes.story([], START + DAY, "x", [(HOSTILE, found)])):
        assert "nan" not in svg
        assert "inf" not in svg.replace("interval", "")
        assert elements(svg, "script") == []


def test_heights_say_the_psi():
    """A bar is as high as its PSI on one scale, and red exactly where chance does not explain it."""
    svg = lanes.intervals([profile(0, psi=0.1), profile(1, psi=0.4), profile(2, psi=0.8)], None, "a")
    bars = [one for one in elements(svg, "rect") if float(one.get("y")) < 290 and one.findall("title")]
    assert [round(float(one.get("height")) / 60 * 0.8, 2) for one in bars] == [0.1, 0.4, 0.8]
    assert [one.get("class") for one in bars] == ["c-bar", "c-barhi", "c-barhi"]
    assert "2026-01-02 00:00: PSI 0.4, by chance up to 0.2" in svg


def test_categories_have_no_percentiles():
    """Intervals of categories show PSI and missing values alone."""
    found = [profile(i) | dict.fromkeys(("p05", "p25", "p50", "p75", "p95")) for i in range(3)]
    svg = lanes.intervals(found, None, "a")
    assert "c-band1" not in svg
    assert len(re.findall("PSI 0.1", svg)) == 3


def test_a_year_of_days_is_a_small_picture():
    """365 intervals take less than 120 KB."""
    assert len(lanes.intervals([profile(i, psi=i / 100) for i in range(365)], START, "a")) < 120_000
