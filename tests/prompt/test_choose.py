"""Which template serves a model."""

from __future__ import annotations

import pytest

from powerd.prompt.choose import Brought, Chosen, Syntax, choose
from powerd.prompt.generic import TEMPLATE
from powerd.prompt.named import NAMED

OURS: tuple[str, Syntax] = ("mine", "jinja")
GO = "{{ range .Messages }}{{ .Content }}{{ end }}"
GO_TOOLS = GO + "{{ .Tools }}"
GO_WHOLE = '{{ .Tools }}{{ range .Messages }}{{ .ToolCalls }}{{ if eq .Role "tool" }}{{ .Content }}{{ end }}{{ end }}'
JINJA = "{{ messages[0].content }}"
JINJA_TOOLS = "{{ tools }}"
JINJA_WHOLE = "{{ tools }}{{ m.tool_calls }}{% if m.role == 'tool' %}"
JINJA_MORE = "{{ tools }} <think></think>"


@pytest.mark.parametrize(
    ("owner", "brought", "expected"),
    [
        (OURS, Brought("{{ .Prompt }}", "its own"), Chosen("mine", "jinja", "owner")),
        (("{{ .Prompt }}", "go"), Brought(None, JINJA_MORE), Chosen("{{ .Prompt }}", "go", "owner")),
        (None, Brought(None, "its own"), Chosen("its own", "jinja", "model")),
        ((" \n", "go"), Brought(None, "its own"), Chosen("its own", "jinja", "model")),
        (None, Brought(GO), Chosen(GO, "go", "layer")),
        (None, Brought("", "  "), Chosen(TEMPLATE, "jinja", "generic")),
    ],
)
def test_the_owner_wins_over_what_the_model_brings(
    owner: tuple[str, Syntax] | None, brought: Brought, expected: Chosen
) -> None:
    assert choose(owner, brought) == expected


@pytest.mark.parametrize(
    ("brought", "syntax"),
    [
        (Brought(GO, JINJA), "go"),
        (Brought(GO, JINJA_TOOLS), "jinja"),  # it can do more
        (Brought(GO_WHOLE, JINJA_MORE), "go"),  # more, but the calls would not come back
        (Brought(GO_WHOLE, JINJA_WHOLE + "<think></think>"), "jinja"),
        (Brought(GO_TOOLS, JINJA_TOOLS), "go"),
        (Brought(GO_TOOLS, JINJA_WHOLE), "jinja"),  # the same, and only Jinja's go there and back
        (Brought(GO, JINJA_MORE, parser="qwen3"), "go"),
        (Brought("{{ .Prompt }}", JINJA, renderer="qwen3-coder"), "jinja"),
        (Brought("<|start|>{{ .System }}<|end|>" + GO, JINJA_MORE), "go"),
        (Brought("{{ if }}", JINJA), "jinja"),  # cannot be read
        (Brought("{{ if }}"), "go"),
    ],
)
def test_of_a_pulled_layer_and_the_ggufs_template_the_one_that_can_do_more_is_used(
    brought: Brought, syntax: Syntax
) -> None:
    assert choose(None, brought).syntax == syntax


@pytest.mark.parametrize(
    ("brought", "on", "off"),
    [
        (Brought(GO, JINJA_MORE), "go", "jinja"),
        (Brought(GO_WHOLE, JINJA), "go", "jinja"),
        (Brought(GO), "go", "go"),
        (Brought(None, JINJA), "jinja", "jinja"),
        (Brought(GO, JINJA, renderer="qwen3-coder"), "jinja", "jinja"),
        (Brought(GO, JINJA, parser="qwen3"), "go", "go"),
        (Brought("{{ if }}", JINJA), "jinja", "jinja"),
    ],
)
def test_the_operator_may_say_which_of_the_two_it_shall_be(brought: Brought, on: Syntax, off: Syntax) -> None:
    assert (choose(None, brought, "on").syntax, choose(None, brought, "off").syntax) == (on, off)


@pytest.mark.parametrize(
    ("end", "name", "expected"),
    [
        ("<|im_end|>", "", "chatml"),
        ("<|eot_id|>", "", "llama3-instruct"),
        ("<|end|>", "", "phi-3"),
        ("<end_of_turn>", "", "gemma-instruct"),
        ("</s>", "Llama-2 7B Chat HF", "llama2-chat"),
        ("</s>", "mistralai Mistral-7B-Instruct-v0.2", "mistral-instruct"),
        ("</s>", "Alpaca 7B", "alpaca"),
    ],
)
def test_a_model_without_template_is_recognised(end: str, name: str, expected: str) -> None:
    chosen = choose(None, Brought(end_token=end, name=name))
    assert chosen == Chosen(NAMED[expected].text, "jinja", "named", expected)


@pytest.mark.parametrize("name", ["", "Mistral-7B-v0.1", "Llama 2 7B"])
def test_what_is_not_recognised_is_generic(name: str) -> None:
    assert choose(None, Brought(end_token="</s>", name=name)).origin == "generic"


def test_a_place_for_a_suffix_is_seen_in_go_templates_that_can_be_read() -> None:
    assert Chosen("{{ .Prompt }}{{ .Suffix }}", "go", "owner").inserts
    assert not Chosen("{{ .Prompt }}", "go", "owner").inserts
    assert not Chosen("{{ .Suffix }}{{ if }}", "go", "owner").inserts
    assert not Chosen("{{ Suffix }}", "jinja", "owner").inserts
