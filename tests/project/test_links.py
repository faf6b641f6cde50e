"""Links between the pages of this repository lead somewhere."""

from __future__ import annotations

import re

import pytest
from project_tree import ROOT, files

PAGES = [path for path in files() if path.suffix == ".md"]
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]*))?\)")


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


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading(page):
    """A link without a scheme names a file of this repository and, behind #, a heading of that page."""
    dead = []
    for target, anchor in LINK.findall(CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))):
        path = (ROOT / page.parent / target) if target else ROOT / page
        if not path.exists():
            dead.append(target)
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8")):
            dead.append(f"{target}#{anchor}")
    assert dead == []
