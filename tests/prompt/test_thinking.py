"""How a wish to think reaches templates of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from powerd.prompt.thinking import Think, go_variables, variables

FOLDER = Path(__file__).parent / "templates"


@pytest.mark.parametrize(
    ("template", "think", "expected"),
    [
        ("{{ enable_thinking }}", None, {}),
        ("{{ messages }}", True, {}),
        ("{% if enable_thinking is defined and not enable_thinking %}x{% endif %}", False, {"enable_thinking": False}),
        ("{% set enable_thinking = enable_thinking | default(true) %}", "low", {"enable_thinking": True}),
        ("{% if not thinking is defined %}{% set thinking = false %}{% endif %}", True, {"thinking": True}),
        ("{% for m in messages %}{% set thinking = m.thinking %}{{ thinking }}{% endfor %}", True, {}),
        ("{{ message.thinking }}{{ 'thinking' }}{# thinking #}{{ f(thinking=1) }} thinking", True, {}),
        ("{{ 'don\\'t' }}{{ thinking }}", True, {"thinking": True}),
        ("{{ thinking_budget }}", True, {}),
        ("{{ thinking_budget }}", False, {"thinking_budget": 0}),
        ("{{ thinking_budget }}", "low", {"thinking_budget": 512}),
        ("{{ thinking_budget }}", "max", {}),
        ("{% if thinking_mode == 'disabled' %}{% endif %}", True, {"thinking_mode": "enabled"}),
        ("{% if thinking_mode == 'disabled' %}{% endif %}", False, {"thinking_mode": "disabled"}),
        ("{% if thinking_mode == 'adaptive' %}{% endif %}", True, {}),
        ("{% if thinking_mode == 'adaptive' %}{% endif %}", "high", {"thinking_mode": "enabled"}),
    ],
)
def test_a_template_is_told_by_the_names_it_reads(template: str, think: Think, expected: dict[str, object]) -> None:
    assert variables(think, template) == expected


@pytest.mark.parametrize(
    ("template", "efforts"),
    [
        ("{{ reasoning_effort }}", (None, None, "low", "medium", "high", "max")),
        ("<|channel|>{{ reasoning_effort }}", (None, None, "low", "medium", "high", "high")),
        ("{% if reasoning_effort not in ['low', 'high', 'max'] %}", (None, None, "low", "high", "high", "max")),
        (
            "{% if reasoning_effort in ['high', 'low', 'no_think'] %}",
            ("high", "no_think", "low", "high", "high", "high"),
        ),
        ('{% if reasoning_effort | lower == "none" %}', ("high", "none", "low", "medium", "high", "max")),
    ],
)
def test_efforts_are_said_in_the_words_of_the_template(template: str, efforts: tuple[str | None, ...]) -> None:
    wishes: tuple[Think, ...] = (True, False, "low", "medium", "high", "max")
    assert tuple(variables(wish, template).get("reasoning_effort") for wish in wishes) == efforts


def test_published_templates_are_told() -> None:
    told = {path.stem: sorted(variables("high", path.read_text())) for path in FOLDER.glob("*.jinja")}
    assert {name: names for name, names in told.items() if names} == {
        "Apertus-8B-Instruct": ["enable_thinking"],
        "ByteDance-Seed-OSS": ["thinking_budget"],
        "GLM-4.6": ["enable_thinking"],
        "HuggingFaceTB-SmolLM3-3B": ["enable_thinking"],
        "Qwen-QwQ-32B": ["enable_thinking"],
        "Qwen-Qwen3-0.6B": ["enable_thinking"],
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ["enable_thinking"],
        "deepseek-ai-DeepSeek-V3.1": ["enable_thinking", "thinking"],
        "ibm-granite-granite-3.3-2B-Instruct": ["thinking"],
        "openai-gpt-oss-120b": ["reasoning_effort"],
    }


def test_go_templates_have_three_names_for_it() -> None:
    told = [go_variables(think, "") for think in (None, False, True, "max")]
    assert [each["Think"] for each in told] == [False, False, True, True]
    assert [each["ThinkLevel"] for each in told] == ["", "", "medium", "max"]
    assert [each["IsThinkSet"] for each in told] == [False, True, True, True]
    assert go_variables("max", "<|channel|>")["ThinkLevel"] == "high"
