"""The page in a real browser: 16,000 models, the way to a column, keyboard alone, phone, and dark screens."""

from __future__ import annotations

import re

import pytest
from browser_kit import DESKTOP, PHONE, browser, tab
from oidc_kit import CLIENT, SECRET, provider
from page_kit import MODELS, decided, profiles, published, serving
from service_kit import TOPICS

from streamer.config.page import OidcSettings
from streamer.page.access import Access
from streamer.page.oidc import OidcLogin
from streamer.page.report import write_report

pytestmark = pytest.mark.slow

# All cells are drawn as quiet ones first: a row of n cells is n pitches wide without its last gap.
CELLS = """() => {
    let n = 0;
    for (const svg of document.querySelectorAll('svg.cells.not-phone')) {
        const path = svg.querySelector('path');
        const pitch = +path.getAttribute('stroke').match(/#h(\\d+)-quiet/)[1];
        for (const run of path.getAttribute('d').matchAll(/M[\\d ]+h(\\d+)/g)) n += Math.ceil(+run[1] / pitch);
    }
    return n;
}"""

CUT = """() => [...document.querySelectorAll('.scroll:has(table)')]
    .filter(one => one.scrollWidth > one.clientWidth + 1).length"""


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def big():
    with serving([*decided(), *profiles(days=1, columns=1)]) as served:
        yield served


@pytest.fixture(scope="module")
def small(service):
    with serving(published(service)) as served:
        yield served


def views(served, service):
    """The address of each view of the small fleet."""
    name = service.requested()
    return [
        "/fleet", "/model?name=bus-1", "/column?model=bus-1&column=headway_s", "/incidents", "/requests",
        f"/request?id={name}", f"/explain?id={name}", "/search?q=bus", "/search?q=buss", "/monitor", "/silences",
        "/act?kind=silence&model=bus-*", f"/act?kind=approve&id={name}", "/model?name=nobody",
    ]  # fmt: skip


def test_a_fleet_of_16000_models_is_drawn_and_leads_to_a_column(chromium, big):
    """Each model has a cell; a cell leads to its model, and the table to a column with both distributions."""
    with tab(chromium) as shown:
        shown.page.goto(f"{big.url}/fleet")
        assert shown.page.locator("h2", has_text="16,000 models").count() == 1
        cells = shown.page.evaluate(CELLS)
        assert cells == len(MODELS) == 16_000
        assert len(big.get("/fleet").text.encode()) < 200_000
        assert shown.page.locator("text=Storm, held since").count() == 1
        shown.page.locator("svg.cells.not-phone a").first.click()
        assert re.fullmatch(r".*/model\?name=[a-z]+.*", shown.page.url)
        shown.page.go_back()
        shown.page.locator("tbody td.move a").first.click()
        assert "/column?" in shown.page.url
        assert shown.page.locator("h2", has_text="Before and after, on one axis").count() == 1
        assert shown.page.locator("svg.chart path.c-now").count() == 1
        assert shown.said == []


def test_a_person_decides_by_keyboard_alone(chromium, small, service):
    """From the fleet to a sent approval with Tab, Enter and letters, and the focus is seen at each step."""
    with tab(chromium) as shown:
        page = shown.page
        page.goto(f"{small.url}/fleet")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        for words in ("Approve the retrain", "Approve the retrain …", "Approve the retrain of bus-1"):
            press_until(page, words)
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            if words.endswith("bus-1"):
                page.keyboard.press("Shift+Tab")
                page.keyboard.type("looks right")
                page.keyboard.press("Tab")
            with page.expect_navigation():
                page.keyboard.press("Enter")
        assert page.locator("text=The answer of the service appears here").count() == 1
        assert b'"comment":"looks right"' in small.sent.pop()[1]
        assert shown.said == []


def press_until(page, words):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == words:
            return
    raise AssertionError(f"Tab does not reach {words!r}")


@pytest.mark.parametrize(("size", "dark"), [((1360, 900), False), ((1360, 900), True), (PHONE, False), (PHONE, True)])
def test_each_view_is_accessible_and_fits(chromium, small, service, size, dark):
    """axe finds nothing, nothing is wider than the window, and the console is silent: light, dark, desktop, phone."""
    with tab(chromium, size, dark) as shown:
        for path in views(small, service):
            shown.page.goto(small.url + path)
            assert shown.violations() == [], path
            assert shown.is_narrow(), path
        assert [line for line in shown.said if "404" not in line] == []


def test_the_large_fleet_is_accessible_on_a_phone(chromium, big):
    """With 16,000 cells too, axe finds nothing and the page fits."""
    with tab(chromium, PHONE) as shown:
        shown.page.goto(f"{big.url}/fleet")
        assert shown.violations() == []
        assert shown.is_narrow()


def test_nothing_is_loaded_from_elsewhere(chromium, small, service):
    """All requests of all views go to the server itself."""
    with tab(chromium) as shown:
        asked = []
        shown.page.on("request", lambda request: asked.append(request.url))
        for path in views(small, service):
            shown.page.goto(small.url + path)
        assert len(asked) > 14
        assert {url for url in asked if not url.startswith(small.url)} == set()


def test_tables_show_all_columns_at_1120_pixels_and_rows_stay_low(chromium, small, service):
    """At the width of a small laptop no table of a view is cut; on a phone no cell breaks an id into letters."""
    with tab(chromium, (1120, 800)) as shown:
        for path in views(small, service):
            shown.page.goto(small.url + path)
            assert shown.page.evaluate(CUT) == 0, path
    with tab(chromium, PHONE) as shown:
        for path in views(small, service):
            shown.page.goto(small.url + path)
            rows = "Math.max(0, ...[...document.querySelectorAll('tr')].map(e => e.getBoundingClientRect().height))"
            assert shown.page.evaluate(rows) < 120, path


def test_a_time_under_the_pointer_shows_the_local_one(chromium, small, service, tmp_path):
    """On the page and in the report a UTC time has that of the reader as its title, once the pointer is on it."""
    report = tmp_path / "report.html"
    report.write_text(write_report(lambda: iter(published(service)), TOPICS, "June", None)[0])
    with tab(chromium, zone="America/New_York") as shown:
        for address in (f"{small.url}/column?model=bus-1&column=headway_s", report.as_uri()):
            shown.page.goto(address)
            time = shown.page.locator('time[datetime="2026-01-01T00:30:00Z"]').first
            assert (time.inner_text(), time.get_attribute("title")) == ("2026-01-01 00:30", None)
            time.hover()
            assert time.get_attribute("title") == "31 Dec 2025, 19:30:00 GMT-5"
        assert shown.said == []


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)])
def test_a_login_in_a_browser(chromium, service, size, dark):
    """From a page to the provider and back, then out; the policy of the page stands in the way of none of it."""

    def login(url):
        return OidcLogin(OidcSettings(issuer.url, CLIENT, url, "SECRET", approver_groups=["ml"]), SECRET)

    with (
        provider() as issuer,
        serving(published(service), Access("0.0.0.0"), login=login) as served,
        tab(chromium, size, dark) as shown,
    ):
        shown.page.goto(f"{served.url}/model?name=bus-1")
        assert shown.page.url == f"{served.url}/model?name=bus-1"
        assert (shown.violations(), shown.is_narrow()) == ([], True)
        shown.page.get_by_role("button", name="Log out").click()
        assert shown.page.url == f"{served.url}/logged-out"
        assert (shown.violations(), shown.is_narrow()) == ([], True)
        shown.page.get_by_role("link", name="Log in").click()
        assert shown.page.url == f"{served.url}/fleet"
        assert shown.said == []
