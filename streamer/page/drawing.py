"""The templates of the report and the page, what they draw with, and what all views of the page have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from retrain.messages.distribution import distances_of
from retrain.messages.shift import Shift
from streamer.audit.commands import REFUSED
from streamer.audit.reasons import clock, many, number
from streamer.page import charts, lanes
from streamer.page.rows import Attention

BANDS_MAX: Final = 200  # drawn bands of the heat map that are kept: most stay as they are from one look to the next
DISTANCE_NAMES: Final = {
    "psi": "PSI", "jensen_shannon": "Jensen-Shannon", "ks": "KS", "wasserstein": "Wasserstein",
}  # fmt: skip
PAIRS_MAX: Final = 40  # models of a report whose column is drawn twice: as histogram, and as shares up to each value
PAGE_MAX: Final = 1_000_000
Parameters = Mapping[str, str]  # of the URL; of several of one name, the last


@cache
def environment() -> Environment:
    """The templates; every name in them is escaped."""
    made = Environment(
        loader=PackageLoader("streamer.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals |= {
        "charts": charts, "lanes": lanes, "number": number, "clock": clock, "many": many, "pictures": pictures,
        "heat_band": lru_cache(BANDS_MAX)(charts.heat_band),
        "link": link, "refused": REFUSED, "states_all": tuple(Attention), "distances_of": distances_of,
        "distance_names": DISTANCE_NAMES,
    }  # fmt: skip
    made.filters["rfc3339"] = lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}"
    made.filters["day"] = lambda at: f"{at.day} {at:%b %H:%M}"
    made.tests["instant"] = lambda value: isinstance(value, datetime)
    return made


def link(path: str, **parameters: Any) -> str:
    """The address of a view; parameters that are empty or those of a first page are left out."""
    given = {
        name: str(value)
        for name, value in parameters.items()
        if value not in ("", None) and (name, value) != ("page", 1)
    }
    return f"/{path}?{urlencode(given)}" if given else f"/{path}"


def pictures(shift: Shift, place: int = 0) -> Sequence[Any]:
    """The pictures of a shift; of the model at this place of a report."""
    of = shift.distribution
    if of is None:
        return ()
    if of.categories:
        return (charts.paired_bars(of, shift.column),)
    drawn = charts.histogram(of, shift.before, shift.after, shift.column)
    return (drawn, charts.shares_up_to(of, shift.column)) if place < PAIRS_MAX else (drawn,)


class Missing(Exception):  # noqa: N818 -- an answer, not an error
    """There is nothing of this name: the page says so, and what was probably meant."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what)
        self.name = name


@dataclass(frozen=True, slots=True)
class Page:
    """One view: `data` is JSON-able and is what `/api/v1` gives, `extra` is for the template alone."""

    template: str
    data: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)


def page_of(given: Parameters) -> int:
    """The number of the page in the URL, from 1; 1 for anything else."""
    text = given.get("page", "")
    return min(max(int(text), 1), PAGE_MAX) if text.isascii() and text.isdigit() and len(text) < 8 else 1
