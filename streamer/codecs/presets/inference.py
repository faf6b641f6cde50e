"""Records of serving stacks: requests and responses with their tensors, rows and captured payloads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any, Final

from streamer.codecs.base import Reason
from streamer.codecs.event import Refused
from streamer.codecs.presets.envelopes import cloudevent, numbered, of_type, unpacked
from streamer.codecs.tables.csv_cells import cells_of, value_of

Event = dict[str, Any]

VALUES_MAX: Final = 1_000_000  # of the tensors of one record
OUTPUT_NAMES: Final = ("prediction", "predictions", "score", "scored_labels", "output", "predict", "label")


def kserve_v1(document: Any, headers: Mapping[str, str]) -> list[Event]:
    """KServe's protocol V1: `instances` of a request, `predictions` of a response, or both."""
    attributes, data = cloudevent(document, headers)
    data = of_type(data, dict, "the payload")
    inputs, outputs = data.get("instances"), data.get("predictions")
    if isinstance(data.get("inputs"), list) and inputs is None:
        inputs = data["inputs"]
    if inputs is None and outputs is None:
        raise Refused(Reason.WRONG_TYPE, "the payload has neither instances nor predictions")
    return joined(of_cloudevent(attributes), _features_of(inputs), _predictions_of(outputs))


def kserve_v2(document: Any, headers: Mapping[str, str]) -> list[Event]:
    """The Open Inference Protocol (V2): tensors in `inputs` of a request, and in `outputs` of a response."""
    attributes, data = cloudevent(document, headers)
    data = of_type(data, dict, "the payload")
    inputs, outputs = data.get("inputs"), data.get("outputs")
    if not isinstance(inputs, list) and isinstance(data.get("request"), dict):
        inputs = data["request"].get("inputs")
    if isinstance(data.get("response"), dict):
        outputs, data = data["response"].get("outputs"), {**data, **data["response"]}
    is_request = isinstance(inputs, list)
    if not is_request and not isinstance(outputs, list):
        raise Refused(Reason.WRONG_TYPE, "the payload has neither inputs nor outputs with tensors")
    about = of_cloudevent(attributes)
    about["prediction_id"] = about.get("prediction_id") or data.get("id")
    about["model_id"] = about.get("model_id") or data.get("model_name")
    about["model_version"] = data.get("model_version") or about.get("model_version")
    features = tensor_rows(inputs) if is_request else None
    outcomes = tensor_rows(outputs) if isinstance(outputs, list) else None
    return joined(about, features, None if outcomes is None else [_outcome(row) for row in outcomes])


def seldon(document: Any, headers: Mapping[str, str]) -> list[Event]:
    """Seldon Core's request logger: `data` with names and an ndarray or tensor; or the protocol V2."""
    attributes, data = cloudevent(document, headers)
    if isinstance(document, dict) and not attributes.get("type") and "ndarray" in str(document.get("data"))[:200]:
        attributes, data = {}, document
    if isinstance(data, dict) and data.keys() & {"inputs", "outputs"}:
        return kserve_v2(document, headers)
    if isinstance(one := of_type(data, dict, "the payload").get("jsonData"), dict):
        data = {**data, "data": {"names": list(one), "ndarray": [list(one.values())]}}
    body = of_type(data.get("data"), dict, "data")
    rows = body.get("ndarray")
    if rows is None and isinstance(tensor := body.get("tensor"), dict):
        rows = _reshaped(tensor.get("values"), tensor.get("shape"))
    rows = [row if isinstance(row, list) else [row] for row in of_type(rows, list, "ndarray")]
    names = body.get("names") or [f"c{i}" for i in range(max(map(len, rows), default=0))]
    named = [dict(zip(map(str, names), row, strict=False)) for row in rows]
    about = of_cloudevent(attributes)
    about["prediction_id"] = attributes.get("requestid") or about.get("prediction_id") or _puid(data)
    about["model_id"] = about.get("model_id") or attributes.get("modelid")
    if str(attributes.get("type", "")).endswith("response"):
        return joined(about, None, [_outcome(row) for row in named])
    return joined(about, named, None)


def azureml(document: Any, headers: Mapping[str, str]) -> list[Event]:
    """The data collector of Azure ML: rows in `data`, inputs or outputs by `type`."""
    attributes, data = cloudevent(document, headers)
    if isinstance(data, dict):
        data = [data]
    rows = [of_type(row, dict, "a row of data") for row in of_type(data, list, "data")]
    where = str(attributes.get("source") or "").split("/")
    at = {name.lower(): value for name, value in pairwise(where)}
    about = {
        "model_id": at.get("onlineendpoints") or at.get("endpoints"),
        "model_version": attributes.get("modelversion") or at.get("deployments"),
        "prediction_id": attributes.get("correlationid"),
        "event_time": attributes.get("time"),
    }
    ids = [row.pop("correlationid", None) for row in rows]
    kind = str(attributes.get("type") or "").lower()
    if kind.endswith(("outputs", "response")):
        events = joined(about, None, [_outcome(row) for row in rows])
    else:
        events = joined(about, rows, None)
    return [event if own is None else {**event, "prediction_id": own} for event, own in zip(events, ids, strict=True)]


def sagemaker(document: Any, _: Mapping[str, str]) -> list[Event]:
    """Data capture of SageMaker, with payloads as CSV, JSON or base64; and ground truth for it."""
    about = of_type(document, dict, "the value").get("eventMetadata") or {}
    event = {
        "prediction_id": about.get("inferenceId") or about.get("eventId"),
        "event_time": about.get("inferenceTime"),
    }
    if isinstance(truth := document.get("groundTruthData"), dict):
        labels = payload_rows(truth)
        return [{**event, "label": _first(one)} for one in labels[:1]]
    capture = of_type(document.get("captureData"), dict, "captureData")
    ends = [capture.get(name) for name in ("endpointInput", "endpointOutput")]
    inputs, outputs = [payload_rows(one) if isinstance(one, dict) else None for one in ends]
    return joined(event, _features_of(inputs), _predictions_of(outputs))


def vertex(document: Any, _: Mapping[str, str]) -> list[Event]:
    """Request-response logging of Vertex AI: payloads as lists of JSON texts."""
    record = of_type(document, dict, "the value")
    about = {
        "model_id": record.get("deployed_model_id") or record.get("endpoint"),
        "prediction_id": record.get("request_id"),
        "event_time": record.get("logging_time"),
    }
    inputs = _within(record.get("request_payload"), "instances")
    outputs = _within(record.get("response_payload"), "predictions")
    return joined(about, _features_of(inputs), _predictions_of(outputs))


def joined(about: Event, features: Sequence[Any] | None, predictions: Sequence[Any] | None) -> list[Event]:
    """The events of rows: features and predictions of one row belong together. Raises `Refused`."""
    rows = len(features if features is not None else predictions or ())
    if features is not None and predictions is not None and len(predictions) != rows:
        raise Refused(Reason.WRONG_TYPE, f"there are {rows} inputs and {len(predictions)} outputs")
    known = {name: value for name, value in about.items() if value not in (None, "")}
    shared, prediction_id = known, known.get("prediction_id")
    events = []
    for i in range(rows):
        event = {**shared, "prediction_id": numbered(prediction_id, i, rows)}
        if features is not None:
            event["features"] = features[i]
        if predictions is not None:
            event["prediction"] = predictions[i]
        events.append(event)
    return events


def tensor_rows(tensors: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows of tensors, whose first dimension is the batch: a column each, or `name[0]`, `name[1]` of a wide one."""
    columns: dict[str, Sequence[Any]] = {}
    for tensor in tensors:
        name, data = str(of_type(tensor, dict, "a tensor").get("name")), tensor.get("data")
        flat = _reshaped(data, tensor.get("shape")) if isinstance(data, list) else None
        if flat is None:
            raise Refused(Reason.WRONG_TYPE, f"the tensor {name!r:.60} has no data in JSON")
        width = max((len(row) for row in flat if isinstance(row, list)), default=0)
        if width <= 1:
            columns[name] = [row[0] if isinstance(row, list) and row else row for row in flat]
        else:
            columns |= {f"{name}[{j}]": [row[j] for row in flat] for j in range(width)}
    rows = {len(column) for column in columns.values()}
    if len(rows) != 1:
        raise Refused(Reason.WRONG_TYPE, f"the tensors have {sorted(rows)} rows; all need the same number")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _reshaped(data: Any, shape: Any) -> list[Any]:
    """Data, flat in row-major order or nested, as rows; a row of several values is a list. Raises `Refused`."""
    flat = _flat(of_type(data, list, "the data of a tensor"))
    sizes = (
        shape if isinstance(shape, list) and shape and all(type(n) is int and n >= 0 for n in shape) else [len(data)]
    )
    width = prod(sizes[1:])
    if len(flat) != sizes[0] * width or (width == 0 and sizes[0] > len(data)):
        raise Refused(Reason.WRONG_TYPE, f"a tensor of shape {sizes} has {len(flat):,} values")
    return flat if width == 1 else [flat[i * width : (i + 1) * width] for i in range(sizes[0])]


def _flat(data: list[Any]) -> list[Any]:
    """The values of nested lists, in row-major order. Raises `Refused`."""
    while any(isinstance(one, list) for one in data):
        data = [inner for one in data for inner in (one if isinstance(one, list) else [one])]
        if len(data) > VALUES_MAX:
            raise Refused(Reason.TOO_MANY_COLUMNS, f"the tensors have more than {VALUES_MAX:,} values")
    return data


def of_cloudevent(attributes: Mapping[str, Any]) -> Event:
    """The fields that the attributes of an event give."""
    return {
        "model_id": attributes.get("inferenceservicename"),
        "prediction_id": attributes.get("id"),
        "event_time": attributes.get("time"),
    }


def _features_of(inputs: Any) -> list[Any] | None:
    """The features of instances: objects as they are, single values as lists."""
    if inputs is None:
        return None
    rows = of_type(inputs, list, "the instances")
    return [row if isinstance(row, dict) else _listed(row) for row in rows]


def _predictions_of(outputs: Any) -> list[Any] | None:
    return None if outputs is None else [_outcome(row) for row in of_type(outputs, list, "the predictions")]


def _outcome(row: Any) -> Any:
    """The prediction of a row: a value, the only value of a list or object, or the one whose name says so."""
    if isinstance(row, dict):
        if len(row) == 1:
            return _outcome(next(iter(row.values())))
        return next((_outcome(row[name]) for name in OUTPUT_NAMES if name in row), row)
    return _outcome(row[0]) if isinstance(row, list) and len(row) == 1 else row


def _listed(row: Any) -> list[Any]:
    return row if isinstance(row, list) else [row]


def _first(row: Any) -> Any:
    found = _outcome(row)
    return found[0] if isinstance(found, list) and found else found


def _puid(data: Any) -> Any:
    meta = data.get("meta") if isinstance(data, dict) else None
    return meta.get("puid") if isinstance(meta, dict) else None


def payload_rows(part: Mapping[str, Any]) -> list[Any]:
    """The rows of a captured payload: lines of CSV, or instances or predictions in JSON. Raises `Refused`."""
    data, encoding = part.get("data"), str(part.get("encoding") or "CSV").upper()
    kind = str(part.get("observedContentType") or "")
    if not isinstance(data, str):
        raise Refused(Reason.WRONG_TYPE, "the captured data is no text")
    if encoding == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Refused(Reason.WRONG_TYPE, "the captured data is no text in base64") from None
    if encoding == "JSON" or "json" in kind or data.lstrip()[:1] in ("{", "["):
        found = unpacked(data)
        if isinstance(found, str) and "\n" in found.strip():
            found = [unpacked(line) for line in found.splitlines() if line.strip()]
        if isinstance(found, dict):
            names = ("instances", "predictions", "inputs", "outputs")
            inner = next((found[name] for name in names if name in found), found)
            return inner if isinstance(inner, list) else [inner]
        return found if isinstance(found, list) else [found]
    return [[value_of(cell) for cell in line] for line in cells_of(data)]


def _within(payload: Any, name: str) -> list[Any] | None:
    """The instances or predictions of a list of JSON texts."""
    if payload is None or payload == []:  # an empty column of a table
        return None
    found: list[Any] = []
    for one in map(unpacked, _listed(payload)):
        inner = one.get(name) if isinstance(one, dict) else None
        found += inner if isinstance(inner, list) else [one]
    return found
