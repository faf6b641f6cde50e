"""The names of Driftline's own topics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Where each kind of output goes. Input topics are the user's and are named by the config."""

    alerts: str = "driftline.alerts"  # detect writes it, decide reads it; one partition, because decide needs one order
    incidents: str = "driftline.incidents"  # compacted by incident_id
    requests: str = "driftline.retrain-requests"  # for training pipelines, keyed by model
    control: str = "driftline.control"  # what people and trainers say, by our commands or theirs; one partition
    watermarks: str = "driftline.watermarks"  # event time of each detect unit, read by decide; one partition
    decisions: str = "driftline.decisions"  # what became of requests, keyed by request_id
    epochs: str = "driftline.epochs"  # what has been folded; one partition, never deleted: recovery reads it all
    dead_letter_suffix: str = "-dlt"  # behind the name of a topic: where its unreadable records go

    def dead_letters(self, topic: str) -> str:
        """Where records of a topic go that can't be read."""
        return topic + self.dead_letter_suffix
