"""What a model can do, by the names Ollama's clients know (contract section 9)."""

from __future__ import annotations


def capabilities(pooling_type: int | None, inserts: bool = False) -> tuple[str, ...]:
    """The capabilities that follow from the header's `<architecture>.pooling_type` (or None) and from the template.

    A model that pools turns a text into one vector and cannot continue it. `inserts`: the template has a place for what
    follows a gap.
    """
    if pooling_type is not None:
        return ("embedding",)
    return ("completion", "insert") if inserts else ("completion",)
