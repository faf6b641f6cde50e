"""`driftline plot`: one file that any program can draw, with the numbers of the records."""

from __future__ import annotations

import re
import struct
import sys
import zlib
from datetime import timedelta
from functools import partial
from xml.etree import ElementTree

import msgspec
import pytest
import resvg_py
from cli_kit import cli
from page_kit import small_fleet
from service_kit import PlayedService

from retrain.messages.distribution import Distribution
from streamer.page import lanes
from streamer.testing.alerts import START, firing, ready

HOSTILE = '<script>alert(1)</script>&"\u202e\x01'


def drawn(tmp_path, *names, **plots):
    """The picture, and what the command printed."""
    out = tmp_path / "column.svg"
    result = cli("plot", *names, "--out", str(out), *(f"--{name}={value}" for name, value in plots.items()))
    assert result.exit_code == 0, result.stderr
    return out.read_text(encoding="utf-8"), result.stdout


def words_of(svg):
    return " ".join(text for one in ElementTree.fromstring(svg).iter() if (text := one.text))  # noqa: S314 -- our own


def with_profiles(path):
    """The same file with ten days of profiles."""
    start = START - timedelta(days=9)
    with open(path, "ab") as out:  # noqa: PTH123
        for day in range(10):
            begin = start + timedelta(days=day)
            out.write(msgspec.json.encode({
                "type": "profile", "unit": "detect-0", "start": begin, "end": begin + timedelta(days=1),
                "model_id": "bus-1", "model_version": "1", "segment": "", "topic": "predictions",
                "column": "headway_s", "kind": "number", "intervals": 1, "count": 720 + day, "missing": 3, "faults": 2,
                "mean": 412.0, "sd": 50.0, "p05": 330.0, "p25": 380.0, "p50": 410.0 + day, "p75": 440.0, "p95": 490.0,
                "cells": [0.1] * 10, "compared": 10, "trained": True, "psi": 0.0625, "ks": 0.03125,
                "n_reference": 1000.0, "psi_chance": 0.05, "ks_chance": 0.07,
            }) + b"\n")  # fmt: skip
    return path


def test_it_says_and_draws_what_the_records_say(tmp_path):
    """Sentence, numbers, onset and both distributions; the file needs nothing from elsewhere."""
    svg, said = drawn(tmp_path, small_fleet().replayed(tmp_path), "bus-1", "headway_s")
    assert said.startswith(f"{tmp_path}/column.svg: headway_s of bus-1, ")
    text = words_of(svg)
    for words in (
        "headway_s of bus-1", "headway_s moved up by about 118.", "before 412.5 → after 530.8",
        "0.7 ± 0.02 ks_distance",
        "drift began 2026-01-01 00:30 UTC", "gap 0.60",
    ):  # fmt: skip
        assert words in text, words
    assert svg.count('class="c-ref c-refedge"') == svg.count('class="c-now c-nowedge"') == 1
    assert "var(" not in svg
    assert re.findall(r"(?:https?:)?//[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    used = {name for names in re.findall(r'class="([^"]+)"', svg) for name in names.split() if name.startswith("c-")}
    assert all(f".{name}{{" in svg for name in used)


def test_intervals_stand_below(tmp_path):
    """With profiles there are percentiles, PSI and missing values by interval, and a column may have no alert."""
    path = with_profiles(small_fleet().replayed(tmp_path))
    svg, _ = drawn(tmp_path, path, "bus-1", "headway_s")
    text = words_of(svg)
    for words in (
        "10 intervals",
        "729 values",
        "3 missing",
        "2 faulty",
        "PSI 0.0625",
        "KS 0.03125",
        "median and bands",
    ):
        assert words in text, words
    assert svg.count('class="c-barhi"') == 10
    assert int(re.search(r'height="(\d+)"', svg)[1]) > 700


def test_names_are_text(tmp_path):
    """Markup and characters that XML does not allow stay text, in names and categories."""
    service = PlayedService()
    went = Distribution((0.9, 0.1), (0.5, 0.5), 1000, 400, categories=("north", HOSTILE))
    service.publish(
        firing("1h", HOSTILE, HOSTILE), ready("2h", "1h", HOSTILE, HOSTILE, distribution=went, summary=HOSTILE)
    )
    svg, _ = drawn(tmp_path, service.replayed(tmp_path), HOSTILE, HOSTILE)
    tags = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(svg).iter()}  # noqa: S314 -- our own
    assert tags == {"svg", "title", "style", "rect", "text"}
    assert "\x01" not in svg


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("bus-2", "headway_s"), "no record names a model bus-2; did you mean bus-1?"),
        (("bus-1", "headway"), "no record names a column headway of bus-1; did you mean headway_s?"),
        (("bus-1", "headway_s", "--segment", "north"), "no record names a segment north"),
    ],
)
def test_wrong_names_are_answered_with_near_ones(tmp_path, names, words):
    """The command ends with 2, and writes no file."""
    out = tmp_path / "column.svg"
    result = cli("plot", small_fleet().replayed(tmp_path), *names, "--out", str(out))
    assert result.exit_code == 2
    assert words in result.stderr
    assert not out.exists()


def test_it_takes_two_names_or_three(tmp_path):
    """One or four are a wrong use."""
    assert cli("plot", "bus-1").exit_code == 2
    assert "give MODEL and COLUMN" in cli("plot", "a", "b", "c", "d").stderr


def corner_of(png):
    """Width and height of a PNG, and the colour of its first pixel, which no filter of a PNG changes."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind) == (8, 6)
    at, data = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    return width, height, tuple(zlib.decompress(data)[1:4])


def test_a_png_has_the_same_picture(tmp_path):
    """The ending of the file chooses; it has two pixels for one, light, or dark where that is wanted."""
    replayed, out = small_fleet().replayed(tmp_path), str(tmp_path / "column.PNG")
    assert re.search(
        r"column.PNG: headway_s of bus-1, \d+ kB", cli("plot", replayed, "bus-1", "headway_s", "--out", out).stdout
    )
    light = (tmp_path / "column.PNG").read_bytes()
    assert cli("plot", replayed, "bus-1", "headway_s", "--out", out, "--dark").exit_code == 0
    dark = (tmp_path / "column.PNG").read_bytes()
    svg, _ = drawn(tmp_path, replayed, "bus-1", "headway_s")
    height = int(re.search(r'height="(\d+)"', svg)[1])
    assert corner_of(light) == (2 * lanes.WIDTH + 96, 2 * height, (255, 255, 255))
    assert corner_of(dark) == (2 * lanes.WIDTH + 96, 2 * height, (0x19, 0x1C, 0x21))
    assert len(light) < 300_000


def test_a_png_that_can_not_be_is_an_error(tmp_path, monkeypatch):
    """Without a font a PNG would have no words, and without the package there is none: both say what to do."""
    arguments = ("plot", small_fleet().replayed(tmp_path), "bus-1", "headway_s", "--out", str(tmp_path / "x.png"))
    monkeypatch.setattr(resvg_py, "svg_to_bytes", partial(resvg_py.svg_to_bytes, skip_system_fonts=True))
    assert "this machine has none: install one, such as fonts-dejavu-core" in cli(*arguments).stderr
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert "pip install 'driftline[png]'" in cli(*arguments).stderr
    assert not (tmp_path / "x.png").exists()
