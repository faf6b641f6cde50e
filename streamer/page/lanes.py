"""Pictures over time as SVG: the story of a model in lanes, the intervals of a column, and sparklines.

All lanes of a picture share one axis in UTC, the oldest on the left. Colours come from classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from markupsafe import Markup, escape

from streamer.audit.explanation import NEVER
from streamer.audit.reasons import clock, number
from streamer.events import EPOCH
from streamer.page.charts import ticks

WIDTH: Final = 1206
LEFT, RIGHT, TOP = 150, 76, 20
LANE: Final = 24
CURVE: Final = 100  # height of the percentiles of a column above the lanes
TICKS_MAX: Final = 8
ITEMS_MAX: Final = 400  # of a lane, the newest
SPARK: Final = (64, 22)
_HOUR, _DAY = 3600, 86_400
STEPS: Final = tuple(h * _HOUR for h in (1, 3, 6, 12)) + tuple(d * _DAY for d in (1, 2, 7, 14, 30, 91, 182, 365, 3650))


@dataclass(frozen=True, slots=True)
class Item:
    """A bar, or a mark where it has no end."""

    kind: str  # class of its colour
    start: datetime
    end: datetime | None
    text: str  # shown on hover


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the picture."""

    name: str
    items: Sequence[Item]
    note: str = ""  # behind the last item


class Axis:
    """Event time along the picture."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        margin = max((end - begin) * 0.02, timedelta(minutes=1))
        self.begin, self.end = _moved(begin, -margin), _moved(end, margin)

    def x(self, at: datetime) -> float:
        """Where a time stands, within the picture."""
        share = (at - self.begin) / (self.end - self.begin)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0)

    def drawn(self, top: int, bottom: int) -> str:
        """The axis at `bottom` with its dates, and faint lines up to `top`."""
        span_s = (self.end - self.begin).total_seconds()
        step = next((one for one in STEPS if span_s / one <= TICKS_MAX), int(span_s / TICKS_MAX))
        first = -(-int(self.begin.timestamp()) // step) * step
        texts = "".join(
            f'<line class="c-grid" x1="{self.x(at):.1f}" x2="{self.x(at):.1f}" y1="{top}" y2="{bottom}"/>'
            f'<text x="{self.x(at):.1f}" y="{bottom + 16}" text-anchor="middle">{_date(at, step)}</text>'
            for i in range(TICKS_MAX + 1)
            if (at := _moved(EPOCH, timedelta(seconds=first + i * step))) <= self.end
        )
        return f'{texts}<line class="c-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'


def _moved(at: datetime, by: timedelta) -> datetime:
    """The time moved, within the calendar."""
    try:
        return at + by
    except OverflowError:
        return NEVER if by > timedelta(0) else at


def story(
    lanes: Sequence[Lane], now: datetime, label: str, curves: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = ()
) -> Markup:
    """Lanes of bars and marks on one time axis, up to `now`.

    Above them the percentiles by interval of some columns, by name; `curves` hold profiles in order of time.
    """
    drawn = [(name, bands) for name, found in curves if (bands := [one for one in found if one["p50"] is not None])]
    times = [one.start for lane in lanes for one in lane.items] + [one["start"] for _, bands in drawn for one in bands]
    axis = Axis(min(times, default=now), max([now, *times]))
    first = TOP + CURVE * len(drawn)
    bottom = first + LANE * len(lanes) + 6
    body = axis.drawn(TOP, bottom)
    for i, (name, bands) in enumerate(drawn):
        body += _bands(axis, bands, TOP + CURVE * i + 4, CURVE - 22, _short(name, 22))
    for i, lane in enumerate(lanes):
        y = first + LANE * i + LANE // 2
        body += f'<text class="lab" x="0" y="{y + 4}">{escape(_short(lane.name, 22))}</text>'
        body += "".join(_item(axis, one, y, now) for one in lane.items[-ITEMS_MAX:])
        if lane.note and lane.items:
            body += _note(axis, lane, y)
    x = axis.x(now)
    body += (
        f'<line class="c-zero" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        f'<text class="sub" x="{x:.1f}" y="12" text-anchor="end">newest record {clock(now)}</text>'
    )
    return _picture(body, label, bottom + 22)


def intervals(profiles: Sequence[Mapping[str, Any]], onset: datetime | None, name: str) -> Markup:
    """The intervals of a column: percentiles of numbers, PSI beside what chance gives, and missing values.

    `profiles` are of one series in order of time, at least one.
    """
    axis = Axis(profiles[0]["start"], profiles[-1]["end"])
    bands = [one for one in profiles if one["p50"] is not None]
    body, y = "", TOP
    if bands:
        body, y = body + _bands(axis, bands, y), y + 180
    body, y = body + _bars(axis, profiles, y), y + 90
    body, y = body + _missing(axis, profiles, y), y + 46
    body = axis.drawn(TOP, y) + body
    if onset is not None and axis.begin <= onset <= axis.end:
        x = axis.x(onset)
        words = f'<text class="lab" x="{x - 6:.1f}" y="12" text-anchor="end">drift began {clock(onset)}</text>'
        body += f'<line class="c-onset" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{y}"/>{words}'
    return _picture(body, f"{name} by interval: percentiles, population stability index, missing values", y + 22)


def sparkline(values: Sequence[float], label: str) -> Markup:
    """A line over a few values, with a dot at the last one; zero is at the bottom."""
    width, height = SPARK
    top = max(values, default=0.0) or 1.0
    step = (width - 5) / max(len(values) - 1, 1)
    points = [(1 + i * step, height - 3 - (height - 6) * value / top) for i, value in enumerate(values)]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dot = f'<circle class="s-dot" cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2.2"/>' if points else ""
    body = f'<path class="s-line" d="M{line}"/>{dot}' if points else ""
    view = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return _svg(f'{view} role="img" aria-label="{escape(label)}"', body)


def _item(axis: Axis, one: Item, y: int, now: datetime) -> str:
    x, title = axis.x(one.start), f"<title>{escape(one.text)}</title>"
    if one.end is None:
        return f'<path class="c-{one.kind}" d="M{x:.1f} {y - 5}l5.5 10h-11z">{title}</path>'
    width = max(axis.x(min(one.end, now)) - x, 2.0)
    return f'<rect class="c-{one.kind}" x="{x:.1f}" y="{y - 5}" width="{width:.1f}" height="10" rx="2">{title}</rect>'


def _note(axis: Axis, lane: Lane, y: int) -> str:
    """Words before the first item where there is room, else behind the last."""
    first, last = lane.items[0], max(lane.items, key=lambda one: one.end or one.start)
    x, room = axis.x(first.start), 6.3 * len(lane.note)
    if x - LEFT > room:
        return f'<text class="sub" x="{x - 8:.1f}" y="{y + 4}" text-anchor="end">{escape(lane.note)}</text>'
    x = axis.x(last.end or last.start)
    if x + room > WIDTH:
        return ""
    return f'<text class="sub" x="{x + 8:.1f}" y="{y + 4}">{escape(lane.note)}</text>'


def _bands(axis: Axis, bands: Sequence[Mapping[str, Any]], top: int, height: int = 150, name: str = "Values") -> str:
    """5 to 95 and 25 to 75 % of the values, and the median."""
    low, high = min(one["p05"] for one in bands), max(one["p95"] for one in bands)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return top + height - height * ((value - low) / span if high > low else 0.5)

    middles = [axis.x(one["start"] + (one["end"] - one["start"]) / 2) for one in bands]
    body = "".join(
        f'<line class="c-grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{number(value)}</text>'
        for value in ticks(low, high)[:: 1 if height > CURVE else 2]
    )
    for kind, lower, upper in (("band1", "p05", "p95"), ("band2", "p25", "p75")):
        up = [f"{x:.1f} {y(one[upper]):.1f}" for x, one in zip(middles, bands, strict=True)]
        down = [f"{x:.1f} {y(one[lower]):.1f}" for x, one in zip(middles, bands, strict=True)]
        body += f'<path class="c-{kind}" d="M{"L".join([*up, *down[::-1]])}Z"/>'
    line = "L".join(f"{x:.1f} {y(one['p50']):.1f}" for x, one in zip(middles, bands, strict=True))
    last = bands[-1]
    return (
        f'{body}<path class="c-nowline" d="M{line}"/>'
        f'<circle class="c-dotnow" cx="{middles[-1]:.1f}" cy="{y(last["p50"]):.1f}" r="3.5"/>'
        f'<text class="t-now" x="{WIDTH - RIGHT + 8}" y="{y(last["p50"]) + 4:.1f}">{number(last["p50"])}</text>'
        + _words(name, "median and bands", top)
    )


def _bars(axis: Axis, profiles: Sequence[Mapping[str, Any]], top: int) -> str:
    """The PSI of each interval over 60 pixels; grey where chance alone may give it, red above."""
    compared = [one for one in profiles if one["psi"] is not None]
    words = _words("PSI", "against the reference", top)
    if not compared:
        return words + f'<text class="sub" x="{LEFT + 8}" y="{top + 16}">no interval with a reference yet</text>'
    height, most = 60, max(max(one["psi"], one["psi_chance"] or 0.0) for one in compared) or 1.0
    body, chance = "", []
    for one in compared:
        x, width = _slot(axis, one)
        tall = height * one["psi"] / most
        kind = "barhi" if one["psi"] > (one["psi_chance"] or 0.0) else "bar"
        text = f"{clock(one['start'])}: PSI {number(one['psi'])}, by chance up to {number(one['psi_chance'] or 0.0)}"
        body += (
            f'<rect class="c-{kind}" x="{x:.1f}" y="{top + height - tall:.1f}" width="{width:.1f}" '
            f'height="{tall:.1f}"><title>{text}</title></rect>'
        )
        if one["psi_chance"] is not None:
            chance.append(f"M{x:.1f} {top + height - height * one['psi_chance'] / most:.1f}h{width:.1f}")
    last = compared[-1]
    return (
        f'{body}<path class="c-chanceline" d="{"".join(chance)}"/>{words}'
        f'<text x="{LEFT - 8}" y="{top + 4}" text-anchor="end">{number(most)}</text>'
        f'<line class="c-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + height}" y2="{top + height}"/>'
        f'<text class="lab" x="{WIDTH - RIGHT + 8}" y="{top + height}">{number(last["psi"])}</text>'
    )


def _missing(axis: Axis, profiles: Sequence[Mapping[str, Any]], top: int) -> str:
    """The share of missing and faulty values of each interval over 30 pixels."""
    shares = [_share(one) for one in profiles]
    most, height, body = max(*shares, 0.01), 30, ""
    for one, share in zip(profiles, shares, strict=True):
        x, width = _slot(axis, one)
        tall = height * share / most
        body += (
            f'<rect class="c-bar" x="{x:.1f}" y="{top + height - tall:.1f}" width="{width:.1f}" height="{tall:.1f}"/>'
        )
    return (
        body
        + _words("Missing", "or faulty", top)
        + f'<text x="{LEFT - 8}" y="{top + 4}" text-anchor="end">{100 * most:.3g} %</text>'
        f'<line class="c-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + height}" y2="{top + height}"/>'
        f'<text class="lab" x="{WIDTH - RIGHT + 8}" y="{top + height}">{100 * shares[-1]:.3g} %</text>'
    )


def _share(one: Mapping[str, Any]) -> float:
    bad = one["missing"] + one["faults"]
    return float(bad / max(bad + one["count"], 1))


def _slot(axis: Axis, one: Mapping[str, Any]) -> tuple[float, float]:
    x = axis.x(one["start"])
    width = axis.x(one["end"]) - x
    return x + width * 0.15, max(width * 0.7, 0.6)


def _words(name: str, below: str, top: int) -> str:
    return f'<text class="lab" x="0" y="{top + 12}">{escape(name)}</text><text x="0" y="{top + 27}">{below}</text>'


def _date(at: datetime, step: int) -> str:
    if step < _DAY:
        return f"{at:%H:%M}" if at.hour else f"{at.day} {at:%b}"
    return f"{at.day} {at:%b}" if step < 365 * _DAY else f"{at:%Y}"


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _picture(body: str, label: str, height: int) -> Markup:
    return _svg(f'class="chart tl" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}"', body)


def _svg(attributes: str, body: str) -> Markup:
    """Every name in both is escaped."""
    return Markup(f"<svg {attributes}>{body}</svg>")  # noqa: S704


def lanes_of(groups: Iterable[tuple[str, Sequence[Item], str]]) -> list[Lane]:
    """The lanes with something in them."""
    return [Lane(name, items, note) for name, items, note in groups if items]
