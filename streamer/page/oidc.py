"""Login at an OpenID provider: the authorization code flow with PKCE, state, nonce and a verified ID token.

    any page ─► /login ─► the provider ─► /login/callback ─► a session ─► the page that was wanted

Sessions are kept in memory, so that a logout ends them at once. The cookie is the signed random name of one. The state
of a login that is under way is in the same cookie. Authlib checks tokens; secrets, codes and tokens are in no log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from secrets import token_urlsafe
from typing import Any, Final

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retrain.messages.control import Proof
from streamer.clock import Clock, SystemClock
from streamer.config.page import CALLBACK, OidcSettings, is_private
from streamer.logs import log_of
from streamer.page.access import NAME_CHARS_MAX, NOBODY, User
from streamer.page.drawing import link

log = log_of("page")

SESSIONS_MAX: Final = 10_000  # beyond, the oldest one ends
TIMEOUT_S: Final = 10.0  # of one call of the provider
LEEWAY_S: Final = 60  # between the clocks of the provider and this machine
# Signatures by a key that the provider alone holds. With HS256 the client's secret would sign, and with none nobody.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
OPEN: Final = frozenset({"/healthz", "/readyz", "/metrics", "/login", CALLBACK, "/logged-out"})
USER: Final = "driftline.user"  # of a request that has passed the gate
# What Authlib raises for a provider that is down, or whose answers are not those of one.
PROVIDER_ERRORS: Final = (httpx2.HTTPError, httpx2.InvalidURL, LookupError, RuntimeError, TypeError, ValueError)
START: Final = "/fleet"
# An address of this server: one slash, then no slash or backslash, as browsers take //host and /\host for hosts.
_OWN_PATH: Final = re.compile(r"/(?:[a-z0-9][a-z0-9._/-]*)?(?:\?[\x21-\x5b\x5d-\x7e]*)?")
_CODE: Final = re.compile(r"[a-z_]{1,50}")  # of an error of OAuth 2.0


def own_path(wanted: str) -> str:
    """The page to show after the login: `wanted` if it is one of this server, else the first page."""
    return wanted if _OWN_PATH.fullmatch(wanted) else START


class OidcLogin:
    """Logs users in, and knows who they are."""

    def __init__(
        self, settings: OidcSettings, secret: str | None, read_only: bool = False, clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self._read_only, self._clock = read_only, clock or SystemClock()
        self._sessions: dict[str, tuple[User, float]] = {}  # name -> user, and the time of its end
        self._client: Any = OAuth().register(
            "driftline",
            client_id=settings.client_id,
            client_secret=secret,
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": settings.scope, "code_challenge_method": "S256", "timeout": TIMEOUT_S,
                **({} if secret else {"token_endpoint_auth_method": "none"}),
            },
        )  # fmt: skip

    def middleware(self, key: bytes) -> list[Middleware]:
        """The cookie, signed with `key`, and the gate behind it."""
        cookie = "__Host-driftline" if self.settings.is_https else "driftline"
        return [
            Middleware(
                SessionMiddleware, secret_key=key.hex(), session_cookie=cookie, same_site="lax",
                max_age=int(self.settings.session_s), https_only=self.settings.is_https,
            ),
            Middleware(LoginGate, login=self),
        ]  # fmt: skip

    def user_of(self, session: Mapping[str, Any]) -> User:
        """The user of a session that has not ended."""
        name = str(session.get("name", ""))
        user, until_s = self._sessions.get(name, (NOBODY, 0.0))
        if user is NOBODY or self._clock.now_s() < until_s:
            return user
        del self._sessions[name]
        return NOBODY

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider."""
        request.session["next"] = own_path(request.query_params.get("next", ""))
        try:
            await self._check_provider()
            answer: Response = await self._client.authorize_redirect(request, self.settings.callback)
        except PROVIDER_ERRORS as problem:
            raise self._unreachable(problem) from None
        return answer

    async def end(self, request: Request) -> Response:
        """Take the answer of the provider, and begin a session. Raises `HTTPException` for one that is not valid."""
        wanted = own_path(str(request.session.get("next", "")))
        try:
            await self._check_provider()
            token = await self._client.authorize_access_token(
                request, leeway=LEEWAY_S,
                claims_options={
                    "iss": {"essential": True, "value": self.settings.issuer},
                    "aud": {"essential": True, "value": self.settings.client_id},
                },
            )  # fmt: skip
        except (AuthlibBaseError, JoseError) as problem:
            raise _refused(str(getattr(problem, "error", ""))) from None
        except PROVIDER_ERRORS as problem:
            raise self._unreachable(problem) from None
        if not token.get("userinfo"):
            raise _refused("no_id_token")
        user = self._user(token["userinfo"])
        self.end_session(request)
        name = token_urlsafe(32)
        self._sessions[name] = replace(user, session=name), self._clock.now_s() + self.settings.session_s
        if len(self._sessions) > SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        request.session["name"] = name
        log.info("%s has logged in as %s", user.name, "approver" if user.may_decide else "viewer")
        return RedirectResponse(wanted, 303)

    def end_session(self, request: Request) -> None:
        """End the session of a request, and empty its cookie."""
        self._sessions.pop(str(request.session.get("name", "")), None)
        request.session.clear()

    def why_not(self) -> str:
        """Why a viewer may not decide."""
        groups = self.settings.approver_groups
        return f"Only members of {' or '.join(groups)} decide." if groups else (
            "Nobody decides here: page.oidc.approver_groups is empty."
        )  # fmt: skip

    def _user(self, claims: Mapping[str, Any]) -> User:
        settings = self.settings
        name = claims.get(settings.user_claim)
        if not isinstance(name, str) or not name.strip() or len(name) > NAME_CHARS_MAX:
            raise HTTPException(403, f"The provider gives no {settings.user_claim}: see page.oidc.user_claim.")
        if settings.user_claim == "email" and claims.get("email_verified") is False:
            raise HTTPException(403, "The provider has not verified this email address.")
        groups = groups_in(claims, settings.groups_claim)
        is_approver = not groups.isdisjoint(settings.approver_groups)
        if settings.viewer_groups and not is_approver and groups.isdisjoint(settings.viewer_groups):
            log.warning("%s has logged in at the provider, but is in no group that may look", name)
            raise HTTPException(403, f"{name} is in no group that may look. Ask for one of page.oidc.viewer_groups.")
        return User(name, is_approver and not self._read_only, f"logged in at {settings.issuer}", Proof.OIDC)

    async def _check_provider(self) -> None:
        """Load the discovery document once. Raises `ValueError` for one that can't be trusted."""
        data = await self._client.load_server_metadata()
        try:
            if data.get("issuer") != self.settings.issuer:
                raise ValueError(f"it names itself {data.get('issuer')!r}: see page.oidc.issuer")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not is_private(str(data.get(name))):
                    raise ValueError(f"its {name} is no https URL")
        except ValueError:
            data.pop("_loaded_at", None)  # the next login loads it again
            raise
        offered = data.get("id_token_signing_alg_values_supported", ALGORITHMS)
        data["id_token_signing_alg_values_supported"] = [one for one in offered if one in ALGORITHMS]
        methods = data.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            self._client.client_kwargs.setdefault("token_endpoint_auth_method", "client_secret_post")

    def _unreachable(self, problem: Exception) -> HTTPException:
        # An error of httpx2 has the URL of the call, without its body; a code or secret is in neither.
        log.error("the provider %s can't be used for logins: %s", self.settings.issuer, problem)
        return HTTPException(502, "The login provider can't be used at the moment. The log of `driftline ui` says why.")


def groups_in(claims: Mapping[str, Any], path: str) -> set[str]:
    """The groups in a claim: a list, or one text. A dot in the name leads into an object."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    listed = [found] if isinstance(found, str) else found
    return {one for one in listed if isinstance(one, str)} if isinstance(listed, list) else set()


def _refused(code: str) -> HTTPException:
    shown = code if _CODE.fullmatch(code) else "not valid"
    log.warning("a login was refused: %s", shown)
    return HTTPException(403, f"The login was refused: {shown.replace('_', ' ')}. Log in again.")


class LoginGate:
    """Lets requests pass that belong to a session; all others but a few end here, so that a new page is closed too."""

    def __init__(self, app: ASGIApp, login: OidcLogin) -> None:
        self._app, self._login = app, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        path = scope["path"]
        user = scope[USER] = self._login.user_of(request.session)
        if user.name or path in OPEN or path.startswith("/static/"):
            await self._app(scope, receive, _private(send))
        elif path.startswith("/api/") or request.method != "GET":
            await JSONResponse({"error": "log in first, at /login"}, 401)(scope, receive, send)
        else:
            query = scope["query_string"].decode("latin-1")
            wanted = own_path(f"{path}?{query}" if query else path)
            await RedirectResponse(link("login", next=wanted), 303)(scope, receive, _private(send))


def _private(send: Send) -> Send:
    """No cache keeps a page that one user may see."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = [name for name, _ in message["headers"]]
            if b"cache-control" not in names:
                message["headers"] = [*message["headers"], (b"cache-control", b"private, no-store")]
        await send(message)

    return sent
