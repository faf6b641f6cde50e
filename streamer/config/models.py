"""The configuration as one frozen tree that mirrors the YAML.

Settings of a component are the component's own dataclass, so that they are defined, checked and explained beside the
code that obeys them; this file only says where each of them stands. Unknown keys are rejected everywhere: pydantic
hands the `extra="forbid"` of a section down to the dataclasses below it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Final

from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from detectors.delivery.absence import AbsenceSettings
from detectors.delivery.flow import FlowSettings
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.checkpoints.scheduler import CheckpointSettings
from streamer.config.false_alarms import FalseAlarmSettings, allotted
from streamer.config.kafka import KafkaSection
from streamer.config.tables import Detectors, Topics, default_detectors
from streamer.contracts.topics import OutputTopics
from streamer.detect.settings import LabelSettings, Limits, SegmentSettings
from streamer.runtime.loop import CommitSettings

PORT_MAX: Final = 65_535
FileOrUrl = Annotated[str, MinLen(1), WithJsonSchema({"type": "string", "format": "path"})]
WatchedBy = Annotated[list[str], Field(description="its detectors, by name; []: none. Else all of them")]
WatchedColumns = Annotated[
    dict[str, WatchedBy], Field(description="by pattern of columns, the first that fits; for models that fit")
]
WatchTable = dict[str, WatchedColumns]
_WITHOUT_EFFECT: Final = {"kafka", "references", "commit", "checkpoints", "metrics", "false_alarms"}


class Section(BaseModel):
    """What all sections have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class RetrainSection(RetrainSettings):
    """The decide fold's settings, and when the detect fold calls an alert ready."""

    min_events_after_onset: int = 500  # events of the new regime that it takes to retrain on; 1 or more

    def __post_init__(self) -> None:
        RetrainSettings.__post_init__(self)
        if self.min_events_after_onset < 1:
            raise ValueError(f"min_events_after_onset must be 1 or more, not {self.min_events_after_onset}")


class ReferencesSection(Section):
    """Training-time distributions: a file of `driftline reference build`, or Parquet of training data with a column
    model_id, optionally model_version, and one column of numbers or text a feature. A path, or a URL of s3, gs or abfs.
    """

    file: FileOrUrl | None = None  # what to compare with; without it, the first events of each column


class MetricsSection(Section):
    """Where Prometheus and health checks find us."""

    host: Annotated[str, MinLen(1)] = "127.0.0.1"  # address to listen on; 0.0.0.0 in a container
    port: Annotated[int, Ge(0), Le(PORT_MAX)] = 9464  # 0 picks a free one


class Config(Section):
    """A whole `driftline.yaml`. Every section has defaults; `load_config` insists on those a command needs."""

    kafka: KafkaSection = KafkaSection()  # the brokers; needed by all that talks to Kafka
    topics: Topics = Field(default_factory=dict)  # event topics, in the order of folding
    outputs: OutputTopics = OutputTopics()  # the topics Driftline writes
    detectors: Detectors = Field(default_factory=default_detectors)  # those that run; else shiryaev_roberts and rate
    watch: WatchTable = Field(default_factory=dict)  # which detectors watch which column; without it, all of them do
    false_alarms: FalseAlarmSettings | None = None  # how many all models together may raise; without it, `arl0` says
    references: ReferencesSection = ReferencesSection()  # training data to compare with; without it, the first events
    sources: dict[str, SourceSettings] = Field(default_factory=dict)  # feature sources and the models that use them
    segments: dict[str, SegmentSettings] = Field(default_factory=dict)  # by pattern of model names; the first that fits
    retrain: RetrainSection = RetrainSection()  # when drift is worth a retrain request
    labels: LabelSettings = LabelSettings()  # how long predictions wait for their labels
    flows: FlowSettings = FlowSettings()  # when it is told that events stop coming, or come at another rate
    absence: AbsenceSettings = AbsenceSettings()  # when it is told that events no longer carry a column
    limits: Limits = Limits()  # bounds on what producers can make us remember
    commit: CommitSettings = CommitSettings()  # how often outputs and progress are made durable
    checkpoints: CheckpointSettings = CheckpointSettings()  # where state is kept, for a restart
    metrics: MetricsSection = MetricsSection()  # where Prometheus and health checks find us

    @property
    def watching(self) -> dict[str, Any]:
        """The detectors that run with their settings, the rates of false alarms among them as `false_alarms` has it.

        ValueError where a detector can't keep the rate.
        """
        return allotted(self.detectors, self.false_alarms)

    def as_json(self) -> dict[str, Any]:
        """The configuration as plain JSON data. It holds no secret: passwords are named by file or variable only."""
        return self.model_dump(mode="json")

    def with_metrics_port_of(self, worker: int) -> Config:
        """The same for one of several workers on this machine: each serves metrics at a port of its own."""
        port = self.metrics.port + worker if self.metrics.port else 0
        return self.model_copy(update={"metrics": self.metrics.model_copy(update={"port": port})})

    @property
    def settings_text(self) -> str:
        """All that decides what the folds make of the same records, as JSON that makes the same settings again.

        Where the brokers, the metrics and the reference file are changes nothing, nor does how often we commit;
        references are known by the digest of their content. The order of topics is the order of folding, and that of
        detectors the order of alerts, so both count.
        """
        resolved = self.model_copy(update={"detectors": self.watching})
        return json.dumps(resolved.model_dump(mode="json", exclude=_WITHOUT_EFFECT), separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """32 hex digits (blake2b-128) of `settings_text`."""
        return blake2b(self.settings_text.encode(), digest_size=16).hexdigest()
