"""The report of the demo: 80 columns wide, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.demo.findings import Findings
from examples.demo.fleet import DRIFTS, Drift
from examples.demo.one_cause import FLEET_UNITS, figures, minute, one_cause, span_of
from examples.demo.retrained import Retrained
from examples.demo.side_by_side import HEAD, side_by_side
from retrain.messages.incident import Incident
from retrain.messages.shift import Shift

SUBWAY_UNITS = {"gap_min": "min", "hour": "h", "prediction": "min", "error": "min"}

WIDTH = 80


def console() -> Console:
    """A console of 80 columns, with colours on a terminal only."""
    return Console(width=WIDTH, highlight=False, soft_wrap=False)


def report_subway(out: Console, findings: Findings, alarms: int, left_out: int) -> None:
    """Every incident with all of its shifts, in order of time."""
    out.print()
    table = _table("model", "since", "what moved", "before → after", "effect", "request")
    incidents = [(sorted(i.columns, key=_onset), i) for i in findings.incidents.values()]
    for moves, incident in sorted(incidents, key=lambda pair: (_onset(pair[0][0]), pair[1].incident_id)):
        head = incident.model_id, _asked(findings, incident)
        for move in moves:
            table.add_row(head[0], f"{_onset(move):%Y-%m-%d}", *_moved(move, SUBWAY_UNITS), head[1])
            head = "", ""
    out.print(table)
    _explain_effects(out)
    out.print("Each line gets at most one request a year; 'cooldown' means that the last one is younger.")
    out.print()
    out.print(_sums(findings, alarms), style="bold")
    out.print(
        "In the data: from late 2017 the delays on Yonge-University (yu) are more often of the kinds that were "
        "slow in 2014, and from 2019 the frozen models are off by more than before. The hour of a report follows the "
        "clock, so it raises no alert. From 2021 trains are further apart while a delay lasts. Line 3 "
        "(srt) closed in July 2023: its model raises `silent`, which triggers no retrain."
    )
    out.print(f"{left_out:,} reports without a single line ('YU/BD', bus routes) are ignored.")


def report_fleet(out: Console, findings: Findings, alarms: int, models: int) -> None:
    """The drifted models, beside the simulated truth."""
    shared = findings.shared_moves(models)
    own = list(findings.own_moves(shared))
    truth = {drift.model: drift for drift in DRIFTS}
    out.print()
    table = _table("model", "since", "what moved", "before → after", "effect", "truth")
    for incident, move in own:
        drift = truth.get(incident.model_id)
        table.add_row(incident.model_id, minute(_onset(move)), *_moved(move, FLEET_UNITS), _truth(drift))
    out.print(table)
    _explain_effects(out)
    out.print()
    out.print(_verdict(own, findings, truth))
    beside = _table(*HEAD)
    for row in side_by_side(findings, shared, truth):
        beside.add_row(*row)
    out.print()
    out.print(beside)
    out.print(
        "bus-123 drifts while shiryaev_roberts learns the daily cycle of its dwell times.",
        style="dim",
    )
    out.print()
    for crowd in shared:
        out.print(one_cause(crowd, findings, models))
    out.print()
    out.print(_sums(findings, alarms), style="bold")


def report_retrained(out: Console, found: Retrained) -> None:
    """The story of the request, and the errors of both versions."""
    out.print()
    story = _table("when", "state", "said by", "version")
    story.add_row(
        minute(_time(found.request["requested_at"])), "requested", "driftline", found.request["model_version"]
    )
    for one in found.story:
        story.add_row(minute(_time(one["at"])), one["reason"], one["actor"] or "driftline", one["model_version"])
    out.print(story)
    out.print()
    mae = found.mae
    errors = _table("mean absolute error", "s")
    for name, text in (
        ("before", "before the road works"),
        ("during", f"from the drift to the release, {found.seconds_to_release / 86_400:.1f} days"),
        ("after", "retrained, from the release on"),
        ("without", "the same days without the retrain"),
    ):
        errors.add_row(text, f"{mae[name]:.0f}")
    out.print(errors)
    out.print()
    rows = found.trained["challenger"]["holdout_rows"]
    out.print(
        f"The trainer fitted on the window of the request and compared both versions on its last {rows:.0f} rows: "
        f"{found.trained['champion']['mae']:.0f} s and {found.trained['challenger']['mae']:.0f} s."
    )
    ratio, ended = mae["without"] / mae["after"], found.story[-1]["reason"]
    out.print(f"Without the retrain the error is {ratio:.1f} times as large. The request: {ended}.", style="bold")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def report_next(out: Console, folder: Path) -> None:
    """The places of the outputs, and further commands."""
    out.print()
    out.print(f"Every request is a file, {folder / 'requests'}/<request_id>.json.")
    out.print(f"Recordings and all outputs (*.jsonl) are in {folder}/.")
    out.print("Try next:")
    commands = f"""\
  .venv/bin/driftline ui {folder / "fleet.jsonl"}    # the fleet in a browser
  .venv/bin/driftline report {folder / "fleet.jsonl"} \\
      --out {folder / "fleet.html"}    # the same as one file
  .venv/bin/driftline history bus-017 {folder / "fleet.jsonl"}
  .venv/bin/driftline replay {folder}/fleet/*.parquet \\
      --config examples/demo/fleet.yaml | jq -c 'select(.type == "request")'
  .venv/bin/driftline check-config --config examples/demo/fleet.yaml
  make demo-kafka    # the same fleet through a real Kafka broker"""
    out.print(commands, style="bold", markup=False)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _explain_effects(out: Console) -> None:
    out.print(
        "KS is the distance of the distributions (0 to 1), with medians before and after; sd is the distance of means "
        "in standard deviations. Both are measured from the values since the onset. '(shape)': the median stayed, the "
        "rest moved. `silent` shows the mean gap and the current one.",
        style="dim",
    )


def _onset(move: Shift) -> datetime:
    return move.onset.event_time


def _moved(move: Shift, units: Mapping[str, str]) -> tuple[str, str, str]:
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
    return f"{days[0]:%Y-%m-%d}{again}" if days else "cooldown"


def _verdict(own: list[tuple[Incident, Shift]], findings: Findings, truth: Mapping[str, Drift]) -> str:
    onset = {incident.model_id: _onset(move) for incident, move in own}
    found = truth.keys() & onset.keys()
    missed, false = sorted(truth.keys() - onset.keys()), sorted(onset.keys() - truth.keys())
    asked = len({request.model_id for request in findings.requests.values()} & found)
    off = sorted(abs(onset[model] - truth[model].began) for model in found if not truth[model].over_days)
    text = f"{len(found)} of {len(truth)} drifting models were found, and {asked} of them got a retrain request."
    if off:
        text += f" Sudden drifts were dated to within {span_of(off[len(off) // 2])} (median; worst {span_of(off[-1])})."
    return f"{text} Missed: {', '.join(missed) or 'none'}. False: {', '.join(false) or 'none'}."


def _sums(findings: Findings, alarms: int) -> str:
    alerts, incidents, requests = len(findings.alerts), len(findings.incidents), len(findings.requests)
    return f"{alarms:,} raw alarms became {alerts:,} alerts, {incidents:,} incidents and {requests:,} retrain requests."
