"""Sections that are tables: event topics by name, each with its codec; detectors by name, each with its settings.

Both follow the registries, so a codec or detector in its registry can be configured. `null` for an entry means its
defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from detectors.registry import DEFAULT, DETECTORS
from streamer.codecs import CODECS

DEFAULT_CODEC: Final = "json"


@cache
def topic_settings(codec: str) -> type:
    """The settings of a topic: those of its codec, and `codec` itself."""
    settings = CODECS[codec][0]
    return make_dataclass(
        f"{codec.capitalize()}Topic",
        [("codec", Annotated[Literal[codec], Field(description="the format of the records")], field(default=codec))],
        bases=(settings,),
        namespace={"__doc__": settings.__doc__},  # a dataclass without one gets its signature for a docstring
        frozen=True,
        slots=True,
    )


def default_detectors() -> dict[str, Any]:
    """The default detectors with their default settings."""
    return {name: DETECTORS[name].settings(**options) for name, options in DEFAULT.items()}


class TopicTable:
    """Topic name -> the settings of its codec, in the order of the file."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {codec: handler.generate_schema(topic_settings(codec)) for codec in CODECS}
        topic = core_schema.tagged_union_schema(choices, discriminator=_codec_of)
        topic_or_null = _null_means(topic_settings(DEFAULT_CODEC), topic)
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


def _codec_of(value: Any) -> Any:
    return value.get("codec", DEFAULT_CODEC) if isinstance(value, Mapping) else getattr(value, "codec", DEFAULT_CODEC)
