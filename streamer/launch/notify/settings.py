"""The settings of `notify`: who receives incidents, and how many of them one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from streamer.errors import UsageError
from streamer.launch.base import TargetDown, Tools
from streamer.launch.targets.webhook import WebhookSettings, key_of
from streamer.logs import one_line

PLACES = ("incident_id", "model_id")  # what `link` may name


class Severity(StrEnum):
    """The label `severity` of an alert, by which Alertmanager chooses a route."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """Alertmanagers that get each incident as an alert, by their API v2.

    urls: address of each, with its path prefix if it has one; all of a cluster
    token_env: variable of the environment with a bearer token
    """

    urls: list[str]
    token_env: str | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not self.urls:
            raise ValueError("urls is empty, but must name an Alertmanager, as in urls: [http://alertmanager:9093].")
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls has {url!r}, but each must begin with http:// or https://.")


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """What `driftline notify` sends, and where to.

    alertmanager: Alertmanagers that get open incidents as alerts
    webhook: receiver of one message a change
    link: address of a page about an incident; may have {incident_id} and {model_id}
    severity: label `severity` by pattern of model names, `fleet:*` and `source:*` among them; else `warning`
    incidents_max: incidents that are sent one by one at once, the longest open; one alert stands for all others
    resend_s: time between two sends of an open incident to Alertmanager
    hold_s: time after which Alertmanager takes an incident for over that is not sent again
    """

    alertmanager: AlertmanagerSettings | None = None
    webhook: WebhookSettings | None = None
    link: str = ""
    severity: Mapping[str, Severity] = field(default_factory=dict)
    incidents_max: int = 100
    resend_s: float = 60.0
    hold_s: float = 900.0

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        if not 1 <= self.incidents_max <= 10_000:
            raise ValueError(f"incidents_max is {self.incidents_max}, but must be 1 to 10,000.")
        if not 1 <= self.resend_s <= 3600:
            raise ValueError(f"resend_s is {self.resend_s}, but must be 1 s to an hour.")
        if not 2 * self.resend_s <= self.hold_s <= 7 * 86_400:
            raise ValueError(f"hold_s is {self.hold_s}, but must be twice resend_s to 7 days.")

    def link_of(self, incident_id: str, model_id: str) -> str:
        """The link for an incident; "" without one."""
        return self.link.replace("{incident_id}", incident_id).replace("{model_id}", model_id)


def check_notify(settings: NotifySettings, tools: Tools) -> None:
    """Check that there is somebody to notify, and that the secrets are there. Raises `UsageError`."""
    if settings.alertmanager is None and settings.webhook is None:
        raise UsageError(
            "nobody is configured to notify: add `notify: {alertmanager: {urls: [http://alertmanager:9093]}}`"
        )
    try:
        if settings.webhook is not None:
            for secret in tools.secret(settings.webhook.secret_env).split():
                key_of(secret)
        if settings.alertmanager is not None and settings.alertmanager.token_env is not None:
            tools.secret(settings.alertmanager.token_env)
    except TargetDown as problem:
        raise UsageError(f"notify: {one_line(str(problem))}") from None
