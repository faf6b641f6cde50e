"""Metrics by model: a level that a setting switches on, as text of its own behind the page of all other metrics.

Objects of prometheus-client for 16,000 models take half a second to write out. Here one snapshot of arrays becomes
text in one pass, once for each snapshot, and a scrape sends it. The loop hands over arrays and waits for no scrape.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import make_wsgi_app

from retrain.messages.patterns import matches
from streamer.runtime.fold import ModelFacts
from streamer.telemetry.table import COUNTER, GAUGE, Spec

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

MODEL_TABLE: Final = (
    Spec(
        "driftline_model_events_total",
        COUNTER,
        "Events of the model, on all its partitions here.",
        ("model",),
        "events",
    ),
    Spec(
        "driftline_model_errors_total",
        COUNTER,
        "Predictions whose error is known, since this process began.",
        ("model",),
        "errors",
    ),
    Spec(
        "driftline_model_error_sum_total",
        COUNTER,
        "The sum of these errors: its rate over that of their number is the mean error.",
        ("model",),
        "error_sum",
    ),
    Spec("driftline_model_alerts_firing", GAUGE, "Alerts of the model that have not resolved.", ("model",), "firing"),
    Spec(
        "driftline_model_effect",
        GAUGE,
        "The largest shift among these alerts, as a distance from 0 to 1; 0 without an alert.",
        ("model",),
        "effect",
    ),
)
END: Final = b"# EOF\n"  # of a page in the format of OpenMetrics
DECIMALS: Final = 6  # of shifts and errors: fewer digits take less time to compress
FAST: Final = 1  # level of compression: a higher one takes longer than the network


@dataclass(frozen=True, slots=True)
class _Snapshot:
    names: tuple[str, ...]
    values: Mapping[str, list[Any]]  # by `shows`


class ModelsPage:
    """The metrics of the models that a pattern names, at most `models_max`."""

    def __init__(self, pattern: str, models_max: int) -> None:
        self._pattern = pattern
        self._models_max = models_max
        self._fits: dict[str, bool] = {}  # model -> whether the pattern names it; of the models that are there
        self._snapshot = _Snapshot((), {spec.shows: [] for spec in MODEL_TABLE})
        self._written: tuple[_Snapshot, dict[bool, bytes], dict[bool, bytes]] | None = None
        self._prefixes: tuple[tuple[str, ...], list[list[bytes]]] = ((), [[] for _ in MODEL_TABLE])
        self.hidden = 0  # models beyond `models_max`

    def update(self, facts: Sequence[ModelFacts]) -> None:
        """Take a new snapshot of all folds of the process. What several of them know of a model adds up."""
        names = [name for one in facts for name in one.names]
        self._fits = {name: self._fits.get(name) or matches(name, self._pattern) for name in names}
        there = [name for name, fits in self._fits.items() if fits]
        before = [name for name in self._snapshot.names if self._fits.get(name)]
        chosen = tuple(dict.fromkeys([*before, *there]))[: self._models_max]
        self.hidden = len(there) - len(chosen)
        place = {name: i for i, name in enumerate(chosen)}
        at = np.array([place.get(name, -1) for name in names], np.int64)
        values = {spec.shows: _joined(spec.shows, facts, at, len(chosen)) for spec in MODEL_TABLE}
        self._snapshot = _Snapshot(chosen, values)

    def text(self, openmetrics: bool = False) -> bytes:
        """The lines of the last snapshot."""
        return self._pages()[0][openmetrics]

    def compressed(self, openmetrics: bool = False) -> bytes:
        """The same as a member of a gzip file; members may follow each other (RFC 1952, 2.2)."""
        text, packed = self._pages()
        if openmetrics not in packed:
            packed[openmetrics] = gzip.compress(text[openmetrics], FAST)
        return packed[openmetrics]

    def _pages(self) -> tuple[dict[bool, bytes], dict[bool, bytes]]:
        """Text and compressed text of the last snapshot, by format; written when the first scrape asks for it."""
        snapshot, written = self._snapshot, self._written
        if written is None or written[0] is not snapshot:
            lines = self._lines(snapshot)
            text = {kind: b"".join(_head(spec, kind) + body for spec, body in lines) for kind in (False, True)}
            self._written = written = snapshot, text, {}
        return written[1], written[2]

    def _lines(self, snapshot: _Snapshot) -> list[tuple[Spec, bytes]]:
        names, prefixes = self._prefixes
        if names != snapshot.names:
            labels = [_escaped(name) for name in snapshot.names]
            prefixes = [[f'\n{spec.name}{{model="{label}"}} '.encode() for label in labels] for spec in MODEL_TABLE]
            self._prefixes = snapshot.names, prefixes
        lines = []
        for spec, of_spec in zip(MODEL_TABLE, prefixes, strict=True):
            numbers = msgspec.json.encode(snapshot.values[spec.shows])[1:-1].split(b",")
            lines.append((spec, b"".join(chain.from_iterable(zip(of_spec, numbers, strict=False))) + b"\n"))
        return lines


def _joined(what: str, facts: Sequence[ModelFacts], at: Any, n: int) -> list[Any]:
    """The values of `n` models from all folds; `at` is the place of each name of these, -1 for none."""
    values = np.concatenate([getattr(one, what) for one in facts] or [np.zeros(0)])
    joined = np.zeros(n, values.dtype)
    (np.maximum if what == "effect" else np.add).at(joined, at[at >= 0], values[at >= 0])
    numbers: list[Any] = (np.round(joined, DECIMALS) if what in {"effect", "error_sum"} else joined).tolist()
    return numbers


def _head(spec: Spec, openmetrics: bool) -> bytes:
    name = spec.name.removesuffix("_total") if openmetrics else spec.name
    return f"# HELP {name} {spec.help}\n# TYPE {name} {spec.kind.value}".encode()


def _escaped(name: str) -> str:
    return name.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def metrics_app(registry: CollectorRegistry, models: ModelsPage | None) -> WSGIApplication:
    """The page of the registry and behind it that of models, in the format and compression that a client asks for."""
    plain = make_wsgi_app(registry)
    if models is None:
        return plain

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer: list[Any] = []

        def capture(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            answer.extend((status, headers))

        body = b"".join(plain({**environ, "HTTP_ACCEPT_ENCODING": ""}, capture))
        status, headers = answer
        if (
            not status.startswith("200")
            or "name%5B%5D" in environ["QUERY_STRING"]
            or "name[]" in environ["QUERY_STRING"]
        ):
            start_response(status, headers)
            return [body]
        is_open = body.endswith(END)
        parts = body.removesuffix(END), END if is_open else b""
        if "gzip" not in environ.get("HTTP_ACCEPT_ENCODING", ""):
            start_response(status, headers)
            return [parts[0], models.text(is_open), parts[1]]
        start_response(status, [*headers, ("Content-Encoding", "gzip")])
        packed = [gzip.compress(part, FAST) for part in parts]
        return [packed[0], models.compressed(is_open), packed[1]]

    return application
