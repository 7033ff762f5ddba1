"""What a header and a template say a model can do."""

from __future__ import annotations

from powerd.prompt.capabilities import capabilities
from powerd.prompt.choose import Chosen

PLAIN = Chosen("{{ messages }}", "jinja", "model")


def test_a_model_that_pools_embeds_and_every_other_completes() -> None:
    assert capabilities(None, PLAIN) == ("completion",)
    assert capabilities(0, PLAIN) == ("embedding",)
    assert capabilities(1, PLAIN, thinks=True, claimed=["tools"]) == ("embedding",)


def test_a_template_with_a_place_for_a_suffix_inserts() -> None:
    inserting = Chosen("{{ .Prompt }}{{ .Suffix }}", "go", "layer")
    assert capabilities(None, inserting) == ("completion", "insert")
    assert capabilities(0, inserting) == ("embedding",)


def test_a_template_that_is_told_of_tools_has_them_and_so_has_a_parser_that_reads_calls() -> None:
    for text in ("{{ tools }}", "{{ m.tool_calls }}"):
        assert capabilities(None, Chosen(text, "jinja", "model")) == ("completion", "tools")
    assert capabilities(None, Chosen("{{ .Tools }}", "go", "layer")) == ("completion", "tools")
    assert capabilities(None, Chosen("{{ .tools }}", "go", "layer")) == ("completion",)
    assert capabilities(None, PLAIN, parses_tools=True) == ("completion", "tools")


def test_thinking_is_what_is_known_of_its_marks_and_a_manifest_may_claim_more() -> None:
    assert capabilities(None, PLAIN, thinks=True) == ("completion", "thinking")
    assert capabilities(None, PLAIN, claimed=["thinking", "tools", "vision", "x"]) == (
        "completion",
        "tools",
        "thinking",
    )
