"""The picture of a column as one file, SVG or PNG, for chats and tickets: what its view draws, and its numbers.

Colours stand in the file as values, not as variables, since many programs that show SVG know none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from textwrap import wrap
from typing import Any, Final

from markupsafe import Markup, escape

from retrain.messages.shift import Shift
from streamer.audit.reasons import clock, many, number
from streamer.audit.source import Source
from streamer.contracts.topics import OutputTopics
from streamer.errors import UsageError
from streamer.logs import one_line
from streamer.page import charts, lanes
from streamer.page.drawing import Missing, pictures
from streamer.page.follow import Follower, from_source
from streamer.page.model_views import column_view
from streamer.page.reader import Reader, ReadView
from streamer.page.store import Store

WIDTH: Final = lanes.WIDTH + 48
MARGIN: Final = 24
SCALE: Final = 1.55  # of the two pictures that stand side by side
LINE_CHARS: Final = 150  # of a sentence; further words stand on the next line
LINES_MAX: Final = 4
PNG_SCALE: Final = 2  # pixels of a PNG for one of the SVG, as dense screens show
PNG_EXTRA: Final = "a PNG needs one more package: pip install 'driftline[png]', or name a file that ends in .svg"
# Families that systems without settings of fonts have; None is what the system itself takes for `sans-serif`.
FAMILIES: Final = (None, "DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial", "Helvetica")
_OR: Final = " or "
_TOKEN: Final = re.compile(r"(--[\w-]+):\s*([^;]+);")
_USE: Final = re.compile(r"var\((--[\w-]+)\)")
_RULE: Final = re.compile(r"(\.c-[\w-]+|svg(?:\.chart)? text[.\w-]*) *(\{[^}]*\})")
_CLEAR: Final = re.compile(r"fill: *(#[0-9a-f]{6})([0-9a-f]{2})\b")  # few programs know a colour of eight digits
_VIEW: Final = re.compile(r'^<svg class="(?P<kind>[^"]*)" viewBox="0 0 (?P<width>\d+) (?P<height>\d+)"')
_OWN_STYLE: Final = (
    ".paper{fill:var(--surface)}svg text.title{font-size:22px;font-weight:650;fill:var(--ink)}"
    "svg text.lede{font-size:15px;fill:var(--ink)}svg text.fact{font-size:13px;fill:var(--ink-2)}"
)
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def plot(source: Source, outputs: OutputTopics, model: str, column: str, segment: str = "", dark: bool = False) -> str:
    """The picture of a column as SVG. Raises `UsageError` if no record names the model or the column."""
    store = Store()
    reader = Reader(store.path)
    try:
        Follower(store, outputs, from_source(source)).load()
        with reader.snapshot() as view:
            try:
                data = column_view(view, {"model": model, "column": column, "segment": segment}).data
            except Missing as missing:
                raise UsageError(_unknown(view, model, column)) from missing
            if segment not in data["segments"]:
                known = " or ".join(repr(one) for one in data["segments"] if one) or "none"
                raise UsageError(one_line(f"no record names a segment {segment} of {column} of {model}: give {known}"))
            return picture_of(data, dark)
    finally:
        reader.close()
        store.close()


def png_of(svg: str) -> bytes:
    """A picture as PNG. Raises `UsageError` without the package that draws it, or without any font."""
    try:
        import resvg_py
    except ImportError as problem:
        raise UsageError(PNG_EXTRA) from problem

    def drawn(text: str, family: str | None, zoom: float) -> bytes:
        # What has no font is left out of a picture without an error, so the family must be one that exists.
        return resvg_py.svg_to_bytes(
            svg_string=text, zoom=zoom, sans_serif_family=family, monospace_family=family, serif_family=family
        )

    probe = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">{}</svg>'
    blank, letter = probe.format(""), probe.format('<text y="15" font-family="sans-serif">M</text>')
    for family in FAMILIES:
        if drawn(letter, family, 1) != drawn(blank, family, 1):
            return drawn(svg, family, PNG_SCALE)
    raise UsageError(
        "a PNG needs a font, and this machine has none: install one, such as fonts-dejavu-core of Debian, or name a "
        "file that ends in .svg"
    )


def _unknown(view: ReadView, model: str, column: str) -> str:
    """What is not there, and what was probably meant."""
    columns = view.near_columns(model, column)
    is_known = bool(columns) or view.model(model) is not None
    what, near = (f"a column {column} of {model}", columns) if is_known else (f"a model {model}", view.near(model))
    return one_line(f"no record names {what}{f'; did you mean {_OR.join(near)}?' if near else ''}")


def picture_of(data: Mapping[str, Any], dark: bool = False) -> str:
    """The data of the view of a column as SVG."""
    shift: Shift | None = data["shift"]
    profiles = data["profiles"]
    segment = f", {data['segment']}" if data["segment"] else ""
    body, y = _text(f"{data['column']} of {data['model']}{segment}", "title", 44), 44
    sentence = shift.summary if shift and shift.summary else "" if data["alerts"] else "No alert on this column so far."
    for line in wrap(sentence, LINE_CHARS)[:LINES_MAX]:
        y += 24
        body += _text(line, "lede", y)
    for words in _facts(shift, profiles):
        y += 22
        body += _text(words, "fact", y)
    y += 20
    drawn = pictures(shift) if shift else ()
    below = y
    for i, one in enumerate(drawn):
        placed, height = _placed(one, MARGIN + round(i * (charts.WIDTH + 20) * SCALE), y, SCALE)
        body, below = body + placed, max(below, y + height)
    y = below + (20 if drawn else 0)
    if profiles:
        placed, height = _placed(
            lanes.intervals(profiles, shift.onset.event_time if shift else None, data["column"]), MARGIN, y, 1.0
        )
        body, y = body + placed, y + height
    label = escape(f"{data['column']} of {data['model']}")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + MARGIN}" '
        f'viewBox="0 0 {WIDTH} {y + MARGIN}" role="img" aria-label="{label}"><title>{label}</title>'
        f'<style>{_style(dark)}</style><rect class="paper" width="100%" height="100%"/>{body}</svg>\n'
    )
    return _NOT_XML.sub("\ufffd", svg)


def _facts(shift: Shift | None, profiles: list[Mapping[str, Any]]) -> list[str]:
    """The numbers below the sentence, a line for the shift and one for the last interval."""
    lines = []
    if shift is not None:
        error = f" ± {shift.effect_se:.2g}" if shift.effect_se else ""
        sd = f"   shift {number(shift.shift_sd)} sd" if shift.shift_sd is not None else ""
        lines.append(
            f"before {number(shift.before)} → after {number(shift.after)}   effect {number(shift.effect)}{error} "
            f"{shift.effect_unit}{sd}   {shift.n_reference:,} values before, {shift.n_current:,} after   "
            f"drift began {clock(shift.onset.event_time)} UTC"
        )
    if profiles:
        last = profiles[-1]
        psi = f"   PSI {number(last['psi'])}   KS {number(last['ks'])}" if last["psi"] is not None else ""
        lines.append(
            f"{many(len(profiles), 'interval')}, the last from {clock(last['start'])} UTC   {last['count']:,} values   "
            f"{last['missing']:,} missing   {last['faults']:,} faulty{psi}"
        )
    return lines


def _text(words: str, kind: str, y: int) -> str:
    return f'<text class="{kind}" x="{MARGIN}" y="{y}" xml:space="preserve">{escape(words)}</text>'


def _placed(picture: Markup, x: int, y: int, scale: float) -> tuple[str, int]:
    """A picture of the page at a place within another, and its height there."""
    found = _VIEW.match(picture)
    if found is None:
        raise ValueError("a picture begins with its class and its size")
    width, height = round(int(found["width"]) * scale), round(int(found["height"]) * scale)
    at = f'<svg x="{x}" y="{y}" width="{width}" height="{height}" overflow="visible" '
    return at + str(picture).removeprefix("<svg "), height


@cache
def _style(dark: bool) -> str:
    """The rules of pictures from the sheet of the page, with the values of light or dark screens for its variables."""
    static = files("streamer.page").joinpath("static")
    given, sheet = (static.joinpath(name).read_text(encoding="utf-8") for name in ("tokens.css", "page.css"))
    light, _, on_dark = given.partition("@media")
    tokens = dict(_TOKEN.findall(light)) | (dict(_TOKEN.findall(on_dark)) if dark else {})
    drawn = sheet[sheet.index("/* ---- charts ---- */") : sheet.index("/* ---- fleet ---- */")]
    rules = _OWN_STYLE + "".join(f"{name}{rule}" for name, rule in _RULE.findall(drawn))
    while _USE.search(rules):
        rules = _USE.sub(lambda use: tokens[use[1]].strip(), rules)
    rules = _CLEAR.sub(lambda fill: f"fill:{fill[1]};fill-opacity:{int(fill[2], 16) / 255:.2f}", rules)
    return str(escape(rules)).replace("&#34;", '"')
