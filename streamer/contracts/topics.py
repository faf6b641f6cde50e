"""The names of Driftline's own topics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """The topics of each kind of output. Event topics are in the section `topics`."""

    alerts: str = "driftline.alerts"  # alerts of detect, read by decide; one partition, as decide needs one order
    incidents: str = "driftline.incidents"  # incidents, compacted by incident_id
    requests: str = "driftline.retrain-requests"  # retrain requests for training pipelines, keyed by model
    control: str = "driftline.control"  # commands of people and trainers; one partition
    watermarks: str = "driftline.watermarks"  # event time of each detect unit, read by decide; one partition
    decisions: str = "driftline.decisions"  # changes of requests and silences, keyed by request_id
    epochs: str = "driftline.epochs"  # offsets and digests of epochs; a partition for each unit, kept for recovery
    dead_letter_suffix: str = "-dlt"  # suffix of the topics with unreadable records

    def dead_letters(self, topic: str) -> str:
        """The topic for unreadable records of a topic."""
        return topic + self.dead_letter_suffix
