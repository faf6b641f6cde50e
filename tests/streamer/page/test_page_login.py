"""Login at an OpenID provider: real requests between a browser, the page and a provider that signs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from oidc_kit import CLIENT, SECRET, Provider, Visitor, provider
from page_kit import Served, published, serving

from retrain.messages.control import Control
from streamer.clock import ManualClock
from streamer.config.page import OidcSettings
from streamer.page.access import Access
from streamer.page.oidc import OidcLogin, own_path

ELSEWHERE = Access("0.0.0.0")
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "k9"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with provider() as found:
        yield found


@contextmanager
def site(issuer, service, read_only=False, clock=None, **changes) -> Iterator[tuple[Served, Visitor]]:
    """The page behind a login, and somebody who has not logged in."""
    fields = {"viewer_groups": ["ml", "dev"], "approver_groups": ["ml"]} | changes

    def login(url: str) -> OidcLogin:
        settings = OidcSettings(issuer.url, CLIENT, url, "SECRET", **fields)
        return OidcLogin(settings, SECRET, read_only, clock or ManualClock())

    for name in ("claims", "header", "metadata", "answer"):
        getattr(issuer, name).clear()
    issuer.published, issuer.sign = [], None
    with serving(published(service), ELSEWHERE, login=login) as served:
        yield served, Visitor(served.url)


def token_in(page: str) -> str:
    return page.partition('name="token" value="')[2].partition('"')[0]


def test_a_user_logs_in_and_decides(issuer, service, caplog):
    """From any page to the provider and back to that page; the decision has the user's name and its proof."""
    name = service.requested()
    with site(issuer, service) as (served, ann), caplog.at_level(logging.DEBUG):
        answer = ann.follow(f"/request?id={name}")
        assert answer.status == 200
        assert ann.seen[-1] == f"{served.url}/request?id={name}"
        assert "<b>ann</b> · approver" in answer.text
        assert answer.headers["cache-control"] == "private, no-store"
        (cookie,) = [one for one in ann.headers[-1:] if "driftline=" in one]
        for words in ("httponly", "samesite=lax", "Max-Age=28800", "path=/"):
            assert words in cookie
        form = {"kind": "approve", "id": name, "token": token_in(ann.get("/act?kind=silence").text)}
        assert ann.get("/act", "POST", form).status == 303
        control = msgspec.json.decode(served.sent.pop()[1], type=Control)
        assert (control.actor, control.proof) == ("ann", "oidc")
    kept = " ".join([*ann.seen, *ann.headers, caplog.text, answer.text])
    assert SECRET not in kept
    assert issuer.exchanged[-1]["code_verifier"] not in " ".join(ann.seen)
    assert "code-" not in caplog.text


def test_without_a_login_nothing_is_shown(issuer, service):
    """Pages lead to the login, data and forms are refused; only probes, metrics and styles answer."""
    with site(issuer, service) as (served, nobody):
        for path in ("/", "/fleet", "/column.svg?model=bus-1&column=headway_s", "/act?kind=silence", "/nothing"):
            answer = nobody.get(path)
            assert answer.status == 303
            assert answer.headers["location"].startswith("/login?next=")
        assert nobody.get("/api/v1/fleet").status == 401
        form = {"kind": "approve", "id": service.requested(), "token": served.token()}
        assert nobody.get("/act", "POST", form).status == 401
        for path in ("/healthz", "/readyz", "/metrics", "/static/page.css", "/logged-out"):
            assert nobody.get(path).status == 200
            assert "bus-1" not in nobody.get(path).text
        assert served.sent == []


def unsigned(claims):
    header, body = (msgspec.json.encode(one) for one in ({"alg": "none"}, claims))
    return f"{url_safe(header)}.{url_safe(body)}."


def url_safe(data: bytes) -> str:
    import base64

    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def by_secret(claims):
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ({"claims": {"nonce": "another"}}, "invalid claim"),
        ({"claims": {"nonce": None}}, "missing claim"),
        ({"claims": {"aud": "another-client"}}, "invalid claim"),
        ({"claims": {"iss": "http://127.0.0.1:1"}}, "invalid claim"),
        ({"claims": {"exp": 1_700_000_000}}, "expired token"),
        ({"answer": {"state": "another"}}, "mismatching state"),
        ({"answer": {"code": "code-of-somebody"}}, "invalid grant"),
        ({"published": [OTHER_KEY]}, "invalid key id"),
        ({"published": [RSAKey.import_key({**OTHER_KEY.as_dict(private=False), "kid": "k1"})]}, "bad signature"),
        ({"sign": unsigned}, "unsupported algorithm"),
        ({"sign": by_secret}, "unsupported algorithm"),
        ({"claims": {"groups": ["sales"]}}, "ann is in no group that may look"),
        ({"claims": {"groups": None}}, "ann is in no group that may look"),
        ({"claims": {"preferred_username": None}}, "gives no preferred_username"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_login_that_is_not_valid_begins_no_session(issuer, service, said, refusal):
    """Nonce, state, audience, issuer, expiry, key, signature, code and groups: each is checked."""
    with site(issuer, service) as (_, eve):
        for name, value in said.items():
            held = getattr(issuer, name)
            held.update(value) if isinstance(held, dict) else setattr(issuer, name, value)
        answer = eve.follow("/fleet")
        assert answer.status == 403
        assert refusal in answer.text
        assert "bus-1" not in answer.text
        assert eve.get("/fleet").status == 303


def test_an_answer_of_the_provider_counts_in_its_browser_and_once(issuer, service):
    """The address of another person's answer logs nobody in, nor does it a second time."""
    with site(issuer, service) as (served, ann):
        to_provider = ann.get("/login").headers["location"]
        back = ann.get(to_provider).headers["location"]
        eve = Visitor(served.url)
        assert eve.get(back).status == 403
        assert ann.get(back).status == 303
        assert ann.get(back).status == 403


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/%09/evil.example", "/\t/evil.example", "evil",
     "/fleet\r\nX: y", "/@evil.example", "/.evil"],
)  # fmt: skip
def test_the_login_leads_to_no_other_site(issuer, service, wanted):
    """`next` is an address of this server, or the first page."""
    from urllib.parse import quote

    with site(issuer, service) as (served, ann):
        assert ann.follow(f"/login?next={quote(wanted)}").status == 200
        assert ann.seen[-1] == f"{served.url}/fleet"
    assert own_path("/column?model=bus-1&column=x%2F") == "/column?model=bus-1&column=x%2F"


def test_a_viewer_looks_and_does_not_decide(issuer, service):
    """A member of a viewer group alone sees no button, and its form is refused; a header changes nothing."""
    name = service.requested()
    with site(issuer, service) as (served, bob):
        issuer.claims |= {"preferred_username": "bob", "groups": "dev"}
        page = bob.follow(f"/request?id={name}").text
        assert "<b>bob</b> · viewer" in page
        assert "/act?" not in page
        form = {"kind": "approve", "id": name, "token": token_in(page), "user": "ann", "groups": "ml"}
        assert bob.get("/act", "POST", form).status == 403
        assert "Only members of ml decide." in bob.get(f"/act?kind=approve&id={name}").text
        assert served.sent == []
    with site(issuer, service, read_only=True) as (served, ann):
        assert "/act?" not in ann.follow(f"/request?id={name}").text


def test_a_session_ends_by_time_and_by_logout(issuer, service):
    """After `session_s`, and at once after a logout also for a copy of its cookie; a form needs its own session."""
    clock = ManualClock()
    with site(issuer, service, clock=clock) as (served, ann):
        page = ann.follow("/fleet").text
        copy = Visitor(served.url, dict(ann.cookies))
        assert copy.get("/fleet").status == 200
        assert ann.get("/logout", "POST", {"token": "0" * 64}).status == 403
        assert ann.get("/logout", "POST", {"token": token_in(page)}).headers["location"] == "/logged-out"
        assert ann.cookies == {}
        assert copy.get("/fleet").status == 303
        ann.follow("/fleet")
        assert ann.get("/logout", "POST", {"token": token_in(page)}).status == 403  # that of the first session
        clock.advance(28_799)
        assert ann.get("/fleet").status == 200
        clock.advance(1)
        assert ann.get("/fleet").status == 303
        forged = Visitor(served.url, {"driftline": "eyJuYW1lIjogIngifQ==.aaaaaa.bbbbbb"})
        assert forged.get("/fleet").status == 303


@pytest.mark.parametrize(
    "said", [{"issuer": "https://evil.example"}, {"token_endpoint": "http://login.example/token"}, {"jwks_uri": None}]
)
def test_a_provider_that_is_another_is_not_used(issuer, service, said):
    """The discovery document must name the issuer, and endpoints that nobody can listen to; it is read again."""
    with site(issuer, service) as (_, ann):
        issuer.metadata |= said
        answer = ann.follow("/fleet")
        assert answer.status == 502
        assert "can&#39;t be used" in answer.text
        issuer.metadata.clear()
        assert ann.follow("/fleet").status == 200


def test_groups_may_be_deep_and_names_an_address(issuer, service):
    """`realm_access.roles` leads into an object; an email address counts once it is verified."""
    with site(issuer, service, groups_claim="realm_access.roles", user_claim="email") as (_, ann):
        issuer.claims |= {"realm_access": {"roles": ["ml", 7]}, "email": "ann@example.com", "email_verified": False}
        assert ann.follow("/fleet").status == 403
        issuer.claims["email_verified"] = True
        assert "<b>ann@example.com</b> · approver" in ann.follow("/fleet").text


def test_an_https_page_has_a_cookie_for_https_alone(issuer):
    """The cookie is `__Host-` and Secure, and the redirect URI that of the address."""
    settings = OidcSettings(issuer.url, CLIENT, "https://drift.example/", "SECRET")
    assert settings.callback == "https://drift.example/login/callback"
    cookie = OidcLogin(settings, SECRET).middleware(b"k")[0].kwargs
    assert (cookie["session_cookie"], cookie["https_only"], cookie["same_site"]) == ("__Host-driftline", True, "lax")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://login.example"}, "issuer is 'http://login.example', but must be an https URL"),
        ({"url": "http://drift.example"}, "url is 'http://drift.example', but must be an https URL"),
        ({"url": "https://drift.example/page"}, "must be an address without a path"),
        ({"client_id": ""}, "client_id is empty"),
        ({"scope": "profile"}, "must hold openid"),
        ({"session_s": 5.0}, "must be 60 s to 30 days"),
    ],
)
def test_settings_that_leak_or_fail_are_refused(changes, words):
    """Secrets travel by https alone, and what no provider can answer is an error at the start."""
    fields = {"issuer": "https://login.example", "client_id": CLIENT, "url": "https://drift.example"}
    with pytest.raises(ValueError, match=words):
        OidcSettings(**fields | changes)
