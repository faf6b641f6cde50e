"""Records of event streams: CloudEvents, change data, feeds of vehicles, monitoring logs."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from streamer.codecs.base import Reason
from streamer.codecs.event import Refused
from streamer.codecs.presets.envelopes import cloudevent, of_type
from streamer.codecs.presets.inference import of_cloudevent

Event = dict[str, Any]

DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
_POSITION: Final = ("latitude", "longitude", "bearing", "speed", "odometer")
_NESTED: Final = (dict, list)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CELLS: Final = """
    app_id platform etl_tstamp collector_tstamp dvce_created_tstamp event event_id txn_id name_tracker v_tracker
    v_collector v_etl user_id user_ipaddress user_fingerprint domain_userid domain_sessionidx network_userid
    geo_country geo_region geo_city geo_zipcode geo_latitude geo_longitude geo_region_name ip_isp ip_organization
    ip_domain ip_netspeed page_url page_title page_referrer page_urlscheme page_urlhost page_urlport page_urlpath
    page_urlquery page_urlfragment refr_urlscheme refr_urlhost refr_urlport refr_urlpath refr_urlquery
    refr_urlfragment refr_medium refr_source refr_term mkt_medium mkt_source mkt_term mkt_content mkt_campaign
    contexts se_category se_action se_label se_property se_value unstruct_event tr_orderid tr_affiliation tr_total
    tr_tax tr_shipping tr_city tr_state tr_country ti_orderid ti_sku ti_name ti_category ti_price ti_quantity
    pp_xoffset_min pp_xoffset_max pp_yoffset_min pp_yoffset_max useragent br_name br_family br_version br_type
    br_renderengine br_lang br_features_pdf br_features_flash br_features_java br_features_director
    br_features_quicktime br_features_realplayer br_features_windowsmedia br_features_gears
    br_features_silverlight br_cookies br_colordepth br_viewwidth br_viewheight os_name os_family os_manufacturer
    os_timezone dvce_type dvce_ismobile dvce_screenwidth dvce_screenheight doc_charset doc_width doc_height
    tr_currency tr_total_base tr_tax_base tr_shipping_base ti_currency ti_price_base base_currency geo_timezone
    mkt_clickid mkt_network etl_tags dvce_sent_tstamp refr_domain_userid refr_device_tstamp derived_contexts
    domain_sessionid derived_tstamp event_vendor event_name event_format event_version event_fingerprint
    true_tstamp
"""
SNOWPLOW_COLUMNS: Final = _CELLS.split()  # of an enriched event as TSV
_SCHEMA: Final = re.compile(r"^iglu:(?:com\.|org\.|io\.)?([^/]+)/([^/]+)/jsonschema/\d+-\d+-\d+$")
_VERSIONED: Final = re.compile(r"^(unstruct_event|contexts)_(?:com_|org_|io_)?(.+?)_(\d+)$")


def cloudevents(document: Any, headers: Mapping[str, str]) -> Event | list[Event]:
    """An event in a CloudEvent, or a batch of these; id, time and subject stand for what the data lack."""
    if isinstance(document, list) and document and all(isinstance(one, dict) for one in document):
        return [_of_cloudevent(one, {}) for one in document]
    return _of_cloudevent(document, headers)


def _of_cloudevent(document: Any, headers: Mapping[str, str]) -> Event:
    attributes, data = cloudevent(document, headers)
    given = {**of_cloudevent(attributes), "model_id": attributes.get("subject")}
    return {**{name: value for name, value in given.items() if value}, **of_type(data, dict, "the data")}


def bentoml(document: Any, _: Mapping[str, str]) -> Event:
    """A line of BentoML's monitor: the logged columns beside `timestamp` and `request_id`."""
    row = dict(of_type(document, dict, "the value"))
    own = {"prediction_id": row.pop("request_id", None), "event_time": row.pop("timestamp", None)}
    return {**{name: value for name, value in own.items() if value is not None}, **row}


def connect_json(document: Any, _: Mapping[str, str]) -> Event | list[Event]:
    """JSON of Kafka Connect, with or without its schema."""
    value, schema = _with_schema(of_type(document, dict, "the value"))
    return [] if value is None else dict(of_type(_converted(value, schema), dict, "the payload"))


def debezium(document: Any, _: Mapping[str, str]) -> Event | list[Event]:
    """A change of Debezium: the row after it. Deletions and records about schemas and transactions hold no event."""
    value, schema = _with_schema(of_type(document, dict, "the value"))
    value = of_type(_converted(value, schema) if value is not None else {}, dict, "the payload")
    if "op" not in value:
        is_other = value.keys() & {"ddl", "tableChanges", "status"} or not value
        if is_other:
            return []
        # flattened by the transform ExtractNewRecordState
        is_deleted = str(value.pop("__deleted", "")).lower() == "true"
        return [] if is_deleted else value
    after = value.get("after")
    if after is None:
        return []
    row = dict(of_type(after, dict, "after"))
    source = value.get("source") if isinstance(value.get("source"), dict) else {}
    row.setdefault("event_time", source.get("ts_ms") or value.get("ts_ms"))
    return row


def gtfs_rt(document: Any, _: Mapping[str, str]) -> list[Event]:
    """A feed of GTFS-realtime, as Protobuf or in its JSON mapping: an event a vehicle or trip, a model a route.

    Entities that are deleted, or say no more than that a vehicle exists, are no events.
    """
    feed = _snake(of_type(document, dict, "the value"))
    header = feed.get("header") if isinstance(feed.get("header"), dict) else {}
    entities = feed.get("entity", [feed] if feed.keys() & {"vehicle", "trip_update"} else None)
    found = []
    for entity in of_type(entities, list, "entity"):
        if not isinstance(entity, dict) or entity.get("is_deleted") is True:
            continue
        vehicle, update = entity.get("vehicle"), entity.get("trip_update")
        if isinstance(vehicle, dict):
            found.append(_vehicle(vehicle, entity, header))
        elif isinstance(update, dict):
            found.append(_trip(update, entity, header))
    return [event for event in found if event["features"]]


def snowplow(document: Any, _: Mapping[str, str]) -> Event | list[Event]:
    """Enriched events of Snowplow, as JSON or TSV: members of the own event and of first contexts are features."""
    events = document if isinstance(document, list) else [document]
    found = [_enriched(of_type(event, dict, "the value")) for event in events]
    return found if isinstance(document, list) else found[0]


def _enriched(event: Event) -> Event:
    features: dict[str, Any] = {}
    for prefix, inner in (*_versioned(event), *_self_described(event)):
        features |= {prefix + key: one for key, one in inner.items() if not isinstance(one, dict | list)}
    names = ("geo_country", "platform", "event_name", "se_category", "se_action", "se_label", "se_value", "mkt_source")
    features |= {name: event[name] for name in names if event.get(name) is not None}
    return {
        "model_id": event.get("app_id"), "prediction_id": event.get("event_id"), "features": features,
        "event_time": event.get("derived_tstamp") or event.get("collector_tstamp"),
    }  # fmt: skip


def _versioned(event: Event) -> Iterator[tuple[str, Event]]:
    """The self-describing event and the first contexts of the JSON, with the prefixes of their features."""
    for name, value in event.items():
        match = _VERSIONED.match(name)
        inner = value[0] if isinstance(value, list) and value else value
        if match is not None and isinstance(inner, dict):
            yield "" if match[1] == "unstruct_event" else f"{match[2]}.", inner


def _self_described(event: Event) -> Iterator[tuple[str, Event]]:
    """The same of TSV, where they are JSON in texts. Raises `Refused`."""
    seen = set()
    for name in ("unstruct_event", "contexts", "derived_contexts"):
        text = event.get(name)
        try:
            inner = msgspec.json.decode(text) if isinstance(text, str) and text else None
        except (msgspec.DecodeError, RecursionError):
            raise Refused(Reason.WRONG_TYPE, f"{name} is no JSON") from None
        data = of_type(inner, dict, name).get("data") if inner is not None else None
        for one in data if isinstance(data, list) else [data]:
            described = one if isinstance(one, dict) else {}
            match = _SCHEMA.match(str(described.get("schema")))
            if match is not None and isinstance(described.get("data"), dict) and match[0] not in seen:
                seen.add(match[0])
                vendor, kind = match[1].replace(".", "_"), _CAMEL.sub("_", match[2]).lower().replace("-", "_")
                yield "" if name == "unstruct_event" else f"{vendor}_{kind}.", described["data"]


def _vehicle(part: Event, entity: Event, header: Event) -> Event:
    trip, position = _inner(part, "trip"), _inner(part, "position")
    features: Event = {name: position[name] for name in _POSITION if name in position}
    names = ("current_stop_sequence", "current_status", "congestion_level", "occupancy_status", "occupancy_percentage")
    features |= {name: part[name] for name in names if name in part}
    return _feed_event(part, trip, entity, header, features)


def _trip(part: Event, entity: Event, header: Event) -> Event:
    updates = part.get("stop_time_update") or []
    first = updates[0] if isinstance(updates, list) and updates and isinstance(updates[0], dict) else {}
    delays = {
        f"{name}_delay": _inner(first, name)["delay"]
        for name in ("arrival", "departure")
        if "delay" in _inner(first, name)
    }
    features = {**delays, "stops_ahead": len(updates) if isinstance(updates, list) else 0}
    features |= {"delay": part["delay"]} if "delay" in part else {}
    return _feed_event(part, _inner(part, "trip"), entity, header, features)


def _feed_event(part: Event, trip: Event, entity: Event, header: Event, features: Event) -> Event:
    time = part.get("timestamp") or header.get("timestamp")
    trip_features = {name: trip[name] for name in ("direction_id", "schedule_relationship") if name in trip}
    who = trip.get("trip_id") or _inner(part, "vehicle").get("id") or entity.get("id")
    return {
        "model_id": trip.get("route_id") or "(no route)", "event_time": time,
        "prediction_id": f"{who}@{time}" if who and time else None, "features": {**trip_features, **features},
    }  # fmt: skip


def _inner(part: Event, name: str) -> Event:
    found = part.get(name)
    return found if isinstance(found, dict) else {}


def _snake(value: Any) -> Any:
    """The document with names such as `tripUpdate` as `trip_update`, as the JSON mapping of Protobuf allows both."""
    if isinstance(value, dict):
        return {_snake_name(name): _snake(one) if type(one) in _NESTED else one for name, one in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value


@lru_cache(maxsize=4096)
def _snake_name(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


def _with_schema(document: Event) -> tuple[Any, Any]:
    """The payload and its schema, if the record has one."""
    if document.keys() >= {"schema", "payload"}:
        return document["payload"], document["schema"]
    return (document["payload"] if set(document) == {"payload"} else document), None


def _converted(value: Any, schema: Any) -> Any:
    """The value with decimals as numbers, by its schema, or where it has the form of a decimal with a scale."""
    if isinstance(value, dict):
        if set(value) == {"scale", "value"} and isinstance(value["value"], str):
            return _decimal(value["value"], value["scale"])
        members = schema.get("fields") if isinstance(schema, dict) else None
        by_name = (
            {one.get("field"): one for one in members if isinstance(one, dict)} if isinstance(members, list) else {}
        )
        return {name: _converted(one, by_name.get(name)) for name, one in value.items()}
    if isinstance(value, list):
        items = schema.get("items") if isinstance(schema, dict) else None
        return [_converted(one, items) for one in value]
    if isinstance(value, str) and isinstance(schema, dict) and schema.get("name") == DECIMAL:
        parameters = schema.get("parameters")
        return _decimal(value, parameters.get("scale") if isinstance(parameters, dict) else 0)
    return value


def _decimal(text: str, scale: Any) -> float:
    """A number from the bytes of its unscaled value in base64. Raises `Refused`."""
    try:
        unscaled = int.from_bytes(base64.b64decode(text, validate=True), signed=True)
        return float(unscaled) / 10.0 ** int(scale)
    except (binascii.Error, ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise Refused(Reason.WRONG_TYPE, f"{text!r:.40} with scale {scale!r:.10} is no decimal") from None
