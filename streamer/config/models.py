"""The configuration as one frozen tree with the structure of the YAML file.

The settings of a component are its own dataclass, defined, checked and documented beside its code; this file only
arranges them. Unknown keys are rejected everywhere: pydantic applies the `extra="forbid"` of a section to the
dataclasses below it. The tables of topics and of detectors follow their registries, so an entry there can be
configured; `null` means its defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema, core_schema

from detectors.delivery.absence import AbsenceSettings
from detectors.delivery.flow import FlowSettings
from detectors.profile.bank import ProfileSettings
from detectors.registry import DEFAULT, DETECTORS
from retrain.policy.settings import RetrainSettings
from retrain.policy.source_settings import SourceSettings
from streamer.codecs import CODECS
from streamer.codecs.presets import PRESETS
from streamer.config.false_alarms import FalseAlarmSettings, allotted, spans
from streamer.config.kafka import KafkaSection
from streamer.config.page import PageSettings
from streamer.contracts.topics import PREFIX, OutputTopics, names_with
from streamer.detect.monitors.shadow import ShadowSettings
from streamer.detect.settings import Cast, LabelSettings, Limits, SegmentSettings
from streamer.eventlog.history import settings_fingerprint
from streamer.launch.notify.settings import NotifySettings
from streamer.launch.settings import CallbackSettings, LaunchRule
from streamer.runtime.checkpoints.scheduler import CheckpointSettings
from streamer.runtime.epoch_size import CommitSettings

PORT_MAX: Final = 65_535
DEFAULT_FORMAT: Final = "json"
FileOrUrl = Annotated[str, MinLen(1), WithJsonSchema({"type": "string", "format": "path"})]
WatchedBy = Annotated[list[str], Field(description="names of its detectors; []: none")]
WatchedColumns = Annotated[
    dict[str, WatchedBy],
    Field(description="detectors by pattern of columns, for the models of this pattern; the first match counts"),
]
WatchTable = dict[str, WatchedColumns]
_WITHOUT_EFFECT: Final = (
    "kafka", "rekey", "references", "commit", "checkpoints", "metrics", "false_alarms", "launch", "callbacks",
    "notify", "page",
)  # fmt: skip


@cache
def topic_settings(name: str) -> type:
    """The settings of a topic: those of its format, and `format` itself."""
    settings = CODECS[name][0]
    return make_dataclass(
        f"{name.title().replace('_', '')}Topic",
        [("format", Annotated[Literal[name], Field(description="the format of the records")], field(default=name))],
        bases=(settings,),
        namespace={"__doc__": settings.__doc__},  # a dataclass without one gets its signature for a docstring
        frozen=True,
        slots=True,
    )


def default_detectors() -> dict[str, Any]:
    """The default detectors with their default settings."""
    return {name: DETECTORS[name].settings(**options) for name, options in DEFAULT.items()}


class TopicTable:
    """Topic name -> the settings of its format, in the order of the file."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(topic_settings(name)) for name in CODECS}
        one_of = core_schema.tagged_union_schema(choices, discriminator=_format_of)
        topic = core_schema.no_info_before_validator_function(_with_preset, one_of)
        topic_or_null = _null_means(topic_settings(DEFAULT_FORMAT), topic)
        return core_schema.dict_schema(core_schema.str_schema(min_length=1), topic_or_null)


class DetectorTable:
    """Detector name -> its settings, for the detectors that run."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {}
        for name, spec in DETECTORS.items():
            schema = _null_means(spec.settings, handler.generate_schema(spec.settings))
            fields[name] = core_schema.typed_dict_field(schema, required=False)
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


Topics = Annotated[dict[str, Any], TopicTable()]
Detectors = Annotated[dict[str, Any], DetectorTable()]


def _null_means(settings: type, schema: CoreSchema) -> CoreSchema:
    def default_if_null(value: Any) -> Any:
        return settings() if value is None else value

    return core_schema.no_info_after_validator_function(default_if_null, core_schema.nullable_schema(schema))


def _format_of(value: Any) -> Any:
    return value.get("format", DEFAULT_FORMAT) if isinstance(value, Mapping) else getattr(value, "format", None)


def _with_preset(value: Any) -> Any:
    """The settings of a topic with those of its preset, and with `format` for `codec`, its earlier name."""
    if not isinstance(value, Mapping):
        return value
    if "codec" in value and "format" not in value:
        value = {"format" if name == "codec" else name: setting for name, setting in value.items()}
    preset = PRESETS.get(value["preset"]) if isinstance(value.get("preset"), str) else None
    if preset is None:
        return value
    pairs: dict[str, Any] = {"pairing": {}} if preset.pairs else {}
    return {**pairs, **preset.defaults.get(_format_of(value), {}), **value}


class Section(BaseModel):
    """The common options of all sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class RetrainSection(RetrainSettings):
    """The settings of the decide fold, and the condition for the state `ready` of an alert."""

    min_events_after_onset: int = 500  # events of the new regime that a retrain needs; 1 or more
    # events of before the drift that a request names beside them; 0: none, null: as many as `min_events_after_onset`
    history_events: int | None = None

    @property
    def history(self) -> int:
        """How many events of before the drift a request names."""
        return self.min_events_after_onset if self.history_events is None else self.history_events

    def __post_init__(self) -> None:
        RetrainSettings.__post_init__(self)
        if self.history_events is not None and self.history_events < 0:
            raise ValueError(f"history_events must be 0 or more, not {self.history_events}")
        if self.min_events_after_onset < 1:
            raise ValueError(f"min_events_after_onset must be 1 or more, not {self.min_events_after_onset}")


class ReferencesSection(Section):
    """Training references: a file of `driftline reference build`, or training data in Parquet with a column model_id,
    optionally model_version, and a column of numbers or text for each feature. A path, or a URL of s3, gs or abfs.
    """

    file: FileOrUrl | None = None  # the file; without it, the first values of each column are its baseline
    url: FileOrUrl | None = None  # the store of `driftline launch`: a folder with a reference for each trained version

    @property
    def named(self) -> str | None:
        """The file if it is a URL: requests name it, as other machines can read it too."""
        return self.file if self.file is not None and "://" in self.file else None


class MetricsSection(Section):
    """The address of metrics and health checks, and the models that have metrics of their own."""

    host: Annotated[str, MinLen(1)] = "127.0.0.1"  # listening address; 0.0.0.0 in a container
    port: Annotated[int, Ge(0), Le(PORT_MAX)] = 9464  # listening port; 0: any free port
    models: Annotated[str, MinLen(1)] | None = (
        None  # models with metrics of their own, as a pattern such as `bus-*`; none by default
    )
    models_max: Annotated[int, Ge(1), Le(100_000)] = 1_000  # of them, those seen first; others are only counted


class Config(Section):
    """A whole `driftline.yaml`. Every section has defaults; `load_config` requires those that a command needs."""

    kafka: KafkaSection = KafkaSection()  # the brokers; required by commands that use Kafka
    topics: Topics = Field(default_factory=dict)  # event topics, in fold order
    # event topics that `driftline rekey` fills from topics with other keys: {events: [scores, outcomes]}
    rekey: dict[str, Annotated[list[str], Field(description="the topics with other keys")]] = Field(
        default_factory=dict
    )
    outputs: OutputTopics = OutputTopics()  # the topics that Driftline writes
    detectors: Detectors = Field(
        default_factory=default_detectors
    )  # the detectors that run instead of the default ones; `+` before all names adds them to the default ones
    watch: WatchTable = Field(
        default_factory=dict
    )  # detector assignment: patterns of models, then of columns; without a match, all detectors
    cast: dict[str, Cast] = Field(
        default_factory=dict
    )  # what columns hold, by pattern of their names; without a match, training data or the first values show it
    false_alarms: FalseAlarmSettings | None = None  # budget of false alarms; without it, `arl0` counts
    references: ReferencesSection = ReferencesSection()  # training references; without it, first values
    sources: dict[str, SourceSettings] = Field(default_factory=dict)  # feature sources and their models
    segments: dict[str, SegmentSettings] = Field(
        default_factory=dict
    )  # segments by pattern of model names; the first match counts
    retrain: RetrainSection = RetrainSection()  # conditions of a retrain request
    labels: LabelSettings = LabelSettings()  # label join and error metric
    shadow: ShadowSettings = ShadowSettings()  # comparison of versions that predict the same events
    flows: FlowSettings = FlowSettings()  # detection of missing or irregular events
    absence: AbsenceSettings = AbsenceSettings()  # detection of missing columns
    profiles: ProfileSettings = ProfileSettings()  # summaries of each column and interval
    limits: Limits = Limits()  # bounds on names from producers
    commit: CommitSettings = CommitSettings()  # commits of outputs and offsets
    checkpoints: CheckpointSettings = CheckpointSettings()  # stored state for restarts
    launch: dict[str, LaunchRule] = Field(
        default_factory=dict
    )  # what `driftline launch` does, by pattern of model names; the first match counts
    callbacks: CallbackSettings = CallbackSettings()  # signed messages to `driftline launch`
    notify: NotifySettings = NotifySettings()  # who `driftline notify` sends incidents to
    page: PageSettings = PageSettings()  # login to the page of `driftline ui`
    metrics: MetricsSection = MetricsSection()  # address of metrics and health checks

    @model_validator(mode="before")
    @classmethod
    def _named_by_prefix(cls, data: Any) -> Any:
        """With a prefix, name the outputs and the group that have no name of their own."""
        outputs = data.get("outputs") if isinstance(data, dict) else None
        if not isinstance(outputs, dict) or not isinstance(prefix := outputs.get("prefix"), str):
            return data
        named = {**data, "outputs": {**names_with(prefix), **outputs}}
        if isinstance(kafka := data.get("kafka"), dict) and (group := prefix.rstrip("._-")):
            named["kafka"] = {"group": group, **kafka}
        return named

    @property
    def rekeyed(self) -> dict[str, str]:
        """Each topic that is copied with other keys, and the event topic that it is copied to."""
        return {source: target for target, sources in self.rekey.items() for source in sources}

    @property
    def rekey_group(self) -> str:
        """The consumer group and transactional id of `driftline rekey`."""
        return f"{self.kafka.group}-rekey"

    @property
    def notify_group(self) -> str:
        """The consumer group and transactional id of `driftline notify`."""
        return f"{self.kafka.group}-notify"

    @property
    def launch_group(self) -> str:
        """The consumer group and transactional id of `driftline launch`."""
        return f"{self.kafka.group}-launch"

    @property
    def copies(self) -> bool:
        """Whether the service itself does what `driftline rekey` does."""
        return bool(self.labels.repartition and self.rekey)

    @property
    def label_topics(self) -> list[str]:
        """The topics that `labels.repartition` means; none where `rekey` names them already."""
        named = self.labels.repartition
        if self.outputs.labels in self.rekey:
            return []
        if isinstance(named, bool):
            return [topic for topic in self.topics if topic not in self.rekey][1:] if named else []
        return list(named)

    def with_copied_labels(self) -> Config:
        """The configuration whose folds read `outputs.labels` in place of the topics of `labels.repartition`."""
        if not (sources := self.label_topics):
            return self
        target, topics = self.outputs.labels, dict[str, Any]()
        for name, settings in self.topics.items():
            topics.setdefault(target if name in sources else name, settings)
        return self.model_copy(update={"topics": topics, "rekey": {**self.rekey, target: sources}})

    @property
    def watching(self) -> dict[str, Any]:
        """The running detectors with their settings, and the rates from `false_alarms`.

        Raises ValueError where a detector has no rate so low.
        """
        return allotted(self.detectors, self.false_alarms)

    @property
    def false_alarm_spans(self) -> dict[str, float]:
        """Seconds of a model's events between two false alarms, by detector; see `DetectSettings`."""
        return spans(self.detectors, self.false_alarms)

    def as_json(self) -> dict[str, Any]:
        """The configuration as plain JSON data. It holds no secret, as passwords are in files or variables."""
        return self.model_dump(mode="json")

    def with_metrics_port_of(self, worker: int) -> Config:
        """The configuration of one of several workers on a machine: each has its own port for metrics."""
        port = self.metrics.port + worker if self.metrics.port else 0
        return self.model_copy(update={"metrics": self.metrics.model_copy(update={"port": port})})

    @property
    def settings_text(self) -> str:
        """The settings that determine the outputs of the folds, as JSON that loads to the same settings.

        Addresses, paths and commit intervals have no effect on outputs; references are identified by the digest of
        their content, and by a URL, which requests name. The order of topics is the fold order, and that of detectors
        the order of alerts, so both count.
        """
        resolved = self.model_copy(update={"detectors": self.watching})
        exclude: dict[str, Any] = dict.fromkeys(_WITHOUT_EFFECT, True)
        if self.false_alarms and self.false_alarms.is_measured:  # else the resolved rates hold it
            del exclude["false_alarms"]
        if self.references.named is not None:
            exclude["references"] = {"url"}
        exclude["labels"] = {"repartition"}  # `topics` has what follows from both
        exclude["outputs"] = {"labels", "prefix"} if self.outputs.prefix == PREFIX else {"labels"}
        return json.dumps(resolved.model_dump(mode="json", exclude=exclude), separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """The fingerprint of `settings_text`; see `settings_fingerprint`."""
        return settings_fingerprint(self.settings_text)
