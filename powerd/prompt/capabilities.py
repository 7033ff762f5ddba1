"""What a model can do, by the names Ollama's clients know (contract section 9)."""

from __future__ import annotations


def capabilities(pooling_type: int | None) -> tuple[str, ...]:
    """The capabilities that follow from the header; `pooling_type` is its `<architecture>.pooling_type` or None.

    A model that pools turns a text into one vector and cannot continue it.
    """
    return ("completion",) if pooling_type is None else ("embedding",)
