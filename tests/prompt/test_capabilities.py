"""What a header says a model can do."""

from __future__ import annotations

from powerd.prompt.capabilities import capabilities


def test_a_model_that_pools_embeds_and_every_other_completes() -> None:
    assert capabilities(None) == ("completion",)
    assert capabilities(0) == ("embedding",)
    assert capabilities(1) == ("embedding",)
