"""Which models use which source: named in settings, told of by alerts of the source, or known by their own alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from retrain.messages.alert import Alert
from retrain.policy.rules import SOURCE_PREFIX
from retrain.policy.source_settings import SourceSettings
from retrain.state.source import Shared
from retrain.state.state import EngineState

SourcesByName = Mapping[str, SourceSettings]


@dataclass(frozen=True, slots=True)
class Users:
    """The models of each source that settings name. Holds nothing but `state`."""

    settings_of: SourcesByName
    state: EngineState
    models_max: int  # of one source

    def met(self, model_id: str) -> None:
        """Let sources know of a model that alerts, if it is not remembered already."""
        if model_id in self.state.models:
            return
        for source, shared in self.state.sources.items():
            of_source = self.settings_of.get(source.removeprefix(SOURCE_PREFIX))
            if of_source and of_source.uses(model_id):
                self._add(shared, [model_id])

    def of(self, alert: Alert) -> Shared:
        """What is known of the alert's source; its models found anew where the settings are others than they were."""
        source = self.settings_of.get(alert.model_id.removeprefix(SOURCE_PREFIX))
        if source is None:
            return Shared([])
        shared = self.state.sources.get(alert.model_id)
        if shared is None:
            shared = self.state.sources[alert.model_id] = Shared([])
        if shared.patterns != source.models:
            shared.patterns, shared.models = list(source.models), {}
            self._add(shared, [*source.named(), *(name for name in self.state.models if source.uses(name))])
        self._add(shared, [name for name in alert.models if source.uses(name)])
        return shared

    def _add(self, shared: Shared, names: Iterable[str]) -> None:
        for name in names:
            if len(shared.models) < self.models_max and not name.startswith(SOURCE_PREFIX):
                shared.models[name] = None
