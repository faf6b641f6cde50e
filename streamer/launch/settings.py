"""The settings of `launch`: for each pattern of models, what trains, reviews, releases and registers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from retrain.policy.paired import EVIDENCE, SHADOW_EVIDENCE
from streamer.errors import UsageError
from streamer.launch.base import TargetDown, Tools
from streamer.launch.targets import TARGETS, settings_of
from streamer.launch.targets.mlflow import MlflowSettings
from streamer.launch.targets.webhook import WebhookSettings
from streamer.logs import one_line

HOLDOUT_ROWS: Final = "holdout_rows"  # the metric with the number of rows of the hold-out


class Better(StrEnum):
    """Which way a metric is better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """What makes a challenger better than the champion, by metrics of both on the same hold-out. Such a challenger is
    promoted without a person, unless `retrain.approval_by_model` wants one to review it.

    better: metric -> `lower` or `higher`; all must improve
    by_min: least improvement of each, as a share of the champion's metric; 0 to 1
    holdout_min: least rows of the hold-out, which the trainer reports as the metric `holdout_rows`
    error_rate: chance of a promotion where the challenger's errors are no smaller, by the paired sequential test of the
        errors that the trainer gives or, without them, of those in shadow; above 0 and below 1; null: no test
    """

    better: Mapping[str, Better] = field(default_factory=dict)
    by_min: float = 0.0
    holdout_min: int = 0
    error_rate: float | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not self.better:
            raise ValueError("better is empty, but must name a metric, as in better: {mae: lower}.")
        if not 0 <= self.by_min <= 1:
            raise ValueError(f"by_min is {self.by_min}, but must be 0 to 1.")
        if self.holdout_min < 0:
            raise ValueError(f"holdout_min is {self.holdout_min}, but must be 0 or more.")
        if self.error_rate is not None and not 0 < self.error_rate < 1:
            raise ValueError(f"error_rate is {self.error_rate}, but must be above 0 and below 1.")


def _optional(kind: Any) -> Any:
    """A setting that may be left out; one that is no section keeps its description."""
    descriptions = [one for one in getattr(kind, "__metadata__", ()) if getattr(one, "description", None)]
    return Annotated[kind | None, *descriptions] if descriptions else kind | None


def _one_of(name: str, doc: str, choices: Mapping[str, Any]) -> type:
    """A section of which exactly one setting is given."""

    def check(self: Any) -> None:
        given = [one.name for one in fields(self) if getattr(self, one.name) is not None]
        if not given:
            first, *others = choices
            raise ValueError(f"{first} is missing; give it{' or one of ' if others else ''}{', '.join(others)}.")
        if len(given) > 1:
            raise ValueError(f"{given[1]} stands beside {given[0]}; give one of {', '.join(choices)}.")

    members = [(key, _optional(kind), field(default=None)) for key, kind in choices.items()]
    return make_dataclass(name, members, namespace={"__doc__": doc, "__post_init__": check}, frozen=True, slots=True)


TrainSection: Any = _one_of(
    "TrainSection", "The target that trains: one of these.", {name: settings_of(name) for name in TARGETS}
)
ReleaseSection: Any = _one_of("ReleaseSection", "The target of releases: one of these.", {"webhook": WebhookSettings})
RegistrySection: Any = _one_of("RegistrySection", "The model registry: one of these.", {"mlflow": MlflowSettings})


@dataclass(frozen=True, slots=True)
class LaunchRule:
    """What `driftline launch` does for the models of a pattern.

    train: target that trains; without it, somebody else does
    review: what counts as better; without it, a person decides
    release: target that a promotion calls; again after a restart, under the same id, while the promotion is watched
    registry: model registry whose aliases follow
    timeout_s: longest run; then it is cancelled and counts as failed
    running_max: runs of this pattern at once
    poll_s: time between two looks at a run
    """

    train: TrainSection | None = None
    review: ReviewSettings | None = None
    release: ReleaseSection | None = None
    registry: RegistrySection | None = None
    timeout_s: float = 86_400.0
    running_max: int = 100
    poll_s: float = 10.0

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not 1 <= self.timeout_s <= 100 * 86_400:
            raise ValueError(f"timeout_s is {self.timeout_s}, but must be 1 s to 100 days.")
        if not 1 <= self.running_max <= 100_000:
            raise ValueError(f"running_max is {self.running_max}, but must be 1 to 100,000.")
        if not 0.05 <= self.poll_s <= 3600:
            raise ValueError(f"poll_s is {self.poll_s}, but must be 0.05 s to an hour.")


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """Signed messages by HTTP to `driftline launch`: reports of trainers, and hints that a run has changed.

    secret_env: variable of the environment with the secret, `whsec_` and base64, or several with spaces between; null:
        nothing listens
    host: listening address
    port: listening port; 0: any free port
    """

    secret_env: str | None = None
    host: str = "127.0.0.1"
    port: int = 9467

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port is {self.port}, but must be 0 to 65,535.")


def chosen(section: Any) -> tuple[str, Any]:
    """The name and the settings of what a section names."""
    return next((one.name, got) for one in fields(section) if (got := getattr(section, one.name)) is not None)


def verdict(rule: ReviewSettings, champion: Mapping[str, float], challenger: Mapping[str, float]) -> tuple[bool, str]:
    """Whether the challenger is better by this rule, and why, for people.

    An improvement is relative to the champion's metric. Where that is 0, only a `by_min` of 0 can be met.
    """
    if (against := champion.get(SHADOW_EVIDENCE)) is not None:
        return False, f"not better: of both on the same events, the champion has the smaller errors ({against:.3g}:1)"
    rows = challenger.get(HOLDOUT_ROWS, champion.get(HOLDOUT_ROWS, 0.0))
    if rows < rule.holdout_min:
        return False, f"not judged: the hold-out has {rows:.0f} rows, and holdout_min is {rule.holdout_min}"
    found = []
    for name, way in rule.better.items():
        if name not in champion or name not in challenger:
            return False, f"not judged: the trainer has not reported {name} of both"
        before, after = champion[name], challenger[name]
        gain = before - after if way == Better.LOWER else after - before
        if not gain > 0 or gain < rule.by_min * abs(before) or (before == 0 and rule.by_min > 0):
            return False, f"not better: {name} {before:g} to {after:g}, and by_min is {rule.by_min:g}"
        found.append(f"{name} {before:g} to {after:g}")
    if rule.error_rate is not None:
        live, needed = "" if EVIDENCE in challenger else " in shadow", 1 / rule.error_rate
        evidence = challenger.get(EVIDENCE, challenger.get(SHADOW_EVIDENCE))
        if evidence is None:
            return False, "not judged: error_rate needs paired errors, of the trainer or of versions in shadow"
        if not evidence >= needed:
            return (
                False,
                f"not certain: the evidence is {evidence:.3g}, and error_rate needs {needed:.3g}",
            )
        found.append(f"evidence {evidence:.3g}{live}")
    where = f" on {rows:.0f} rows" if rows else ""
    return True, f"better{where}: {', '.join(found)}"


def check_launch(rules: dict[str, LaunchRule], tools: Tools) -> None:
    """Check that there is something to launch, and that its secrets are there. Raises `UsageError`."""
    if not rules:
        raise UsageError('nothing is configured to launch: add `launch: {"*": {train: {command: [python, train.py]}}}`')
    for pattern, rule in rules.items():
        for section in filter(None, (rule.train, rule.release, rule.registry)):
            name, settings = chosen(section)
            for setting in [one for one in getattr(settings, "__slots__", ()) if one.endswith("_env")]:
                variable = getattr(settings, setting)
                try:
                    if variable is not None:
                        tools.secret(variable)
                except TargetDown as problem:
                    raise UsageError(f"launch.{pattern}: {name}.{setting}: {one_line(str(problem))}") from None
