"""What came of it, told to people: 80 columns wide, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.demo.findings import Findings
from examples.demo.fleet import DRIFTS, Drift
from examples.demo.one_cause import FLEET_UNITS, figures, minute, one_cause, span_of
from examples.demo.side_by_side import HEAD, side_by_side
from retrain.messages.incident import Incident, Move

SUBWAY_UNITS = {"gap_min": "min", "hour": "h", "prediction": "min", "error": "min"}

WIDTH = 80


def console() -> Console:
    """Plain text of 80 columns where nobody watches; colours on a terminal."""
    return Console(width=WIDTH, highlight=False, soft_wrap=False)


def tell_subway(out: Console, findings: Findings, alarms: int, left_out: int) -> None:
    """Every incident with all that moved in it, in order of time."""
    out.print()
    table = _table("model", "since", "what moved", "before → after", "effect", "retrain asked")
    incidents = [(sorted(i.columns, key=_onset), i) for i in findings.incidents.values()]
    for moves, incident in sorted(incidents, key=lambda pair: (_onset(pair[0][0]), pair[1].incident_id)):
        head = incident.model_id, _asked(findings, incident)
        for move in moves:
            table.add_row(head[0], f"{_onset(move):%Y-%m-%d}", *_moved(move, SUBWAY_UNITS), head[1])
            head = "", ""
    out.print(table)
    _tell_effects(out)
    out.print("A line is asked for once a year at most: 'not again yet' means less than a year since the last time.")
    out.print()
    out.print(_sums(findings, alarms), style="bold")
    out.print(
        "What the data say: from late 2017 the delays on Yonge-University (yu) are more often of the kinds that were "
        "slow in 2014. In March 2020 the pandemic moves the hour of the typical report on both large lines, and the "
        "frozen models are off by more than before. From 2021 trains are further apart while a delay lasts. Line 3 "
        "(srt) closed in July 2023: its model falls silent, which asks for no retrain."
    )
    out.print(f"{left_out:,} reports that name no single line ('YU/BD', bus routes) are left out.")


def tell_fleet(out: Console, findings: Findings, alarms: int, models: int) -> None:
    """Who drifted, beside the truth."""
    shared = findings.shared_moves(models)
    own = list(findings.own_moves(shared))
    truth = {drift.model: drift for drift in DRIFTS}
    out.print()
    table = _table("model", "since", "what moved", "before → after", "effect", "truth")
    for incident, move in own:
        drift = truth.get(incident.model_id)
        table.add_row(incident.model_id, minute(_onset(move)), *_moved(move, FLEET_UNITS), _truth(drift))
    out.print(table)
    _tell_effects(out)
    out.print()
    out.print(_verdict(own, findings, truth))
    beside = _table(*HEAD)
    for row in side_by_side(findings, shared, truth):
        beside.add_row(*row)
    out.print()
    out.print(beside)
    out.print(
        "bus-123 drifts in the days in which shiryaev_roberts learns what a day of its dwell times looks like.",
        style="dim",
    )
    out.print()
    for crowd in shared:
        out.print(one_cause(crowd, findings, models))
    out.print()
    out.print(_sums(findings, alarms), style="bold")


def tell_next(out: Console, folder: Path) -> None:
    """Where things are, and what to try."""
    recording = folder / "fleet.parquet"
    out.print()
    out.print(f"Every request is a file, {folder / 'requests'}/<request_id>.json; recordings are in {folder}/.")
    out.print("Try next:")
    commands = f"""\
  .venv/bin/driftline replay {recording} \\
      --config examples/demo/fleet.yaml | jq -c 'select(.type == "request")'
  .venv/bin/driftline check-config --config examples/demo/fleet.yaml
  make demo-kafka    # the same fleet through a real Kafka broker"""
    out.print(commands, style="bold", markup=False)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _tell_effects(out: Console) -> None:
    out.print(
        "Effect, when the alarm came: KS is the distance of the distributions (0 to 1), with medians before and after; "
        "sd counts standard deviations between means. '(shape)': the median stayed, the rest moved. A silence has the "
        "mean gap and the one so far.",
        style="dim",
    )


def _onset(move: Move) -> datetime:
    return move.onset.event_time


def _moved(move: Move, units: Mapping[str, str]) -> tuple[str, str, str]:
    if move.effect_unit == "s":
        before, after = figures(move.before / 3600, move.after / 3600)
        return move.column, f"{before} → {after} h", "silent"
    before, after = figures(move.before, move.after)
    unit = units.get(move.column, "")
    change = f"{before} → {after} {unit}" if before != after else f"{before} {unit} (shape)"
    effect = f"{move.effect:.1f} sd" if move.effect_unit == "sd" else f"KS {move.effect:.2f}"
    return move.column, change, effect


def _truth(drift: Drift | None) -> str:
    if drift is None:
        return "no drift"
    return f"{drift.began:%d %b}, slowly" if drift.over_days else minute(drift.began)


def _asked(findings: Findings, incident: Incident) -> str:
    days = sorted(r.requested_at for r in findings.requests.values() if r.incident_id == incident.incident_id)
    again = f" +{len(days) - 1}" if len(days) > 1 else ""
    if not days and all(move.effect_unit == "s" for move in incident.columns):
        return "-"
    return f"{days[0]:%Y-%m-%d}{again}" if days else "not again yet"


def _verdict(own: list[tuple[Incident, Move]], findings: Findings, truth: Mapping[str, Drift]) -> str:
    onset = {incident.model_id: _onset(move) for incident, move in own}
    found = truth.keys() & onset.keys()
    missed, false = sorted(truth.keys() - onset.keys()), sorted(onset.keys() - truth.keys())
    asked = len({request.model_id for request in findings.requests.values()} & found)
    off = sorted(abs(onset[model] - truth[model].began) for model in found if not truth[model].over_days)
    text = f"{len(found)} of {len(truth)} drifting models were found, and a retrain was asked for {asked} of them."
    if off:
        text += f" Sudden drifts were dated to within {span_of(off[len(off) // 2])} (median; worst {span_of(off[-1])})."
    return f"{text} Missed: {', '.join(missed) or 'none'}. False: {', '.join(false) or 'none'}."


def _sums(findings: Findings, alarms: int) -> str:
    alerts, incidents, requests = len(findings.alerts), len(findings.incidents), len(findings.requests)
    return f"{alarms:,} raw alarms became {alerts:,} alerts, {incidents:,} incidents and {requests:,} retrain requests."
