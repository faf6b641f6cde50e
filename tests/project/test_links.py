"""Links and paths in the pages of this repository lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from project_tree import ROOT, files, text_of

PAGES = [path for path in files() if path.suffix == ".md"]
HISTORY = [path for path in PAGES if path.name == "CHANGELOG.md" or "adr" in path.parts]  # names of their time
DEPLOYED = [path for path in files() if path.parts[0] == "deploy" or path.name in {"docker-compose.yml", "Dockerfile"}]
TOPS = "|".join(sorted({path.parts[0] for path in files() if len(path.parts) > 1 and path.parts[0].isalpha()}))

CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]*))?\)")
SPAN = re.compile(rf"`((?:{TOPS})/[\w./-]*)`")
PAGE_NAMED = re.compile(r"\b((?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page; each repeated heading gets a number."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        times = found.get(slug, 0)
        found[slug] = times + 1
        if times:
            found[f"{slug}-{times}"] = 1
    return set(found)


def leads_somewhere(base: Path, target: str, anchor: str) -> bool:
    """Whether the file is there and has the heading; an empty target is the page itself, given as `base`."""
    path = ROOT / base / target
    if not path.exists():
        return False
    return not anchor or path.suffix != ".md" or anchor in anchors(path.read_text(encoding="utf-8"))


def test_anchors_are_those_of_github():
    """Marks vanish, spaces become hyphens, repeated headings are numbered, code has no headings."""
    assert anchors("# A `b_c`, d!\n```\n# no\n```\n## X\n## X\n") == {"a-b_c-d", "x", "x-1"}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading(page):
    """A link without a scheme names a file of this repository and, behind #, a heading of that page."""
    links = LINK.findall(CODE.sub("", (ROOT / page).read_text(encoding="utf-8")))
    bases = {target: page.parent if target else page for target, _ in links}
    assert [link for link in links if not leads_somewhere(bases[link[0]], *link)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in HISTORY], ids=str)
def test_every_path_in_a_page_is_there(page):
    """A path below a folder of this repository that stands in backticks exists."""
    paths = SPAN.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", DEPLOYED, ids=str)
def test_every_page_that_deployment_names_is_there(path):
    """Where `deploy/` names a page, it is one of this repository, from its root, with the heading behind #."""
    pages = PAGE_NAMED.findall(text_of(path) or "")
    assert [page for page in pages if not leads_somewhere(Path(), *page)] == []


def test_every_rule_leads_to_its_section_of_the_runbook():
    """Each runbook_url is a path in this repository, to a heading of the runbook."""
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    urls = re.findall(r"runbook_url: (\S+)", rules)
    assert len(urls) == len(re.findall(r"- alert: ", rules))
    headings = anchors((ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"))
    assert [url for url in urls if url.removeprefix("docs/runbook.md#") not in headings] == []
