"""Attacks on the page: hostile names, forms of other sites, false headers and hosts, paths, huge and slow requests."""

from __future__ import annotations

import http.client
import json
import socket
from datetime import UTC, datetime
from ipaddress import ip_network
from urllib.parse import quote, urlencode

import pytest
from page_kit import Parsed, published, serving
from service_kit import PlayedService

from retrain.messages.alert import Place
from retrain.messages.distribution import Distribution
from streamer.contracts.encoding import json_of
from streamer.page.access import Access
from streamer.testing.alerts import firing, ready, said

HOSTILE = '<img src=x onerror="alert(1)">&\'\u202e/../\x00\n'
PROXY = Access(
    "0.0.0.0", user_header="x-forwarded-user", groups_header="x-groups", approvers="ml",
    proxies=(ip_network("127.0.0.1"),),
)  # fmt: skip


def hostile_fleet():
    service = PlayedService(approval_by_model={"*": "training"})
    went = Distribution((0.9, 0.1), (0.5, 0.5), 1000, 400, categories=("north", HOSTILE))
    of = {"model": HOSTILE, "column": HOSTILE}
    service.publish(
        firing("1h", **of), ready("2h", "1h", **of, distribution=went, category=HOSTILE, summary=HOSTILE, segment="")
    )
    service.publish(said("approve", service.requested(), "3h", actor=HOSTILE.replace("\x00", ""), comment=HOSTILE))
    return service


def test_names_are_text_on_every_page():
    """Markup in names, categories, actors and comments stays text; links with it come back to its record."""
    service = hostile_fleet()
    name = quote(HOSTILE, safe="")
    with serving(published(service)) as served:
        paths = [
            "/fleet", f"/model?name={name}", f"/column?model={name}&column={name}", "/incidents", "/requests",
            f"/request?id={service.requested()}", f"/explain?id={service.requested()}", f"/search?q={name}", "/monitor",
            f"/fleet?name={name}&group={name}&state={name}&sort={name}&page={name}", f"/model?name=x{name}",
            f"/act?kind=silence&model={name}&column={name}&for={name}&alert_kind={name}",
            f"/act?kind=approve&id={service.requested()}", f"/act?kind={name}",
        ]  # fmt: skip
        for path in paths:
            answer = served.get(path)
            parsed = Parsed(answer.text)
            assert answer.status in (200, 404), path
            assert {tag for tag, _ in parsed.tags} & {"img", "iframe", "object", "base", "style"} == set()
            scripts = [attributes for tag, attributes in parsed.tags if tag == "script"]
            assert scripts == [{"src": "/static/times.js", "defer": None}]
            assert [a for _, attributes in parsed.tags for a in attributes if a.startswith("on") or a == "style"] == []
            assert (
                "default-src 'none'; style-src 'self'; script-src 'self'" in answer.headers["content-security-policy"]
            )
        link = next(one for one in Parsed(served.get("/fleet").text).links if one.startswith("/model?"))
        assert served.get(link.replace("/model", "/api/v1/model")).json["row"]["model_id"] == HOSTILE


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"token": ""}, {}),
        ({"token": "0" * 64}, {}),
        ({}, {"sec_fetch_site": "cross-site"}),
        ({}, {"sec_fetch_site": "same-site"}),
        ({}, {"sec_fetch_site": "none"}),
    ],
)
def test_a_form_of_another_site_changes_nothing(page, service, change, headers):
    """Without the token, or from another site, a decision is refused and nothing is sent."""
    form = {"kind": "approve", "id": service.requested(), "token": page.token()} | change
    assert page.post(form, **headers).status == 403
    assert page.sent == []


def test_without_fetch_metadata_the_origin_counts(page, service):
    """Browsers without Sec-Fetch-Site send an Origin, which must be this server's."""
    form = urlencode({"kind": "approve", "id": service.requested(), "token": page.token()}).encode()
    kind = {"content_type": "application/x-www-form-urlencoded"}
    assert page.get("/act", "POST", form, **kind).status == 403
    assert page.get("/act", "POST", form, **kind, origin="http://evil.example").status == 403
    assert page.get("/act", "POST", form, **kind, origin=page.url).status == 303
    page.sent.clear()


def test_a_header_names_the_user_from_the_proxy_alone(service):
    """A user header counts from named addresses, once, and only members of the group decide."""
    form = {"kind": "reject", "id": service.requested()}
    bob, eve = {"x_forwarded_user": "bob", "x_groups": "dev, ml"}, {"x_forwarded_user": "eve", "x_groups": "dev"}
    with serving(published(service), PROXY) as served:
        assert served.post(form | {"token": served.token(**bob)}).status == 403  # without the header: nobody
        assert served.post(form | {"token": served.token(**eve)}, **eve).status == 403
        assert served.post(form | {"token": served.token(**eve)}, **bob).status == 403  # a token is of one user
        assert served.post(form | {"token": served.token(**bob)}, **bob).status == 303
        record = json.loads(served.sent.pop()[1])
        assert (record["actor"], record["proof"]) == ("bob", "proxy")
        client = http.client.HTTPConnection("127.0.0.1", served.port)
        client.putrequest("GET", "/requests")
        client.putheader("x-forwarded-user", "bob")
        client.putheader("x-forwarded-user", "root")
        client.endheaders()
        assert "<b>root</b>" not in (text := client.getresponse().read().decode())
        assert "<b>bob</b>" not in text
        client.close()
    elsewhere = Access("0.0.0.0", user_header="x-forwarded-user", proxies=(ip_network("10.0.0.0/8"),))
    with serving(published(service), elsewhere) as served:
        assert served.post(form | {"token": served.token(**bob)}, **bob).status == 403
        assert "no trusted proxy has named a user" in served.get(f"/request?id={form['id']}", **bob).text
        assert served.sent == []


def test_another_host_name_gets_no_page(page):
    """A name that points to the loopback address, as in DNS rebinding, is refused."""
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "localhost:1@evil.example"):
        assert page.get("/fleet", host=host).status == 421
    for host in ("localhost", f"127.0.0.1:{page.port}", "[::1]:1"):
        assert page.get("/fleet", host=host).status == 200


@pytest.mark.parametrize(
    "path",
    ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd", "/static/",
     "//etc/passwd", "/api/v1/../../fleet/x", "/static/page.css%00.py"],
)  # fmt: skip
def test_paths_lead_to_nothing_but_pages(page, path):
    """No path leads to a file beyond the two static ones."""
    assert page.get(path).status == 404


def raw(port, data):
    """What the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(data)
        client.settimeout(20)
        return client.recv(65536)


def test_huge_requests_are_refused(page):
    """Long addresses, headers and bodies, and forms of thousands of fields, end with an error and not in memory."""
    assert page.get("/fleet?name=" + "x" * 10_000).status == 414
    assert raw(page.port, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)[:12] == b"HTTP/1.1 400"
    assert page.post({"kind": "approve", "comment": "x" * 40_000}).status == 413
    assert (
        page.get("/act", "POST", b"&".join([b"a=1"] * 200), content_type="application/x-www-form-urlencoded").status
        == 400
    )
    assert page.get("/act", "POST", b"{}", content_type="application/json").status == 415
    assert page.get("/fleet?" + "&".join(["a=1"] * 200)).status == 400
    assert page.get("/fleet", "POST", b"").status == 405
    assert page.get("/fleet?name=%ff%fe&page=99999999999999999999999").status == 200


def test_slow_clients_keep_nobody_waiting(page):
    """While a hundred clients send a byte and wait, a page comes at once."""
    clients = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(100)]
    try:
        for client in clients:
            client.sendall(b"GET /fleet HTTP/1.1\r\nHost: loc")
        assert page.get("/fleet").status == 200
    finally:
        for client in clients:
            client.close()


def test_times_at_the_ends_of_the_calendar_have_pages():
    """Events of the years 1 and 9999 are shown, as is a number that no axis can hold."""
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    alert = firing(
        "1h",
        "bus-1",
        onset=Place("t", 0, 1, first),
        at=Place("t", 0, 2, last),
        before=-1e308,
        after=1e308,
        effect=1e308,
    )
    with serving([("alert", json_of(alert)), ("alert", json_of(firing("2h", "bus-2")))]) as served:
        for path in ("/fleet", "/model?name=bus-1", "/column?model=bus-1&column=headway_s", "/monitor", "/incidents"):
            assert served.get(path).status == 200, path
        assert served.get("/api/v1/model?name=bus-1").json["row"]["since"].startswith("9999-12-31")
