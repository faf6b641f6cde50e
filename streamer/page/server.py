"""The server of the page: one request a view, HTML for people and the same data as JSON under `/api/v1`.

    request ─► host, user ─► view of one snapshot ─┬► template ─► HTML
                                                   └► JSON, with an ETag that changes with the read model

Nothing is loaded from elsewhere. The one script shows local times, and no other may run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.errors import BrokerError, DriftlineError
from streamer.page.access import Access, User
from streamer.page.answers import Answers
from streamer.page.desk import Desk, confirm_view
from streamer.page.drawing import Missing, Page, Parameters, environment, link
from streamer.page.plot import picture_of
from streamer.page.progress import OTHER, PageMetrics, Progress
from streamer.page.reader import Reader, ReadView
from streamer.page.views import VIEWS, monitor_view

if TYPE_CHECKING:
    from streamer.page.oidc import OidcLogin  # an extra

BODY_BYTES_MAX: Final = 32_768  # of a form
QUERY_CHARS_MAX: Final = 8_192
FIELDS_MAX: Final = 50  # of a form or an address
ENDPOINTS: Final = frozenset({"act", "column.svg", "healthz", "readyz", "metrics", "login", "logout"})
LOGGED_OUT: Final = "You have logged out here. The provider may still know you."
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STATIC: Final[Mapping[str, str]] = {
    "tokens.css": "text/css", "page.css": "text/css", "icon.svg": "image/svg+xml",
    "times.js": "text/javascript",
}  # fmt: skip
SECURITY: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Site:
    """What one server shows, and to whom."""

    reader: Reader
    progress: Progress
    access: Access
    title: str  # of the source, such as the name of a file
    desk: Desk | None = None  # None where there is no topic to write to
    login: OidcLogin | None = None  # None where `access` alone says who asks
    answers: Callable[[], Answers] = Answers  # of the brokers
    nonce: str = field(default_factory=lambda: token_hex(8))


def app_of(site: Site) -> ASGIApp:
    """The application."""
    pages = _Pages(site)
    routes = [
        *(Route(f"/{name}", pages.html(name)) for name in VIEWS),
        *(Route(f"/api/v1/{name}", pages.json(name)) for name in VIEWS),
        Route("/column.svg", pages.picture),
        Route("/", lambda _request: RedirectResponse("/fleet")),
        Route("/act", pages.confirm, methods=["GET"]),
        Route("/act", pages.act, methods=["POST"]),
        Route("/healthz", lambda _request: PlainTextResponse("ok\n")),
        Route("/readyz", pages.ready),
        *(Route(f"/static/{name}", _static(name, kind)) for name, kind in STATIC.items()),
    ]
    login = site.login
    if login is not None:
        routes += [
            Route("/login", login.begin),
            Route("/login/callback", login.end),
            Route("/logout", pages.logout, methods=["POST"]),
            Route("/logged-out", lambda request: pages.outside(request, LOGGED_OUT, 200)),
        ]
    handlers: Mapping[Any, Any] = {
        HTTPException: pages.refused, DriftlineError: pages.unable, Exception: pages.failed,
    }  # fmt: skip
    metrics = PageMetrics(site.progress)
    routes.append(Route("/metrics", lambda _request: Response(metrics.text(), media_type=METRICS_TYPE)))
    inner = login.middleware(site.access.secret) if login is not None else []
    return _Guard(Starlette(routes=routes, middleware=inner, exception_handlers=handlers), site.access, metrics)


class _Guard:
    """Headers for the browser on every answer; foreign hosts and long addresses get none of the pages."""

    def __init__(self, app: ASGIApp, access: Access, metrics: PageMetrics) -> None:
        self._app, self._access, self._metrics = app, access, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = self._metrics.clock.monotonic_s()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                took_s = self._metrics.clock.monotonic_s() - began_s
                self._metrics.answered(_view_of(scope["path"]), message["status"], took_s)
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = None
        if len(scope["query_string"]) > QUERY_CHARS_MAX:
            refusal = PlainTextResponse("The address is too long.\n", 414)
        elif scope["query_string"].count(b"&") >= FIELDS_MAX:
            refusal = PlainTextResponse("The address has too many parameters.\n", 400)
        elif not self._access.is_host(Headers(scope=scope).get("host", "")):
            refusal = PlainTextResponse("This server answers to its own names alone, such as localhost.\n", 421)
        await (refusal or self._app)(scope, receive, guarded)


def _view_of(path: str) -> str:
    """The view of an address, its JSON included, for the metrics."""
    name = path.removeprefix("/api/v1").removeprefix("/")
    return name if name in VIEWS or name in ENDPOINTS else OTHER


class _Pages:
    """The endpoints."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._views = {**VIEWS, "monitor": self._monitor}

    def _monitor(self, view: ReadView, given: Parameters) -> Page:
        return monitor_view(view, given, self._site.answers())

    def html(self, name: str) -> Callable[[Request], Response]:
        """The endpoint of a view for people."""
        return lambda request: self._shown(request, name, self._views[name])

    def json(self, name: str) -> Callable[[Request], Response]:
        """The endpoint of a view for programs."""

        def answer(request: Request) -> Response:
            if not self._site.progress.is_loaded:
                return _json({"error": "the records are still being read"}, 503)
            asked = f"-{self._site.answers().version}" if name == "monitor" else ""
            tag = f'"{self._site.nonce}-{self._site.progress.version}{asked}"'
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"etag": tag})
            with self._site.reader.snapshot() as view:
                try:
                    return _json(self._views[name](view, _parameters(request)).data, 200, {"etag": tag})
                except Missing as missing:
                    return _json({"error": str(missing), "near": _near(view, missing.name)}, 404)

        return answer

    def picture(self, request: Request) -> Response:
        """The view of a column as a file: see `driftline plot`."""
        if not self._site.progress.is_loaded:
            raise HTTPException(503, "The records are still being read.")
        with self._site.reader.snapshot() as view:
            try:
                svg = picture_of(VIEWS["column"](view, _parameters(request)).data)
            except Missing as missing:
                raise HTTPException(404, str(missing)) from None
        return Response(svg, 200, {"content-disposition": 'attachment; filename="column.svg"'}, "image/svg+xml")

    def ready(self, _request: Request) -> Response:
        """200 once everything that was there at the start is read."""
        if self._site.progress.is_loaded:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the records are still being read\n", 503)

    def confirm(self, request: Request) -> Response:
        """What a decision will do, and the form that sends it."""
        return self._shown(request, "act", confirm_view)

    async def act(self, request: Request) -> Response:
        """Send a decision, and show the page of what it is about."""
        form = await _form(request)
        return await run_in_threadpool(self._act, request, form)

    def _act(self, request: Request, form: Parameters) -> Response:
        site, user = self._site, self._user(request)
        if not user.may_decide or site.desk is None:
            raise HTTPException(403, _why_not(site, user))
        if not site.access.is_from_own_page(request.headers, user, form.get("token", "")):
            raise HTTPException(403, "This form did not come from a page of this server. Open the page again.")
        kind = form.get("kind", "")
        try:
            with site.reader.snapshot() as view:
                name, at = site.desk.decide(view, kind, form, user)
        except Missing as missing:
            raise HTTPException(404, str(missing)) from None
        except BrokerError as problem:
            raise HTTPException(502, str(problem)) from None
        except DriftlineError as problem:
            raise HTTPException(409, str(problem)) from None
        page = "silences" if kind in ("silence", "unsilence") else "request"
        return RedirectResponse(link(page, id=name, sent=at), 303)

    async def logout(self, request: Request) -> Response:
        """End the session of a user."""
        form = await _form(request)
        if not self._site.access.is_from_own_page(request.headers, self._user(request), form.get("token", "")):
            raise HTTPException(403, "This form did not come from a page of this server. Open the page again.")
        if self._site.login is not None:
            self._site.login.end_session(request)
        return RedirectResponse("/logged-out", 303)

    def outside(self, _request: Request, what: str, status: int) -> Response:
        """What everyone may see who has not logged in."""
        html = environment().get_template("login.html").render(what=what)
        return Response(html, status, media_type="text/html")

    def refused(self, request: Request, problem: HTTPException) -> Response:
        """The page of an expected failure."""
        if request.url.path.startswith("/api/"):
            return _json({"error": problem.detail}, problem.status_code)
        if self._site.login is not None and not self._user(request).name:
            return self.outside(request, problem.detail, problem.status_code)
        return self._page(request, Page("error.html", {"what": problem.detail, "near": []}), problem.status_code)

    def unable(self, request: Request, problem: DriftlineError) -> Response:
        """The page of a record that this version can't read, until the follower has left it out."""
        return self.refused(request, HTTPException(503, str(problem)))

    def failed(self, _request: Request, _problem: Exception) -> Response:
        """The page of a bug; the log has the traceback."""
        return PlainTextResponse("An unexpected error. The log of `driftline ui` has its traceback.\n", 500)

    def _shown(self, request: Request, name: str, view_of: Callable[[ReadView, Parameters], Page]) -> Response:
        if not self._site.progress.is_loaded:
            return self._page(request, Page("loading.html", {}), 503)
        with self._site.reader.snapshot() as view:
            try:
                return self._page(request, view_of(view, _parameters(request)), 200, name, view.waiting())
            except Missing as missing:
                data = {"what": str(missing), "near": _near(view, missing.name)}
                return self._page(request, Page("error.html", data), 404, name, view.waiting())

    def _page(self, request: Request, page: Page, status: int, name: str = "", waiting: int = 0) -> Response:
        user, site = self._user(request), self._site
        given = _parameters(request)
        html = environment().get_template(page.template).render(
            page.data, **page.extra,
            progress=site.progress, user=user, title=site.title, view=name, waiting_now=waiting, asked=given,
            may_decide=user.may_decide and site.desk is not None, why_not=_why_not(site, user),
            has_login=site.login is not None,
            token=site.access.token(user), twin=f"/api/v1/{name}?{urlencode(given)}" if name in VIEWS else "",
        )  # fmt: skip
        headers = {"retry-after": "1"} if status == 503 else {}
        return Response(html, status, headers, "text/html")

    def _user(self, request: Request) -> User:
        """A header that comes twice is taken for none: one of them is not the proxy's."""
        if self._site.login is not None:
            found: User = request.scope["driftline.user"]
            return found
        headers = {name: request.headers.getlist(name) for name in request.headers}
        single = Headers({name: values[0] for name, values in headers.items() if len(values) == 1})
        return self._site.access.user_of(request.client.host if request.client else "", single)


def _why_not(site: Site, user: User) -> str:
    """Why this user may not decide, as a sentence; "" if they may."""
    if site.desk is None:
        return "These records come from a file, so there is nothing to decide here."
    if site.access.read_only:
        return "This server is read-only."
    if site.login is not None and not user.may_decide:
        return site.login.why_not()
    if not user.name:
        return f"Nobody can decide here: {user.how}."
    return "" if user.may_decide else f"Only members of {site.access.approvers} decide."


def _near(view: ReadView, name: str) -> list[str]:
    found = view.search(name) if name else {}
    names = [*found.get("models", ()), *found.get("near", ()), *found.get("ids", ())]
    return get_close_matches(name, names, 5, 0.0) if name else []


def _parameters(request: Request) -> Parameters:
    """Those of the URL; bytes that are no UTF-8 are replaced."""
    return dict(parse_qsl(request.scope["query_string"].decode("latin-1"), errors="replace"))


async def _form(request: Request) -> Parameters:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > BODY_BYTES_MAX:
            raise HTTPException(413, f"The form has more than {BODY_BYTES_MAX:,} bytes.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Send a form.")
    try:
        pairs = parse_qsl(data.decode("latin-1"), True, errors="replace", max_num_fields=FIELDS_MAX)
        return dict(pairs)
    except ValueError:
        raise HTTPException(400, "The form has too many fields.") from None


def _json(data: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(data), status, headers, "application/json")


def _static(name: str, kind: str) -> Callable[[Request], Response]:
    body = files("streamer.page").joinpath("static", name).read_bytes()
    return lambda _request: Response(body, 200, {"cache-control": "max-age=300"}, kind)
