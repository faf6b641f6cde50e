"""Replay of a recording, without a broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from examples.demo.findings import Findings
from streamer.app import replay as app
from streamer.config import load_config
from streamer.eventlog.base import Output

HERE = Path(__file__).parent


def watch(
    config_file: str, recording: Path, progress: Callable[[int, int | None], None], reference: Path | None = None
) -> tuple[app.Summary, Findings]:
    """Replay a recording with a configuration of this folder, and with training data if given."""
    environ = {} if reference is None else {"DRIFTLINE_REFERENCES__FILE": str(reference.absolute())}
    config = load_config(str(HERE / config_file), needs=(), environ=environ)
    findings = Findings(topics=config.outputs)

    def publish(output: Output) -> None:
        findings.add(output.topic, output.value)

    return app.replay(config, [str(recording)], None, publish, progress), findings
