"""Replay of recordings, without a broker, and its outputs as `driftline replay` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from examples.demo.findings import Findings
from streamer.app import replay as app
from streamer.commands.console.json_lines import OutputLines
from streamer.config import load_config
from streamer.eventlog.base import Output

HERE = Path(__file__).parent


def watch(
    config_file: str,
    recordings: Sequence[Path],
    results: Path,
    progress: Callable[[int, int | None], None],
    reference: Path | None = None,
) -> tuple[app.Summary, Findings]:
    """Replay recordings with a configuration of this folder, and with training data if given.

    The outputs are written to `results`, as JSON lines.
    """
    environ = {} if reference is None else {"DRIFTLINE_REFERENCES__FILE": str(reference.absolute())}
    config = load_config(str(HERE / config_file), needs=(), environ=environ)
    findings, lines = Findings(topics=config.outputs), OutputLines(config.outputs)
    with results.open("wb") as file:

        def publish(output: Output) -> None:
            findings.add(output.topic, output.value)
            file.write(lines.line_of(output) or b"")

        summary = app.replay(config, list(map(str, recordings)), None, publish, progress)
    return summary, findings
