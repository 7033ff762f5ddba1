"""Chat templates as models publish them, each with a plain conversation, a round trip of a tool, and thoughts.

`templates/` holds the templates as their makers released them under the Apache-2.0 or MIT licence, and beside each the
texts it makes, which `make conformance` compares with llama.cpp's own before it writes them. Here they are compared
twice: with what was recorded, and with what Jinja2 makes of them when it is set up as the transformers library does it
and nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

import powerd.docs
from powerd.prompt import thinking
from powerd.prompt.conversation import render
from powerd.prompt.mapping import as_mapping
from tests.conformance.conversations import BODIES, job
from tests.conformance.differences import DIFFERENCES
from tests.conformance.templates import BOS, EOS, NOW, RECORDED

NAMES = sorted(path.stem for path in RECORDED.glob("*.jinja"))


def reference(name: str, kind: str) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **{"ensure_ascii": False} | options)
    text = (RECORDED / f"{name}.jinja").read_text()
    asked = job(kind, text, BOS, EOS)
    return environment.from_string(text).render(
        messages=[as_mapping(message) for message in asked.messages],
        tools=list(asked.tools) or None,
        bos_token=BOS,
        eos_token=EOS,
        add_generation_prompt=True,
        strftime_now=NOW.strftime,
        **thinking.variables(asked.think, text),
    )


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("name", NAMES)
def test_a_published_template_makes_the_recorded_text(name: str, kind: str) -> None:
    recorded = json.loads((RECORDED / f"{name}.json").read_text())
    made = render(job(kind, (RECORDED / f"{name}.jinja").read_text(), BOS, EOS), NOW)
    assert made == recorded[kind] == reference(name, kind)


def test_every_recorded_text_belongs_to_a_template() -> None:
    assert len(NAMES) >= 15
    assert sorted(path.stem for path in RECORDED.glob("*.json")) == NAMES


def test_the_documents_tell_the_cause_of_every_difference_to_llama_cpp() -> None:
    rows = (Path(powerd.docs.__path__[0]) / "templates.md").read_text()
    for name, kinds in DIFFERENCES.items():
        assert f"| `{name}` | {', '.join(sorted(kinds))} |" in rows
