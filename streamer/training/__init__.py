"""Training on what Driftline asks for: the table of a request, and the report of its training.

from streamer.training import job

with job() as training:
table = training.table(holdout=0.2)
...
training.trained("8", champion={"mae": 61.0}, challenger={"mae": 48.5})
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from retrain.messages.control import ControlKind
from retrain.policy.paired import EVIDENCE, paired_evidence
from streamer.clock import SystemClock
from streamer.config import load_config
from streamer.contracts.alert_reader import Unreadable
from streamer.contracts.control_reader import COMMENT_CHARS_MAX, read_control
from streamer.errors import UsageError
from streamer.eventlog.base import Output
from streamer.eventlog.kafka.transfer import send
from streamer.events import time_of
from streamer.training.read import read_window, request_of, store_reference, write_window
from streamer.training.table import HOLDOUT, parts
from streamer.training.window import TrainingRequest, WindowOptions

REQUEST: Final = "DRIFTLINE_REQUEST"  # path of the request, or the request itself as JSON, or its id
RESULT: Final = "DRIFTLINE_RESULT"  # file to which the report goes; without it, to the control topic
CONFIG: Final = "DRIFTLINE_CONFIG"  # path of the configuration of the service
RECORDINGS: Final = "DRIFTLINE_RECORDINGS"  # recordings to read instead of the broker, with `:` between


__all__ = ["Job", "job", "parts", "read_window", "store_reference", "write_window"]


@dataclass(slots=True)
class Job:
    """One training run. It reports once: `trained`, or `failed` by an exception."""

    request: TrainingRequest
    config: str
    recordings: tuple[str, ...] = ()
    result: str = ""
    actor: str = "trainer"
    reported: bool = False
    holdout_rows: int = 0  # of the last table

    @property
    def record(self) -> Mapping[str, Any]:
        """The whole request, with its evidence."""
        found: Mapping[str, Any] = json.loads(self.request.raw)
        return found

    def table(self, holdout: float = 0.0, history: bool = False, until_now: bool = False) -> pa.Table:
        """The rows to train on; see `read_window`."""
        options = WindowOptions(history=history, until_now=until_now, holdout=holdout)
        path = self.config if self.config or not self.recordings else None
        found = read_window(self.request.raw, config=path or None, recordings=self.recordings, options=options)
        self.holdout_rows = pc.sum(found[HOLDOUT]).as_py() or 0
        return found

    def trained(
        self,
        version: str,
        champion: Mapping[str, float] | None = None,
        challenger: Mapping[str, float] | None = None,
        artifact: str = "",
        errors: tuple[Iterable[float], Iterable[float]] | None = None,
    ) -> None:
        """Report the challenger: its version, the metrics of both on the same hold-out, and where it is stored.

        errors: those of champion and challenger, 0 or more, on the same rows in order of time. Their paired sequential
            test becomes the metric `evidence` of each, which the rule `error_rate` of a review reads.

        Raises `UsageError` for a report that the service would not read, and for the version that drifted.
        """
        if version and str(version) == self.request.model_version:
            raise UsageError(f"version {version} serves already and has drifted; give the challenger one of its own")
        rows = {"holdout_rows": float(self.holdout_rows)} if self.holdout_rows and challenger else {}
        numbers = {"champion": {**(champion or {})}, "challenger": {**rows, **(challenger or {})}}
        if errors is not None:
            found = paired_evidence(*errors)
            numbers["champion"][EVIDENCE], numbers["challenger"][EVIDENCE] = found.for_champion, found.for_challenger
        comment = f"artifact: {artifact}" if artifact else ""
        self._report(ControlKind.TRAINED, comment, model_version=str(version), **numbers)

    def keep_reference(self, version: str, data: pa.Table | str | None = None) -> str:
        """Keep the training data of the challenger as the reference of its version; see `store_reference`.

        Without it, the launcher keeps the features in the windows of the request.
        """
        config = load_config(self.config or "driftline.yaml", needs=() if self.recordings else ("kafka", "topics"))
        return store_reference(self.request.raw, version, config=config, data=data, recordings=self.recordings)

    def failed(self, reason: str) -> None:
        """Report that there will be no challenger."""
        self._report(ControlKind.FAILED, reason[:COMMENT_CHARS_MAX])

    def _report(self, kind: ControlKind, comment: str, **fields: Any) -> None:
        now_ms = int(SystemClock().now_s() * 1000)
        about = {"kind": kind, "request_id": self.request.request_id, "at": time_of(now_ms), "actor": self.actor}
        value = msgspec.json.encode({**about, "comment": comment, **fields})
        if isinstance(control := read_control(value, now_ms), Unreadable):
            raise UsageError(f"{kind} of {self.request.request_id} was not reported: {control.detail}")
        if self.result:
            part = Path(f"{self.result}.part")
            part.write_bytes(value + b"\n")
            part.replace(self.result)
        else:
            config = load_config(self.config or "driftline.yaml")
            send(config.kafka.connection(), [Output(config.outputs.control, self.request.request_id.encode(), value)])
        self.reported = True


@contextmanager
def job(request: str | bytes | None = None, *, config: str | None = None, actor: str = "trainer") -> Iterator[Job]:
    """The training run of this process. An exception is reported as `failed`, with its text, and raised.

    request: its id, file or record; None: as the environment names it, which a launcher sets (`DRIFTLINE_REQUEST`)
    config: the path of the configuration of the service; None: `DRIFTLINE_CONFIG`, else `driftline.yaml`

    An end without a report is reported as `failed` too. Raises `UsageError` where there is no request.
    """
    given = request or os.environ.get(REQUEST, "")
    if not given:
        raise UsageError(f"no request is given: name it, or let the launcher set {REQUEST}")
    path = config or os.environ.get(CONFIG, "")
    recordings = tuple(filter(None, os.environ.get(RECORDINGS, "").split(":")))
    made = Job(_found(given, path, recordings), path, recordings, os.environ.get(RESULT, ""), actor)
    try:
        yield made
    except BaseException as problem:
        if not made.reported:
            made.failed(f"{type(problem).__name__}: {problem}")
        raise
    if not made.reported:
        made.failed("the training ended without a report: call trained() with the version of the challenger")
        print(f"{made.request.request_id}: reported as failed, as trained() was not called", file=sys.stderr)


def _found(given: str | bytes, path: str, recordings: tuple[str, ...]) -> TrainingRequest:
    if isinstance(given, bytes) or given.lstrip().startswith("{"):
        return TrainingRequest.of(given if isinstance(given, bytes) else given.encode())
    if Path(given).is_file():
        return TrainingRequest.of(Path(given).read_bytes().strip())
    return request_of(given, load_config(path or "driftline.yaml"), recordings)
