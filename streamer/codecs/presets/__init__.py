"""Presets: shapes of records that tools are known to write, by name.

A shape turns the document of a record, and its headers, into canonical events: a dict, or a list of them, none for a
record that holds no event by design. It raises `Refused` for a document that is not of the tool. Fields of the topic
are read from what the shape gives, so `fields: {model_id: "=churn"}` names the model where the tool does not.

To add one: write a shape, and a line in `PRESETS`. `defaults` are settings of the topic that the preset brings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from streamer.codecs.presets import inference, streams

Shape = Callable[[Any, Mapping[str, str]], Any]


@dataclass(frozen=True, slots=True)
class Preset:
    """A known shape of records."""

    shape: Shape
    pairs: bool = False  # whether inputs and outputs come in records of their own
    reads: str = "fields"  # of the events of the shape: canonical "fields", or "flat" ones, whose rest are features
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # settings, by format


_GTFS_DESCRIPTORS: Final = {"module": "google.transit.gtfs_realtime_pb2", "message": "transit_realtime.FeedMessage"}

_SNOWPLOW_TSV: Final = {
    "columns": streams.SNOWPLOW_COLUMNS, "texts": streams.SNOWPLOW_COLUMNS, "separator": "\t", "quoted": False,
}  # fmt: skip

PRESETS: Final[Mapping[str, Preset]] = {
    "kserve-v1": Preset(inference.kserve_v1, pairs=True),
    "kserve-v2": Preset(inference.kserve_v2, pairs=True),
    "mlserver": Preset(inference.kserve_v2, pairs=True),
    "seldon": Preset(inference.seldon, pairs=True),
    "azureml": Preset(inference.azureml, pairs=True),
    "sagemaker": Preset(inference.sagemaker),
    "vertex": Preset(inference.vertex),
    "bentoml": Preset(streams.bentoml, reads="flat"),
    "cloudevents": Preset(streams.cloudevents, reads="flat"),
    "connect-json": Preset(streams.connect_json, reads="flat"),
    "debezium": Preset(streams.debezium, reads="flat"),
    "gtfs-rt": Preset(streams.gtfs_rt, defaults={"protobuf": _GTFS_DESCRIPTORS}),
    "snowplow": Preset(streams.snowplow, defaults={"csv": _SNOWPLOW_TSV}),
}
