"""The reference pages keep up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import powerd.docs
from powerd.metrics import REGISTRY

DOCS = Path(powerd.docs.__path__[0])
PAGES = sorted(DOCS.glob("*.md"))
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def test_every_series_is_documented_and_every_documented_series_exists() -> None:
    exported = {
        family.name + ("_total" if family.type == "counter" else ""): family.documentation
        for family in REGISTRY.collect()
    }
    documented = re.findall(r"^\| `(power_\w+)` \|", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(exported)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert "://" in target or (page.parent / target).is_file(), target


def test_the_index_leads_to_every_page() -> None:
    linked = set(_LINK.findall((DOCS / "index.md").read_text()))
    assert {page.name for page in PAGES} - {"index.md"} <= linked
