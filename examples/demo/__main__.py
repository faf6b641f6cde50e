"""`python -m examples.demo [--kafka]`: the main job, from streams to retrain requests."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from examples.demo import fleet, report, retrained, subway
from examples.demo.findings import Findings
from examples.demo.stream import DAY_MS, Stream, write_by_partition, write_recording
from examples.demo.watch import watch
from streamer.errors import DriftlineError

OUTPUT = Path("demo-output")

Report = Callable[[int, int | None], None]


@contextmanager
def step(out: Console, what: str) -> Iterator[Report]:
    """Report a step and its duration, with a bar on a terminal."""
    started_s = time.perf_counter()
    columns = (TextColumn("  {task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield progress
    out.print(f"  {what}: {time.perf_counter() - started_s:.1f} s")


def demo_subway(out: Console) -> None:
    """The recorded stream."""
    out.print("[bold]1. The Toronto subway, 2015 to 2024[/bold]")
    out.print("Four models, one for each line, fitted once, on the delay reports of 2014.")
    recording, training = OUTPUT / "subway.parquet", OUTPUT / "subway-training.parquet"
    with step(out, "fitting the models on 2014 and predicting the rest"):
        made = subway.subway()
        pq.write_table(made.training, training)
        write_recording(recording, made.streams, 7 * DAY_MS)
    with step(out, f"monitoring {sum(map(len, made.streams)):,} predictions and labels") as progress:
        summary, findings = watch("subway.yaml", [recording], OUTPUT / "subway.jsonl", progress, training)
    keep_requests(findings)
    report.report_subway(out, findings, summary.alarms, made.left_out)


def demo_fleet(out: Console, through_kafka: bool) -> tuple[Stream, Stream]:
    """The simulated stream; returns it."""
    out.print(f"[bold]{'The fleet through Kafka' if through_kafka else '2. A simulated bus fleet'}[/bold]")
    out.print(
        f"{fleet.MODELS} models, {fleet.DAYS} days, {len(fleet.DRIFTS)} of them drift; then a shared feed breaks."
    )
    with step(out, "simulating the fleet"):
        streams = fleet.fleet()
    if through_kafka:
        from examples.demo.live import watch_live

        alarms, findings = watch_live(streams, lambda what: step(out, what))
    else:
        with step(out, "recording the fleet"):
            recordings = write_by_partition(OUTPUT / "fleet", streams)
        with step(out, f"monitoring {sum(map(len, streams)):,} predictions and labels") as progress:
            summary, findings = watch("fleet.yaml", recordings, OUTPUT / "fleet.jsonl", progress)
        alarms = summary.alarms
    keep_requests(findings)
    report.report_fleet(out, findings, alarms, fleet.MODELS)
    return streams


def demo_retraining(out: Console, streams: tuple[Stream, Stream]) -> None:
    """One model of the fleet through the whole loop."""
    out.print(f"[bold]3. {retrained.MODEL} is retrained[/bold]")
    out.print("Its window goes to a trainer, a rule reviews the result, and the new version serves.")
    with step(out, "launching the trainer, reviewing, promoting and watching"):
        found = retrained.retrain(streams, OUTPUT / "retrained")
    report.report_retrained(out, found)


def keep_requests(findings: Findings) -> None:
    """Write each request to a file, as a training pipeline would receive it."""
    for request in findings.requests.values():
        text = msgspec.json.format(msgspec.json.encode(request), indent=2)
        (OUTPUT / "requests" / f"{request.request_id}.json").write_bytes(text + b"\n")


def main() -> int:
    """Run the demo; the exit code of a `DriftlineError` where one ends it."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="the fleet through a real broker on this machine")
    through_kafka = parser.parse_args().kafka
    out = report.console()
    (OUTPUT / "requests").mkdir(parents=True, exist_ok=True)
    for old in (OUTPUT / "requests").glob("*.json"):
        old.unlink()
    started_s = time.perf_counter()
    try:
        if not through_kafka:
            demo_subway(out)
            out.print()
        streams = demo_fleet(out, through_kafka)
        if not through_kafka:
            out.print()
            demo_retraining(out, streams)
    except DriftlineError as error:
        print(error.report(), file=sys.stderr)
        return error.exit_code
    report.report_next(out, OUTPUT)
    out.print(f"(Total time: {time.perf_counter() - started_s:.0f} s.)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
