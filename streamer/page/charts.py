"""Pictures of a change as SVG: what was in grey, what is now in blue, both on one axis.

Colours come from classes, so that one picture serves light and dark screens and print. Histograms stand
on whole pixels: one takes about a kilobyte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, zip_longest
from math import floor, isfinite, log10, ulp
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from markupsafe import Markup, escape

from retrain.messages.distribution import Distribution
from retrain.messages.shift import Shift
from streamer.audit.reasons import number

WIDTH, HEIGHT = 372, 196
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 26, 28  # margins
TICKS: Final = 6  # at most about so many along the values
FINEST: Final = 1e4  # steps of ticks, at least, in the distance of neighbouring numbers
SMALL: Final = (92, 26)  # width and height of a picture in a table
SMALL_CELLS: Final = 12  # cells that it shows, about
ROW: Final = 19  # height of a category
NAME_CHARS: Final = 22
NARROW: Final = 4.0  # the least width of a cell counts as a so many'th of an even share, so that no bar is endless

ALONE_BYTES_MAX: Final = 6_000  # of a picture that stands alone
_ROOT: Final = '<svg xmlns="http://www.w3.org/2000/svg"'
_STYLE: Final = (
    "<style>svg{background:#fff}text{font:11px sans-serif;fill:#22262d}.sub,.t-ref{fill:#5d6169}.t-now{fill:#0b63ad}"
    ".c-ref{fill:#cfd1d5}.c-refedge,.c-refline{stroke:#8d9199}.c-bar{fill:#8d9199}.c-now{fill:#0b63ad;fill-opacity:.2}"
    ".c-nowedge,.c-nowline{stroke:#0b63ad}.c-nowbar{fill:#0b63ad}.c-axis{stroke:#b9bdc4}</style>"
)
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


class _Shifts(msgspec.Struct):
    """What moved, of an incident or of a retrain request."""

    columns: tuple[Shift, ...] = ()
    evidence: tuple[Shift, ...] = ()


class Frame(NamedTuple):
    """The part of a picture that holds data, and the values at its sides."""

    low: float
    high: float
    top: float  # greatest height of the data

    def x(self, value: float) -> float:
        """Where a value stands."""
        span = self.high - self.low
        return LEFT + (WIDTH - LEFT - RIGHT) * ((value - self.low) / span if span > 0 else 0.5)

    def y(self, height: float) -> float:
        """Where a height stands."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (height / self.top if self.top > 0 else 0.0)


def histogram(of: Distribution, before: float, after: float, name: str) -> Markup:
    """Both distributions of numbers on one axis, with their locations `before` and `after`.

    The height of a cell is its share of the values a unit, so that wide cells do not look full.
    """
    was, now = _densities(of)
    frame = Frame(of.edges[0], of.edges[-1], max(*was, *now))
    marks = _locations(frame, before, after)
    body = _area(frame, of.edges, was, "ref") + _area(frame, of.edges, now, "now") + _axis(frame) + marks
    return _picture(body, f"{name} before and after: from {number(before)} to {number(after)}")


def shares_up_to(of: Distribution, name: str) -> Markup:
    """The share of values up to each edge, before and after, with the greatest gap between both."""
    was, now = ([0.0, *accumulate(shares)] for shares in (of.before, of.after))
    at = max(range(len(was)), key=lambda i: abs(now[i] - was[i]))
    frame = Frame(of.edges[0], of.edges[-1], 1.0)
    x, gap = frame.x(of.edges[at]), abs(now[at] - was[at])
    lines = "".join(
        f'<path class="c-{kind}line" d="{_line(map(frame.x, of.edges), map(frame.y, shares))}"/>'
        for kind, shares in (("ref", was), ("now", now))
    )
    is_left = x < WIDTH / 2
    words = (
        f'<line class="c-gap" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y(was[at]):.1f}" y2="{frame.y(now[at]):.1f}"/>'
        f'<text class="t-incident" x="{x + (8 if is_left else -8):.1f}" y="{frame.y((was[at] + now[at]) / 2):.1f}"'
        f"{'' if is_left else _END}>gap {gap:.2f}</text>"
    )
    body = _percents(frame) + lines + words + _axis(frame)
    return _picture(body, f"{name}: share of values up to each value, before and after; greatest gap {gap:.2f}")


def paired_bars(of: Distribution, name: str) -> Markup:
    """The share of each category before and after."""
    top = max(*of.before, *of.after, 1e-9)
    height = len(of.categories) * ROW + 8
    rows = "".join(
        f'<text class="sub" x="142" y="{i * ROW + 15}"{_END}>{escape(_short(category))}</text>'
        f'<rect class="c-bar" x="150" y="{i * ROW + 5}" width="{160 * was / top:.1f}" height="6"/>'
        f'<rect class="c-nowbar" x="150" y="{i * ROW + 12}" width="{160 * now / top:.1f}" height="6"/>'
        f'<text x="{WIDTH - RIGHT}" y="{i * ROW + 15}"{_END}>{_percent(was)} → {_percent(now)}</text>'
        for i, (category, was, now) in enumerate(zip(of.categories, of.before, of.after, strict=True))
    )
    return _picture(rows, f"{name}: share of each category before and after", height)


def small(of: Distribution) -> Markup:
    """The same picture without text, for a table."""
    width, height = SMALL
    if of.categories:
        top, step = max(*of.before, *of.after, 1e-9), width / len(of.categories)
        body = "".join(
            f'<rect class="c-{kind}" x="{i * step + shift * step:.1f}" y="{height * (1 - share / top):.1f}" '
            f'width="{step * 0.4:.1f}" height="{height * share / top:.1f}"/>'
            for kind, shift, shares in (("bar", 0.0, of.before), ("nowbar", 0.45, of.after))
            for i, share in enumerate(shares)
        )
    else:
        of = _coarser(of)
        was, now = _densities(of)
        top, low, span = max(*was, *now, 1e-9), of.edges[0], of.edges[-1] - of.edges[0]
        places = [round(width * (edge - low) / span, 1) if span > 0 else width * i for i, edge in enumerate(of.edges)]
        body = "".join(
            f'<path class="c-{kind}" d="{_steps(places, [round(height * (1 - y / top)) for y in shares], height)}"/>'
            for kind, shares in (("ref", was), ("now", now))
        )
    return _svg(f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true"', body)


def picture_of(record: bytes) -> str:
    """The strongest shift of an incident or retrain request that has a distribution, as an SVG file of its own.

    It takes at most `ALONE_BYTES_MAX` bytes: where names make it longer, it has no text. It has no script, and names no
    address but that of its namespace. "" for a record without distributions, or one that can't be drawn.
    """
    try:
        found = msgspec.json.decode(record, type=_Shifts)
    except msgspec.MsgspecError:
        return ""
    shifts = sorted((*found.columns, *found.evidence), key=lambda one: -one.strength)
    drawn = ((one, one.distribution) for one in shifts if one.distribution and _can_be_drawn(one.distribution))
    shift, of = next(drawn, (None, None))
    if shift is None or of is None:
        return ""
    name = shift.column
    large = paired_bars(of, name) if of.categories else histogram(of, shift.before, shift.after, name)
    return next((one for one in map(_alone, (large, small(of))) if len(one.encode()) <= ALONE_BYTES_MAX), "")


def effect_bar(strength: float) -> Markup:
    """An effect from 0 to 1 as a bar."""
    width = 40 * min(max(strength, 0.0), 1.0)
    bars = f'<rect class="c-track" width="40" height="8"/><rect class="c-barhi" width="{width:.1f}" height="8"/>'
    return _svg('width="40" height="8" viewBox="0 0 40 8" aria-hidden="true"', bars)


class CellSize(NamedTuple):
    """How the cells of a band stand."""

    across: int  # cells in a row
    pitch: int  # pixels from one to the next
    gap: int  # pixels between two


WIDE_SMALL, WIDE, PHONE_SMALL, PHONE = CellSize(83, 12, 2), CellSize(200, 5, 1), CellSize(38, 9, 2), CellSize(85, 4, 1)
SMALL_BAND: Final = 400  # models up to which a band has large cells


def heat_patterns(states: Sequence[str]) -> Markup:
    """What the cells of bands are filled with; once a page."""
    found = "".join(
        f'<pattern id="h{cells.pitch}-{state}" width="{cells.pitch}" height="{cells.pitch}" '
        f'patternUnits="userSpaceOnUse"><rect class="h-{state}" width="{cells.pitch - cells.gap}" '
        f'height="{cells.pitch - cells.gap}"/></pattern>'
        for cells in (WIDE_SMALL, WIDE, PHONE_SMALL, PHONE)
        for state in states
    )
    return _svg('class="defs" width="0" height="0" aria-hidden="true"', found)


def heat_band(
    models: Sequence[tuple[str, int]], states: Sequence[str], phone: bool, address: str = "", links_max: int = 0
) -> Markup:
    """The models of a group, name and place in `states`, as cells in their order; `address` + name links some of them.

    All cells are drawn as quiet ones, and stretches of other states over them: a quiet fleet of thousands takes a few
    kilobytes, and one of many states tens. The last state is that of quiet models, which are no links.
    """
    is_small = len(models) <= SMALL_BAND
    cells = (PHONE_SMALL if is_small else PHONE) if phone else (WIDE_SMALL if is_small else WIDE)
    across, pitch, gap = cells
    side = pitch - gap
    quiet, links, paths = len(states) - 1, list[str](), dict[int, list[tuple[int, float, int]]]()
    rows = range(0, len(models), across)
    base = "".join(f"M0 {i // across * pitch + side / 2:g}h{min(across, len(models) - i) * pitch - gap}" for i in rows)
    i = 0
    while i < len(models):
        name, state = models[i]
        n, x, y = 1, i % across * pitch, i // across * pitch
        if state != quiet and len(links) < links_max:
            links.append(_linked(name, states[state], address, (x, y), side, 0 if is_small else 1))
        else:
            while (i + n) % across and i + n < len(models) and models[i + n][1] == state:
                n += 1
            if state != quiet:
                paths.setdefault(state, []).append((x, y + side / 2, n * pitch - gap))
        i += n
    drawn = [(quiet, base), *((state, _relative(found)) for state, found in paths.items())]
    body = "".join(f'<path stroke="url(#h{pitch}-{states[s]})" stroke-width="{side}" d="{d}"/>' for s, d in drawn)
    size = f'viewBox="0 0 {across * pitch} {-(-len(models) // across) * pitch}"'
    shown = "only-phone" if phone else "not-phone"
    return _svg(f'class="cells {shown}" {size} aria-hidden="true"', body + "".join(links))


def _relative(stretches: Iterable[tuple[int, float, int]]) -> str:
    """Lines to the right from places, each relative to the end of the one before: most steps are short."""
    parts, x, y = list[str](), 0, 0.0
    for left, top, length in stretches:
        parts.append(f"m{left - x} {top - y:g}h{length}")
        x, y = left + length, top
    return "".join(parts)


def _linked(name: str, state: str, address: str, at: tuple[int, int], side: int, out: int) -> str:
    """A cell that is a link, by `out` pixels larger on each side than others."""
    title, target = f"<title>{escape(name)}: {state}</title>", escape(address + quote(name, safe=""))
    square = f"M{at[0] - out} {at[1] - out}h{(size := side + 2 * out)}v{size}h-{size}z"
    return f'<a href="{target}" tabindex="-1">{title}<path class="h-{state}" d="{square}"/></a>'


_END: Final = ' text-anchor="end"'


def _can_be_drawn(of: Distribution) -> bool:
    """Whether each cell has both shares and its bounds, with numbers of which a distance can be taken."""
    cells = len(of.categories) or len(of.edges) - 1
    is_finite = all(map(isfinite, (*of.before, *of.after))) and (not of.edges or isfinite(of.edges[-1] - of.edges[0]))
    return cells > 0 and cells == len(of.before) == len(of.after) and is_finite


def _alone(picture: Markup) -> str:
    """A picture as a file, with its colours. A name may hold what no XML may."""
    head, _, body = str(picture).partition(">")
    return _NO_XML.sub("\ufffd", f"{head.replace('<svg', _ROOT, 1)}>{_STYLE}{body}")


def _densities(of: Distribution) -> tuple[list[float], list[float]]:
    """The shares of the cells a unit of their width, on the scale of an even cell."""
    span = of.edges[-1] - of.edges[0]
    even = span / len(of.before) if span > 0 else 1.0
    widths = [max(b - a, even / NARROW) for a, b in zip(of.edges, of.edges[1:], strict=False)]
    was, now = ([share * even / width for share, width in zip(s, widths, strict=True)] for s in (of.before, of.after))
    return was, now


def _coarser(of: Distribution) -> Distribution:
    """Numbers in half as many cells, where there are more than a small picture shows."""
    if len(of.before) <= SMALL_CELLS:
        return of
    before, after = (tuple(map(sum, zip_longest(s[::2], s[1::2], fillvalue=0.0))) for s in (of.before, of.after))
    edges = (*of.edges[:-1:2], of.edges[-1])
    return replace(of, before=before, after=after, edges=edges)


def _area(frame: Frame, edges: Sequence[float], heights: Sequence[float], kind: str) -> str:
    path = _steps([round(frame.x(edge)) for edge in edges], [round(frame.y(y)) for y in heights], round(frame.y(0.0)))
    return f'<path class="c-{kind} c-{kind}edge" d="{path}"/>'


def _steps(places: Sequence[float], heights: Sequence[float], base: float) -> str:
    """A path over the cells between `places`, from the base and back to it."""
    body = "".join(f"V{y:.4g}H{x:.4g}" for x, y in zip(places[1:], heights, strict=True))
    return f"M{places[0]:.4g} {base:.4g}{body}V{base:.4g}Z"


def _line(places: Iterable[float], heights: Iterable[float]) -> str:
    return "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in zip(places, heights, strict=True))


def _locations(frame: Frame, before: float, after: float) -> str:
    """The two locations as dotted lines, each with its value on the side away from the other."""
    found = ""
    for kind, word, value, y, is_left in (
        ("ref", "before", before, 11, before <= after),
        ("now", "after", after, 22 if abs(frame.x(after) - frame.x(before)) < 120 else 11, after < before),
    ):
        x = min(max(frame.x(value), LEFT), WIDTH - RIGHT)
        is_left = (is_left and x > LEFT + 90) or x > WIDTH - 90
        found += (
            f'<line class="c-{kind}line" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 2}" y2="{HEIGHT - BOTTOM}" '
            f'stroke-dasharray="2 3"/><text class="t-{kind}" x="{x + (-5 if is_left else 5):.1f}" y="{y}"'
            f"{_END if is_left else ''}>{word} {number(value)}</text>"
        )
    return found


def _axis(frame: Frame) -> str:
    base = HEIGHT - BOTTOM
    texts = "".join(
        f'<text x="{frame.x(value):.1f}" y="{base + 16}" text-anchor="middle">{number(value)}</text>'
        for value in ticks(frame.low, frame.high)
    )
    return f'<line class="c-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>{texts}'


def _percents(frame: Frame) -> str:
    return "".join(
        f'<line class="c-grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(share):.1f}" y2="{frame.y(share):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{frame.y(share) + 4:.1f}"{_END}>{_percent(share)}</text>'
        for share in (0.5, 1.0)
    )


def ticks(low: float, high: float) -> list[float]:
    """Round values from `low` to `high`, about `TICKS` of them; one value where both are equal."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / TICKS
    scale = 10.0 ** floor(log10(rough))
    step = next(scale * k for k in (1, 2, 5, 10) if scale * k >= rough)
    if step < FINEST * ulp(max(abs(low), abs(high))):
        return [low]  # numbers are too coarse there for even steps
    first = floor(low / step) + (low / step != floor(low / step))
    found = [(first + i) * step for i in range(2 * TICKS + 1)]
    return [0.0 if abs(value) < step / 1e6 else value for value in found if value <= high]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…"


def _picture(body: str, label: str, height: int = HEIGHT) -> Markup:
    return _svg(f'class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}"', body)


def _svg(attributes: str, body: str) -> Markup:
    """Every name in both is escaped."""
    return Markup(f"<svg {attributes}>{body}</svg>")  # noqa: S704
