"""The Grafana dashboards of `deploy/grafana/dashboards`, and the page that leads from a question to a panel and a rule.

`dashboards.yml` is the table of panels. The unit and the description of a panel are those of the metric that it shows
first, in the tables of `streamer/telemetry/`. `$s` in a query stands for the selector of the dashboard's variables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from streamer.telemetry.models_page import MODEL_TABLE
from streamer.telemetry.table import EVERY

SELECTOR: Final = 'job=~"$job",instance=~"$instance"'
SPECS: Final = {spec.name: spec for spec in (*EVERY, *MODEL_TABLE)}
RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus"
UNITS: Final = {"seconds": "s", "bytes": "bytes", "ratio": "percentunit"}
WIDTH, HEIGHT = 8, 8  # of a panel; a row of the dashboard is 24 wide
VERSION: Final = 39  # of the dashboards' classic schema, which Grafana imports since 10.3


@dataclass(frozen=True)
class Panel:
    """One panel: its title, its queries with their legends, the question that it answers, and the rule that watches."""

    title: str
    queries: Sequence[tuple[str, str]]
    question: str = ""
    rule: str = ""
    unit: str = ""  # of Grafana; "": that of the first metric
    kind: str = "timeseries"  # or "stat"


@dataclass(frozen=True)
class Dashboard:
    """One dashboard: rows of panels."""

    name: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[tuple[str, str]] = field(default=())  # of its own: name, and the metric whose label it is


def _read() -> tuple[Dashboard, ...]:
    """The dashboards of the table."""
    table: dict[str, Any] = YAML(typ="safe").load(Path(__file__).with_suffix(".yml"))
    found = []
    for name, one in table.items():
        rows = [(row["title"], [_panel_of(panel) for panel in row["panels"]]) for row in one["rows"]]
        found.append(Dashboard(name, one["title"], rows, tuple(one.get("variables", {}).items())))
    return tuple(found)


def _panel_of(panel: dict[str, Any]) -> Panel:
    return Panel(**panel | {"queries": [(query["expr"], query["legend"]) for query in panel["queries"]]})


DASHBOARDS: Final = _read()


def panels() -> Iterator[tuple[Dashboard, Panel]]:
    """All panels with their dashboards."""
    return ((one, panel) for one in DASHBOARDS for _, row in one.rows for panel in row)


def metrics_in(query: str) -> list[str]:
    """The metrics of the tables that a query names, in order."""
    names = re.findall(r"\bdriftline_\w+", query)
    return [name if name in SPECS else re.sub("_(bucket|sum|count)$", "", name) for name in names]


def dashboard_text(one: Dashboard) -> str:
    """The dashboard as JSON in Grafana's classic schema."""
    found: list[dict[str, Any]] = []
    y = 0
    for title, row in one.rows:
        found.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _place(0, y, 24, 1)})
        y += 1
        for i, panel in enumerate(row):
            place = _place(i % 3 * WIDTH, y + i // 3 * HEIGHT, WIDTH, HEIGHT)
            found.append(_panel(panel) | {"gridPos": place})
        y += -(-len(row) // 3) * HEIGHT
    variables = [_label("job", "driftline_build_info"), _label("instance", 'driftline_build_info{job=~"$job"}')]
    variables += [_label(name, f"{metric}{{{SELECTOR}}}") for name, metric in one.variables]
    whole = {
        "uid": f"driftline-{one.name}",
        "title": one.title,
        "tags": ["driftline"],
        "schemaVersion": VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": []},
        "links": [
            {"type": "dashboards", "title": "Driftline", "tags": ["driftline"], "asDropdown": True, "keepTime": True},
            {"type": "link", "title": "Runbook", "url": "${base}docs/runbook.md", "targetBlank": True},
        ],
        "templating": {"list": [_DATASOURCE, *variables, _DOCS]},
        "panels": [panel | {"id": i + 1} for i, panel in enumerate(found)],
    }
    return json.dumps(whole, indent=1) + "\n"


_DATASOURCE: Final = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
_DOCS: Final = {
    "type": "textbox", "name": "base", "label": "Address of the repository, with a slash", "query": "",
    "current": {"text": "", "value": ""},
}  # fmt: skip
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def _label(name: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    return {
        "type": "query", "name": name, "datasource": _SOURCE, "definition": query, "refresh": 2, "sort": 1,
        "query": {"query": query, "refId": name}, "includeAll": True, "allValue": ".*", "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(panel: Panel) -> dict[str, Any]:
    first = next((SPECS[name] for name in metrics_in(panel.queries[0][0]) if name in SPECS), None)
    description = first.help if first else panel.question
    links = [{"title": panel.rule, "url": f"${{base}}docs/runbook.md#{panel.rule.lower()}", "targetBlank": True}]
    is_rate = "rate(" in panel.queries[0][0]
    default = UNITS.get(first.name.rpartition("_")[2], "short") if first and not is_rate else "short"
    if first and first.kind == "histogram":
        default = "s"
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": description,
        "datasource": _SOURCE,
        "links": links if panel.rule else [],
        "fieldConfig": {"defaults": {"unit": panel.unit or default, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr.replace("$s", SELECTOR), "legendFormat": legend,
             "datasource": _SOURCE}
            for i, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def rules_text() -> str:
    """The rule files of `deploy/prometheus` as one PrometheusRule, for the Prometheus operator."""
    lines = [
        "# Made of deploy/prometheus/*.yml by `make docs`, for the Prometheus operator.",
        "apiVersion: monitoring.coreos.com/v1",
        "kind: PrometheusRule",
        "metadata:",
        "  name: driftline",
        "  labels: {app.kubernetes.io/name: driftline}",
        "spec:",
        "  groups:",
    ]
    for name in ("recording", "alerts"):
        groups = (RULES / f"{name}.yml").read_text(encoding="utf-8").partition("\ngroups:\n")[2]
        lines += [f"  {line}" if line else "" for line in groups.splitlines()]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page `docs/dashboards.md`: from a question to the panel, the rule and the runbook."""
    lines = [
        "# Dashboards and rules",
        "",
        "Generated from `docs/dashboards.yml` by `make docs`, as the dashboards are.",
        "",
        "`make up` starts Prometheus at <http://localhost:9090>, Alertmanager at <http://localhost:9093> and Grafana",
        "at <http://localhost:3000> with these dashboards. To use them elsewhere, copy the files as they are; no",
        "generator and no jsonnet is needed:",
        "",
        "| file | to |",
        "|---|---|",
        "| `deploy/prometheus/recording.yml`, `deploy/prometheus/alerts.yml` | `rule_files` of Prometheus |",
        "| `deploy/prometheus/alertmanager.yml` | an example: its `route` and `inhibit_rules` go into yours |",
        "| `deploy/grafana/dashboards/*.json` | Grafana, by import or provisioning |",
        "",
        "Each dashboard has variables for the data source, the job and the instance. `base` is the address of this",
        "repository with a slash at its end, for the links to the runbook.",
        "",
        "## From a question to its answer",
        "",
        "| question | dashboard | panel | rule, with its section in the runbook |",
        "|---|---|---|---|",
    ]
    for one, panel in panels():
        if panel.question:
            rule = f"[{panel.rule}](runbook.md#{panel.rule.lower()})" if panel.rule else "-"
            lines.append(f"| {panel.question} | {one.title.removeprefix('Driftline: ')} | {panel.title} | {rule} |")
    return "\n".join(lines) + "\n"
