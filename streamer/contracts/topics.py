"""The names of Driftline's own topics."""

from __future__ import annotations

from dataclasses import dataclass, fields

PREFIX = "driftline."


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """The topics of each kind of output. Event topics are in the section `topics`."""

    prefix: str = PREFIX  # prefix of all outputs without a name below, and of dead letters; for a second service
    alerts: str = "driftline.alerts"  # alerts of detect, read by decide; one partition, as decide needs one order
    incidents: str = "driftline.incidents"  # incidents, compacted by incident_id
    requests: str = "driftline.retrain-requests"  # retrain requests for training pipelines, keyed by model
    control: str = "driftline.control"  # commands of people and trainers; one partition
    watermarks: str = "driftline.watermarks"  # event time of each detect unit, read by decide; one partition
    decisions: str = "driftline.decisions"  # changes of requests and silences, keyed by request_id
    profiles: str = "driftline.profiles"  # profiles of columns as Arrow batches, keyed by unit and interval
    labels: str = "driftline.labels"  # labels with the model as key, which the service copies: `labels.repartition`
    epochs: str = "driftline.epochs"  # offsets and digests of epochs; a partition for each unit, kept for recovery
    dead_letter_suffix: str = "-dlt"  # suffix of the topics with unreadable records

    def dead_letters(self, topic: str) -> str:
        """The topic for unreadable records of a topic. Services with another prefix may read the same topic."""
        is_shared = self.prefix != PREFIX and not topic.startswith(self.prefix)
        return f"{self.prefix if is_shared else ''}{topic}{self.dead_letter_suffix}"


def names_with(prefix: str) -> dict[str, str]:
    """The names of all outputs with another prefix than the default one, by setting."""
    defaults = {one.name: str(one.default) for one in fields(OutputTopics)}
    return {
        name: prefix + default.removeprefix(PREFIX)
        for name, default in defaults.items()
        if name != "prefix" and default.startswith(PREFIX)
    }
