"""The reference pages keep up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import powerd.docs
from powerd.config import configure, parser
from powerd.metrics import REGISTRY
from powerd.ollama_variables import MEANINGLESS, OLLAMA_VARIABLES
from powerd.settings import Settings

DOCS = Path(powerd.docs.__path__[0])
ROOT = DOCS.parent.parent
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


def test_every_option_of_powerd_yaml_is_documented() -> None:
    page = (DOCS / "powerd-yaml.md").read_text()
    documented = set(re.findall(r"^\| `([\w.<>:*]+)` \|", page, re.MULTILINE))
    for name, info in Settings.model_fields.items():
        below = [key for key in documented if key.startswith(f"{name}.")]
        assert name in documented or below, name
        if isinstance(info.default, BaseModel):
            inner = {f"{name}.{key}" for key in type(info.default).model_fields}
            assert all(any(key.startswith(option) for key in below) for option in inner), inner
    for variable in OLLAMA_VARIABLES:
        assert variable in page or variable in (DOCS / "operations.md").read_text(), variable


def test_every_variable_that_means_nothing_is_documented_with_its_reason() -> None:
    page = (DOCS / "powerd-yaml.md").read_text()
    assert all(f"| `{name}` | {reason} |" in page for name, reason in MEANINGLESS.items())


def test_the_example_of_powerd_yaml_loads_and_every_line_of_it_is_an_option() -> None:
    text = (ROOT / "etc/powerd.yaml").read_text()
    configure(parser().parse_args(["--config", str(ROOT / "etc/powerd.yaml")]), {})
    keys = set(re.findall(r"^# ?([a-z_]+):", text, re.MULTILINE))
    assert keys <= set(Settings.model_fields), keys - set(Settings.model_fields)
