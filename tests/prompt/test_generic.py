"""The template for models that bring none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from powerd.jobs import RenderJob
from powerd.prompt.conversation import render
from powerd.protocol import Message

NOW = datetime(2025, 1, 1, tzinfo=UTC)
CASES = {
    "one user message is the prompt itself": ([("user", "Once upon a time")], "Once upon a time"),
    "a system text stands before it": ([("system", "Be brief."), ("user", "Hi")], "Be brief.\n\nHi"),
    "several turns become a transcript": (
        [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c")],
        "S\n\nUser: a\n\nAssistant: b\n\nUser: c\n\nAssistant:",
    ),
    "an answer begun by the client stays open": ([("user", "a"), ("assistant", "b")], "User: a\n\nAssistant: b"),
    "system texts gather at the front": ([("user", "a"), ("system", "S"), ("system", "T")], "S\nT\n\na"),
    "other speakers keep their role": ([("user", "a"), ("critic", "b")], "User: a\n\ncritic: b\n\nAssistant:"),
    "a system text alone is just that": ([("system", "S")], "S\n\n"),
    "nothing said is nothing": ([], ""),
    "template syntax in a message is text": ([("user", "{{ 1 + 1 }}{% if %}")], "{{ 1 + 1 }}{% if %}"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_generic_template(case: str) -> None:
    turns, expected = CASES[case]
    job = RenderJob(1, tuple(Message(role, content) for role, content in turns))
    assert render(job, NOW) == expected


def test_without_a_generation_prompt_no_turn_is_opened() -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert render(RenderJob(1, turns, add_generation_prompt=False), NOW).endswith("User: c")
