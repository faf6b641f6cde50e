"""The section `page`: how people log in to the page. The file itself never holds the client's secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from streamer.errors import UsageError

CALLBACK = "/login/callback"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent to this URL."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme, parts.hostname in LOOPBACK) == ("http", True)
    )


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Login at an OpenID provider, such as Keycloak, Entra ID, Okta or Dex.

    issuer: the provider, exactly as its discovery document names itself; https, or http on loopback
    client_id: the client that is registered at the provider, with the redirect URI `<url>/login/callback`
    url: the address of the page as browsers have it, without a path; https, or http on loopback
    client_secret_env: environment variable with the client's secret; null: a public client, with PKCE alone
    scope: what the client asks for; `openid` is needed
    user_claim: the claim of the ID token that is the author of decisions
    groups_claim: the claim that lists the groups of the user; a dot leads into an object, as in `realm_access.roles`
    viewer_groups: members of any of these may look; []: everyone who can log in
    approver_groups: members of any of these may look and decide; []: nobody decides
    session_s: time after which a user logs in again, and groups are read again
    """

    issuer: str
    client_id: str
    url: str
    client_secret_env: str | None = None
    scope: str = "openid profile email"
    user_claim: str = "preferred_username"
    groups_claim: str = "groups"
    viewer_groups: list[str] = field(default_factory=list)
    approver_groups: list[str] = field(default_factory=list)
    session_s: float = 28_800.0

    def __post_init__(self) -> None:
        """Raises `ValueError` with a sentence."""
        for name in ("issuer", "url"):
            if not is_private(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}, but must be an https URL; http is for loopback.")
        if urlsplit(self.url).path.strip("/") or urlsplit(self.url).query:
            raise ValueError(f"url is {self.url!r}, but must be an address without a path.")
        for name in ("client_id", "user_claim", "groups_claim"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, but must have a name.")
        if "openid" not in self.scope.split():
            raise ValueError(f"scope is {self.scope!r}, but must hold openid: without it there is no ID token.")
        if not 60 <= self.session_s <= 30 * 86_400:
            raise ValueError(f"session_s is {self.session_s}, but must be 60 s to 30 days.")

    @property
    def callback(self) -> str:
        """The redirect URI."""
        return self.url.rstrip("/") + CALLBACK

    @property
    def is_https(self) -> bool:
        """Whether browsers send the cookie by https alone."""
        return urlsplit(self.url).scheme == "https"

    def secret(self, environ: Mapping[str, str]) -> str | None:
        """The client's secret; None for a public client. Raises `UsageError` when the variable is not set."""
        if self.client_secret_env is None:
            return None
        if not environ.get(self.client_secret_env):
            raise UsageError(
                f"page.oidc.client_secret_env: the variable {self.client_secret_env} is not set; set it to the secret "
                f"of the client {self.client_id}"
            )
        return environ[self.client_secret_env]


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Settings of the page that `driftline ui` serves.

    oidc: login at an OpenID provider; null: none, see `driftline ui --help` for others
    """

    oidc: OidcSettings | None = None
