"""The table of launch targets. A target is a class with `settings`, the type of its section (`streamer.launch.base`).

Targets of other packages are entry points of the group `driftline.launchers`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Final

GROUP: Final = "driftline.launchers"
_HERE: Final = "streamer.launch.targets"
_OWN: Final = {
    "command": f"{_HERE}.command:Command",
    "webhook": f"{_HERE}.webhook:Webhook",
    "airflow": f"{_HERE}.airflow:Airflow",
    "kubernetes": f"{_HERE}.kubernetes:Kubernetes",
    "argo": f"{_HERE}.argo:Argo",
    "github": f"{_HERE}.github:Github",
    "azure_ml": f"{_HERE}.azure_ml:AzureMl",
    "sagemaker": f"{_HERE}.sagemaker:Sagemaker",
    "vertex": f"{_HERE}.vertex:Vertex",
    "prefect": f"{_HERE}.prefect:Prefect",
}
_ADDED: Final = {one.name: one.value for one in sorted(entry_points(group=GROUP)) if one.name not in _OWN}

# Name in `launch.<pattern>.train` -> where its class is.
TARGETS: Final[Mapping[str, str]] = MappingProxyType(_OWN | _ADDED)


@cache
def target_class(name: str) -> Any:
    """The class of a target. Raises ImportError or AttributeError for a broken one of another package."""
    module, _, attribute = TARGETS[name].partition(":")
    return getattr(import_module(module), attribute)


def settings_of(name: str) -> Any:
    """The type of a target's section."""
    return target_class(name).settings
