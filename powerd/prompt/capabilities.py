"""What a model can do, by the names Ollama's clients know (contract section 9)."""

from __future__ import annotations

from collections.abc import Sequence

from powerd.prompt.choose import Chosen

#: What a manifest's config may add to what header and template tell.
_CLAIMS = ("tools", "thinking", "insert")


def capabilities(
    pooling_type: int | None,
    chosen: Chosen,
    *,
    thinks: bool = False,
    parses_tools: bool = False,
    claimed: Sequence[str] = (),
) -> tuple[str, ...]:
    """The capabilities that follow from the header's `<architecture>.pooling_type` (or None) and from the template.

    A model that pools turns a text into one vector and cannot continue it. `thinks`: how the model marks its thinking
    is known. `parses_tools`: the manifest names a parser that reads calls. `claimed`: the manifest's own list.
    """
    if pooling_type is not None:
        return ("embedding",)
    can = {
        "completion": True,
        "tools": chosen.takes_tools or parses_tools,
        "thinking": thinks,
        "insert": chosen.inserts,
    }
    return tuple(name for name, has in can.items() if has or (name in claimed and name in _CLAIMS))
