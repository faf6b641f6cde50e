"""Writes every file of `docs/` that is generated from code: `make docs`. A test holds the table against the tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs import dashboards
from streamer import cli
from streamer.app import rights_page
from streamer.commands.console import cli_page
from streamer.config import docs as config_docs
from streamer.contracts import schemas
from streamer.page import api
from streamer.telemetry import metrics

HERE = Path(__file__).parent

# path under docs/ -> the function that gives its text
PAGES: dict[str, Callable[[], str]] = {
    "cli.md": partial(cli_page.page, cli.main),
    "configuration.md": config_docs.page,
    "dashboards.md": dashboards.page,
    "metrics.md": metrics.page,
    "rights.md": rights_page.page,
    f"schemas/{api.FILE}": api.openapi_text,
    config_docs.SCHEMA_FILE: config_docs.schema_text,
    **{
        f"../deploy/grafana/dashboards/{one.name}.json": partial(dashboards.dashboard_text, one)
        for one in dashboards.DASHBOARDS
    },
    "../deploy/kubernetes/monitoring/prometheus-rule.yaml": dashboards.rules_text,
    **{f"schemas/{contract.file}": partial(schemas.text_of, contract) for contract in schemas.CONTRACTS},
}


def main() -> None:
    """Rewrite the pages that have changed, and name them."""
    for name, page in PAGES.items():
        path, text = (HERE / name).resolve(), page()
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"rewrote {path.relative_to(HERE.resolve().parent)}")


if __name__ == "__main__":
    main()
