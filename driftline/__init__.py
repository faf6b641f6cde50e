"""Driftline for notebooks and tests: fold tables and recordings, and look at what was found.

    replay(source, …)           the folds of the service over a file, a folder, or a table in memory
    watch(frame, …)             the same for one frame of one model, with its training data
    reference_from(frame, …)    the distributions of training data, to compare with
    class_history(frame, …)     precision, recall, F1 and calibration by class and time, and their drift
    Findings                    alerts, incidents, requests and decisions: records, tables, pictures, a report
    MemoryService, FakeTrainer  topics in memory, and a trainer, for tests of one's own pipeline

Names are imported at their first use, so that `import driftline` is quick. `docs/python.md` shows all of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from driftline.findings import Findings
    from driftline.memory_service import FakeTrainer, MemoryService
    from driftline.offline import ClassHistory, TrainingReferences, class_history, reference_from, replay, watch

__all__ = [
    "ClassHistory", "FakeTrainer", "Findings", "MemoryService", "TrainingReferences", "class_history", "reference_from",
    "replay", "watch",
]  # fmt: skip

_HOMES: Final = {
    "Findings": "driftline.findings",
    "FakeTrainer": "driftline.memory_service",
    "MemoryService": "driftline.memory_service",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    found = getattr(import_module(_HOMES.get(name, "driftline.offline")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
