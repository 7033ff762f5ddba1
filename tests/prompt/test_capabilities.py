"""What a header and a template say a model can do."""

from __future__ import annotations

from powerd.prompt.capabilities import capabilities


def test_a_model_that_pools_embeds_and_every_other_completes() -> None:
    assert capabilities(None) == ("completion",)
    assert capabilities(0) == ("embedding",)
    assert capabilities(1) == ("embedding",)


def test_a_template_with_a_place_for_a_suffix_inserts() -> None:
    assert capabilities(None, inserts=True) == ("completion", "insert")
    assert capabilities(0, inserts=True) == ("embedding",)
