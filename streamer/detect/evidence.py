"""The fields of an alert that an alarm gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from detectors.base import NO_CATEGORY, UNSEEN_CATEGORY, Alarms
from retrain.messages.alert import AlertKind
from streamer.detect.alarm import Alarm
from streamer.detect.subjects import Subjects
from streamer.events import NameTable
from streamer.references.table import Key

UNSEEN: Final = "(unseen)"  # the name in alerts for all categories that a detector does not distinguish


def evidence_of(
    alarms: Alarms, k: int, key: Key, detector: str, effect_unit: str, digest: str, categories: NameTable,
    kind: AlertKind = AlertKind.DRIFT,
) -> dict[str, Any]:  # fmt: skip
    """Alarm `k` of a detector on (model, version, column); `digest` is that of the reference, "" without one."""
    model, version, column = key
    return {
        "model_id": model,
        "model_version": version,
        "column": column,
        "detector": detector,
        "statistic": float(alarms.statistic[k]),
        "threshold": float(alarms.threshold[k]),
        "effect": float(alarms.effect[k]),
        "effect_unit": effect_unit,
        "before": float(alarms.before[k]),
        "after": float(alarms.after[k]),
        "n_reference": int(alarms.n_reference[k]),
        "n_current": int(alarms.n_current[k]),
        "reference_digest": digest,
        "kind": kind,
        "category": _category_name(int(alarms.category[k]), categories),
    }


def _category_name(category: int, categories: NameTable) -> str:
    if category == NO_CATEGORY:
        return ""
    return UNSEEN if category == UNSEEN_CATEGORY else categories.names[category]


def with_segment(alarm: Alarm, subjects: Subjects) -> Alarm:
    """The alarm with the model of its subject, and the segment as a field of its own."""
    model, segment = subjects.model_and_segment(alarm.subject) if alarm.subject >= 0 else ("", "")
    return replace(alarm, facts={**alarm.facts, "model_id": model, "segment": segment}) if segment else alarm
