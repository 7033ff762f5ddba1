"""Chat templates as models publish them, each with a plain conversation, a round trip of a tool, and thoughts.

`templates/` holds the templates as their makers released them under the Apache-2.0 or MIT licence, and beside each the
texts it makes. Those are compared here twice: with what was recorded, and with what Jinja2 makes of them when it is
set up as the transformers library does it and nothing else.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from powerd.prompt.conversation import as_mapping, render
from powerd.protocol import Message, RenderJob, ToolCall

NOW = datetime(2025, 1, 2, tzinfo=UTC)
FOLDER = Path(__file__).parent / "templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
WEATHER: dict[str, object] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where"}},
            "required": ["city"],
        },
    },
}
USER, AGAIN = Message("user", "Hi <é> & {{ x }}"), Message("user", "And?")
JOBS = {
    "plain": RenderJob(1, (Message("system", "Be brief."), USER, Message("assistant", "Hello"), AGAIN)),
    "tools": RenderJob(
        2,
        (
            USER,
            Message("assistant", tool_calls=(ToolCall("weather", {"city": "Köln"}, "call00001"),)),
            Message("tool", "sun", tool_name="weather", tool_call_id="call00001"),
        ),
        tools=(WEATHER,),
    ),
    "thinking": RenderJob(
        3,
        (USER, Message("assistant", "Hello", thinking="They greet."), AGAIN),
        variables={"enable_thinking": True},
    ),
}


def made(name: str, kind: str) -> str:
    job = JOBS[kind]
    job.template, job.bos, job.eos, job.lenient = (FOLDER / f"{name}.jinja").read_text(), "<s>", "</s>", True
    return render(job, NOW)


def reference(name: str, kind: str) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **{"ensure_ascii": False} | options)
    job = JOBS[kind]
    variables: dict[str, Any] = {**job.variables, "strftime_now": NOW.strftime}
    return environment.from_string((FOLDER / f"{name}.jinja").read_text()).render(
        messages=[as_mapping(message) for message in job.messages],
        tools=list(job.tools) or None,
        bos_token="<s>",
        eos_token="</s>",
        add_generation_prompt=True,
        **variables,
    )


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("name", NAMES)
def test_a_published_template_makes_the_recorded_text(name: str, kind: str) -> None:
    recorded = json.loads((FOLDER / f"{name}.json").read_text())
    assert made(name, kind) == recorded[kind] == reference(name, kind)


def test_every_recorded_text_belongs_to_a_template() -> None:
    assert len(NAMES) >= 15
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES
