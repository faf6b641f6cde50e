"""Pictures: what a reader would take from them is what the numbers say."""

import json
import re
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.messages.distribution import Distribution
from streamer.page import charts
from streamer.page.report import heat_map

EXPECTED = Path(__file__).parents[2] / "golden" / "expected"
HOSTILE = "<script>alert(1)</script>\"'&"


def shares(n):
    return st.lists(st.floats(0, 1), min_size=n, max_size=n).map(lambda x: tuple(v / (sum(x) or 1.0) for v in x))


@st.composite
def distributions(draw):
    edges = sorted(set(draw(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=25))))
    if len(edges) < 2:
        edges = [edges[0], edges[0] + 1.0]
    n = len(edges) - 1
    return Distribution(draw(shares(n)), draw(shares(n)), 100, 200, tuple(edges))


def elements(svg, tag):
    return [one for one in ElementTree.fromstring(svg).iter() if one.tag == tag]  # noqa: S314 -- our own


def heights(path):
    """The heights of a step path, from its base."""
    ys = [float(y) for y in re.findall(r"V(-?[\d.]+)", path)]
    base = float(re.match(r"M-?[\d.]+ (-?[\d.]+)", path)[1])
    return [base - y for y in ys[:-1]]


def test_the_height_of_a_cell_is_its_density():
    """A cell of double width with double share is as high as the others."""
    of = Distribution((0.25, 0.25, 0.5), (0.5, 0.5, 0.0), 10, 10, (0.0, 1.0, 2.0, 4.0))
    was, now = (
        one.get("d") for one in elements(charts.histogram(of, 1.0, 1.0, "x"), "path") if "line" not in one.get("class")
    )
    assert heights(was) == pytest.approx([heights(was)[0]] * 3, abs=0.2)
    assert heights(now)[:2] == pytest.approx([2 * heights(was)[0]] * 2, abs=0.3)
    assert heights(now)[2] == 0


def test_the_gap_is_the_greatest_difference_of_the_shares_up_to_an_edge():
    """Said in words, and drawn where it is."""
    of = Distribution((0.5, 0.3, 0.2), (0.1, 0.3, 0.6), 10, 10, (0.0, 1.0, 2.0, 3.0))
    svg = charts.shares_up_to(of, "x")
    (gap,) = [one for one in elements(svg, "line") if one.get("class") == "c-gap"]
    assert "greatest gap 0.40" in svg
    assert float(gap.get("y2")) - float(gap.get("y1")) == pytest.approx(0.4 * (196 - 26 - 28), abs=0.2)


@given(distributions(), st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_every_picture_of_numbers_is_sound_and_stays_in_its_frame(of, before, after):
    """Any edges, any locations: well-formed, finite, and no data beyond the axis."""
    for svg in (charts.histogram(of, before, after, HOSTILE), charts.shares_up_to(of, HOSTILE), charts.small(of)):
        assert "nan" not in svg
        assert "inf" not in svg
        xs = [float(x) for one in elements(svg, "path") for x in re.findall(r"[MHL](-?[\d.]+)", one.get("d"))]
        assert all(-0.1 <= x <= charts.WIDTH for x in xs)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_round_and_within(low, span):
    """Between two and nine of them, evenly spaced."""
    found = charts.ticks(low, low + span)
    if low + span == low:
        return
    assert all(low - span * 1e-6 <= value <= low + span for value in found)
    assert len(found) <= 2 * charts.TICKS + 1
    if len(found) > 2:
        assert np.allclose(np.diff(found), found[1] - found[0], rtol=1e-3)


def test_names_are_text_and_nothing_else():
    """A category or column may hold markup; it is escaped."""
    of = Distribution((0.5, 0.5), (0.9, 0.1), 10, 10, categories=(HOSTILE, "b"))
    for svg in (charts.paired_bars(of, HOSTILE), charts.small(of)):
        assert "<script" not in svg
        ElementTree.fromstring(svg)  # noqa: S314 -- our own


def test_one_colour_of_the_map_is_one_path():
    """Cells stand row by row."""
    (a, b) = elements(heat_map(["quiet", "alert", "quiet"], across=2), "path")
    assert (a.get("class"), a.get("d")) == ("h-quiet", "M0 0h8v8h-8zM0 10h8v8h-8z")
    assert (b.get("class"), b.get("d")) == ("h-alert", "M10 0h8v8h-8z")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=900), st.booleans(), st.integers(0, 50))
def test_a_band_has_a_cell_for_each_model(places, phone, links_max):
    """Links and stretches together stand for each model once, at its place, in the colour of its state."""
    states = ("person", "fault", "incident", "held", "alert", "quiet")
    band = charts.heat_band([(f"bus-{i}", s) for i, s in enumerate(places)], states, phone, "/model?name=", links_max)
    small = len(places) <= charts.SMALL_BAND
    across, pitch, gap = {
        (True, True): charts.PHONE_SMALL, (True, False): charts.PHONE, (False, True): charts.WIDE_SMALL,
        (False, False): charts.WIDE,
    }[phone, small]  # fmt: skip
    found, links = {}, elements(band, "a")
    in_links = [cell for link in links for cell in link.iter("path")]
    for path in [one for one in elements(band, "path") if one.get("stroke")]:  # later ones stand over earlier ones
        state, x, y = path.get("stroke").partition("-")[2].rstrip(")"), 0.0, 0.0
        for kind, left, top, width in re.findall(r"([Mm])(-?[\d.]+) (-?[\d.]+)h(\d+)", path.get("d")):
            x, y = (x + float(left), y + float(top)) if kind == "m" else (float(left), float(top))
            row, first = int((y - (pitch - gap) / 2) / pitch), int(x) // pitch
            assert (x % pitch, (y - (pitch - gap) / 2) % pitch) == (0, 0)
            for i in range((int(width) + gap) // pitch):
                found[row * across + first + i] = state
            x += float(width)
    for link, cell in zip(links, in_links, strict=True):
        place = int(link.get("href").partition("bus-")[2])
        left, top = map(int, re.match(r"M(-?\d+) (-?\d+)h", cell.get("d")).groups())
        assert ((top + 1) // pitch, (left + 1) // pitch) == divmod(place, across)
        found[place] = cell.get("class").removeprefix("h-")
    assert [found[i] for i in range(len(places))] == [states[s] for s in places]
    assert len(found) == len(places)


def test_half_of_a_large_fleet_at_random_is_a_page_of_its_size():
    """The heat map of 16,000 models, every other one with an alert, takes at most 130 KB in both widths."""
    random = Random(1)
    models = [(f"m{i}", random.choice((4, 5))) for i in range(16_000)]
    states = ("person", "fault", "incident", "held", "alert", "quiet")
    sizes = [len(charts.heat_band(models, states, phone)) for phone in (False, True)]
    assert sum(sizes) <= 130_000


def shift_of(of, column="headway_s", effect=0.5):
    """A shift as it is in a record."""
    at = {"partition": 0, "offset": 1, "event_time": "2026-03-01T00:00:00Z", "topic": "t"}
    about = {"alert_id": "a", "column": column, "detector": "ks", "effect": effect, "effect_unit": "ks_distance"}
    return about | {"before": 1.0, "after": 2.0, "onset": at, "distribution": of and msgspec.to_builtins(of)}


def drawn(*shifts, of="columns"):
    return charts.picture_of(json.dumps({of: shifts}).encode())


def test_the_picture_of_a_record_is_that_of_its_strongest_shift_with_a_distribution():
    """Of an incident and of a request alike; a record without distributions has none."""
    of = Distribution((0.5, 0.5), (0.9, 0.1), 10, 10, (0.0, 1.0, 2.0))
    weak, strong, bare = shift_of(of, "weak", 0.2), shift_of(of, "strong", 0.6), shift_of(None, "bare", 0.9)
    for name in ("columns", "evidence"):
        (svg,) = [one for one in [drawn(bare, weak, strong, of=name)] if one]
        root = ElementTree.fromstring(svg)  # noqa: S314 -- our own
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("aria-label") == "strong before and after: from 1 to 2"
        used = {kind for one in root.iter() for kind in one.get("class", "").split()} - {"chart"}
        assert used <= set(re.findall(r"[.]([\w-]+)", root[0].text)), "each class has its colours"
    assert drawn(bare) == drawn() == charts.picture_of(b"{") == charts.picture_of(b'{"open": 7}') == ""


def test_no_name_breaks_a_picture_that_stands_alone():
    """Markup and characters that no XML may hold are harmless; where names are long, text gives way."""
    names = (*(f"{i}{HOSTILE}\x00\ufffe" for i in range(20)), "(rest)")
    many = Distribution((1 / 21,) * 21, (1 / 21,) * 21, 10, 10, categories=names)
    few = Distribution((0.5, 0.5), (0.9, 0.1), 10, 10, categories=names[:2])
    numbers = Distribution((0.5, 0.5), (0.9, 0.1), 10, 10, (0.0, 1.0, 2.0))
    for of, column in ((many, "x"), (few, HOSTILE * 9 + "\x00"), (numbers, HOSTILE * 2_000)):
        svg = drawn(shift_of(of, column))
        assert 0 < len(svg.encode()) <= charts.ALONE_BYTES_MAX
        assert "<script" not in svg
        has_text = any("text" in one.tag for one in ElementTree.fromstring(svg).iter())  # noqa: S314 -- our own
        assert has_text == (of is few)


@pytest.mark.parametrize(
    "of",
    [
        Distribution((1.0,), (1.0,), 1, 1),
        Distribution((1.0,), (0.5, 0.5), 1, 1, (0.0, 1.0)),
        Distribution((0.5, 0.5), (0.5, 0.5), 1, 1, (-1.7e308, 0.0, 1.7e308)),
        Distribution((1.0,), (1.0,), 1, 1, (), ("a", "b")),
    ],
)
def test_what_can_not_be_drawn_has_no_picture(of):
    """A record of somebody else's making stops no notification."""
    assert drawn(shift_of(of)) == ""


@given(distributions(), st.floats(-1e12, 1e12))
def test_every_distribution_has_a_picture_within_its_size(of, before):
    """Any edges and locations."""
    shift = shift_of(of) | {"before": before}
    svg = drawn(shift)
    assert 0 < len(svg.encode()) <= charts.ALONE_BYTES_MAX
    ElementTree.fromstring(svg)  # noqa: S314 -- our own


def test_real_records_have_pictures():
    """Of recorded stories: a record of an incident or request has a picture exactly if it has a distribution."""
    lines = [line for path in sorted(EXPECTED.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    records = [line for line in lines if b'"type": "incident"' in line or b'"type": "request"' in line]
    has = [b'"edges": [' in line for line in records]
    assert any(has)
    assert [charts.picture_of(line) != "" for line in records] == has
