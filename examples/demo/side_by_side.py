"""The results of each detector on the same stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from examples.demo.findings import Findings, SharedMove
from examples.demo.fleet import Drift
from examples.demo.one_cause import span_of
from retrain.messages.alert import Alert, AlertKind

HEAD = ("detector alone", "found", "delay", "dated to within", "false", "alerts")


def side_by_side(findings: Findings, shared: Sequence[SharedMove], truth: Mapping[str, Drift]) -> Iterator[list[str]]:
    """A row a detector of drift: drifting models found, how soon and how well dated (medians over sudden drifts), and
    models that did not drift; apart from shared moves.
    """
    shared_from = min((move.first for move in shared), default=None)
    alerts = [alert for alert in findings.alerts if alert.kind is AlertKind.DRIFT]
    for detector in sorted({alert.detector for alert in alerts}):
        mine = [alert for alert in alerts if alert.detector == detector]
        first: dict[str, Alert] = {}
        for alert in mine:
            if shared_from is None or alert.onset.event_time < shared_from:
                first.setdefault(alert.model_id, alert)
        found = [model for model in first if model in truth]
        sudden = [(first[model], truth[model].began) for model in found if not truth[model].over_days]
        delays = sorted(alert.at.event_time - began for alert, began in sudden)
        errors = sorted(abs(alert.onset.event_time - began) for alert, began in sudden)
        medians = [span_of(spans[len(spans) // 2]) if spans else "" for spans in (delays, errors)]
        counts = f"{len(found)} of {len(truth)}", str(len(first) - len(found))
        yield [detector, counts[0], *medians, counts[1], f"{len(mine):,}"]
