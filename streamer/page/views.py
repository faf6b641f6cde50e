"""What each page of the server shows: plain data, which the templates draw and `/api/v1` gives as JSON.

One function a view. Each reads the state of its view from the parameters of its URL, and pages on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from retrain.messages.outcome import Outcome
from retrain.messages.silence import Silence
from streamer.audit.timeline import entries
from streamer.audit.trail import Record, Trail, ids_of
from streamer.page.answers import Answers
from streamer.page.drawing import Missing, Page, Parameters, page_of
from streamer.page.model_views import column_view, entries_of, model_view
from streamer.page.reader import SORTS, Filter, ReadView
from streamer.page.request_views import WAITS, request_view
from streamer.page.rows import Attention

ROWS: Final = 25  # of a table
DAYS: Final = 14  # of a sparkline
GROUPS_MAX: Final = 40  # bands of the heat map; further models are one band
CELLS_MAX: Final = 20_000  # of the heat map
LINKS_MAX: Final = 400  # cells that are links, of a page
ENTRIES_MAX: Final = 200  # of an explanation
NOTHING: Final = Answers()  # where nobody is asked

WORDS: Final[Mapping[Attention, tuple[str, str]]] = {  # of one model, and of several
    Attention.PERSON: ("waits for a person", "wait for a person"),
    Attention.FAULT: ("data fault", "data faults"),
    Attention.INCIDENT: ("open incident", "open incidents"),
    Attention.HELD: ("held", "held"),
    Attention.ALERT: ("alert", "alerts"),
    Attention.QUIET: ("quiet", "quiet"),
}


def fleet_view(view: ReadView, given: Parameters) -> Page:
    """All models: how many are in which state, the heat map, storms on top, and a table, the most pressing first."""
    state = given.get("state", "")
    sort = given.get("sort", "state")
    wanted = Filter(
        given.get("group", ""), state if state in set(Attention) else "", given.get("name", "").strip(),
        sort if sort in SORTS else "state", page_of(given),
    )  # fmt: skip
    rows, total = view.models(wanted, ROWS)
    states, groups = view.states(), view.groups()
    data = {
        "models": sum(states.values()),
        "states": {state.value: n for state, n in states.items()},
        "groups": groups,
        "filter": wanted,
        "total": total,
        "rows": rows,
        "psi": [view.psi(row.model_id, row.shift.column, DAYS) if row.shift else [] for row in rows],
        "storms": view.holds(),
        "waiting": view.waiting(),
        "open": view.count("SELECT count(*) FROM incidents WHERE is_open"),
        "days": {kind: view.days(kind) for kind in ("alert",)},
        "newest": view.newest()["kinds"],
    }
    return Page("fleet.html", data, {"bands": _bands(view, groups), "legend": WORDS, "rows_a_page": ROWS})


def _bands(view: ReadView, groups: Mapping[str, Mapping[Attention, int]]) -> list[tuple[str, Any, Any, int]]:
    """Group, counts, cells and links of each band of the heat map; of too many, those with the most to look at."""
    loud = {name: sum(n for s, n in counts.items() if s is not Attention.QUIET) for name, counts in groups.items()}
    ranked = sorted(groups, key=lambda name: (-loud[name], name))
    left, links, found = CELLS_MAX, LINKS_MAX, []
    for group in sorted(ranked[:GROUPS_MAX]):
        cells = tuple(view.cells(group, left))
        if cells:
            found.append((group, groups[group], cells, links))
        left, links = left - len(cells), max(links - loud[group], 0)
    return found


def incidents_view(view: ReadView, given: Parameters) -> Page:
    """The incidents that are open, or those that are closed."""
    is_closed = given.get("state") == "closed"
    rows, total = view.incidents(not is_closed, ROWS, page_of(given))
    data = {"state": "closed" if is_closed else "open", "rows": rows, "total": total, "page": page_of(given)}
    return Page("incidents.html", data, {"rows_a_page": ROWS})


def requests_view(view: ReadView, given: Parameters) -> Page:
    """The requests that are open, or those that are over."""
    is_over = given.get("state") == "over"
    rows, total = view.requests(is_over, ROWS, page_of(given))
    data = {"state": "over" if is_over else "open", "rows": rows, "total": total, "page": page_of(given)}
    return Page("requests.html", data, {"rows_a_page": ROWS, "waits": WAITS})


def silences_view(view: ReadView, given: Parameters) -> Page:
    """All silences that the records hold, the latest change first."""
    active: list[Silence] = []
    ended: list[Silence] = []
    for one in view.silences():
        if one.silence is not None:
            is_over = one.reason in _ENDED or one.silence.is_over
            (ended if is_over else active).append(one.silence)
    waits = "sent" in given and all(one.silence_id != given.get("id") for one in (*active, *ended))
    return Page("silences.html", {"active": active, "ended": ended[:ROWS]}, {"waits": waits})


_ENDED: Final = frozenset({Outcome.SILENCE_ENDED, Outcome.SILENCE_EXPIRED})


def explain_view(view: ReadView, given: Parameters) -> Page:
    """The records behind an id of an alert, incident, request or silence."""
    name = given.get("id", "").strip()
    trail = view.trail_of(name) if name else None
    if trail is None or not _is_named(trail, name):
        raise Missing(f"no record has the id {name}" if name else "give an id", name)

    def wanted(record: Record) -> bool:
        return name in (
            getattr(record, "alert_id", ""), getattr(record, "incident_id", ""), getattr(record, "request_id", "")
        )  # fmt: skip

    found = entries(trail, wanted)
    return Page("explain.html", {"id": name, "entries": entries_of(found[-ENTRIES_MAX:]), "total": len(found)})


def _is_named(trail: Trail, name: str) -> bool:
    """Whether a record of the trail has this id."""
    kinds = (trail.alerts, trail.incidents, trail.requests, trail.decisions)
    return any(name in ids_of(one) for kind in kinds for one in kind)


def search_view(view: ReadView, given: Parameters) -> Page:
    """Models, columns and ids that hold a text."""
    text = given.get("q", "").strip()
    empty: Mapping[str, Any] = {"models": [], "columns": [], "ids": [], "near": [], "near_columns": []}
    return Page("search.html", {"q": text, **(view.search(text) if text else empty)})


def monitor_view(view: ReadView, _given: Parameters, known: Answers = NOTHING) -> Page:
    """Whether the monitor is well, as far as its records and the brokers tell."""
    faults, total = view.faults(ROWS)
    data = {
        **view.newest(),
        "faults": faults,
        "total": total,
        "source": known.source,
        "service": known.service,
        "service_problem": known.service_problem,
        "dead_letters": known.letters,
        "dead_letters_at": known.letters_at,
        "dead_letters_problem": known.letters_problem,
        "failing_since": known.failing_since,
    }
    behind = sum(one.behind for one in known.service.units) if known.service else 0
    return Page("monitor.html", data, {"behind": behind, "dead": sum(one.records for one in known.letters)})


VIEWS: Final[Mapping[str, Callable[[ReadView, Parameters], Page]]] = {
    "fleet": fleet_view, "model": model_view, "column": column_view, "incidents": incidents_view,
    "requests": requests_view, "request": request_view, "silences": silences_view, "explain": explain_view,
    "search": search_view, "monitor": monitor_view,
}  # fmt: skip
