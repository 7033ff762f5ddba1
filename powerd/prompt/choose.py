"""Which template a model is served with (contract section 7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from powerd.prompt import generic
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate.survey import names
from powerd.prompt.named import NAMED, detect

Syntax = Literal["jinja", "go"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A template and where it comes from."""

    text: str
    syntax: Syntax
    origin: Literal["owner", "layer", "model", "named", "generic"]
    name: str = ""  # of a named template

    @property
    def inserts(self) -> bool:
        """Whether it has a place for what follows a gap."""
        return self.syntax == "go" and "Suffix" in _used(self.text)

    @property
    def takes_tools(self) -> bool:
        """Whether it tells the model of tools."""
        if self.syntax == "go":
            return "Tools" in _used(self.text)
        return "tools" in _jinja_capabilities(self.text)


@dataclass(frozen=True, slots=True)
class Brought:
    """What came with a model's weights and tells its template."""

    layer: str | None = None  # Go text of Ollama's template layer
    jinja: str | None = None  # `tokenizer.chat_template` of the GGUF
    renderer: str = ""  # the manifest's config
    parser: str = ""
    end_token: str = ""
    name: str = ""  # what the GGUF calls itself


GoTemplates = Literal["auto", "on", "off"]


@lru_cache(maxsize=256)
def choose(owner: tuple[str, Syntax] | None, brought: Brought, go_templates: GoTemplates = "auto") -> Chosen:
    """The owner's template, else the better one of the layer and the GGUF, else a known one, else the generic one.

    A blank text counts as none. With `go_templates` on or off it does not matter what each can do.
    """
    if owner is not None and owner[0].strip():
        return Chosen(*owner, "owner")
    layer, jinja = (text if text and text.strip() else None for text in (brought.layer, brought.jinja))
    if layer is not None and (jinja is None or not _prefers_jinja(layer, jinja, brought, go_templates)):
        return Chosen(layer, "go", "layer")
    if jinja is not None:
        return Chosen(jinja, "jinja", "model")
    known = detect(brought.end_token, brought.name)
    if known is not None:
        return Chosen(NAMED[known].text, "jinja", "named", known)
    return Chosen(generic.TEMPLATE, "jinja", "generic")


def _used(go: str) -> frozenset[str]:
    """The fields a Go template names; none where it cannot be read."""
    try:
        return names(go)
    except TemplateFailed:
        return frozenset()


def _prefers_jinja(go: str, jinja: str, brought: Brought, go_templates: GoTemplates) -> bool:
    """Whether the GGUF's template can do more than the layer's, or the layer's cannot be used.

    A manifest that names a built-in renderer has a placeholder for a layer. One that names a parser, and gpt-oss,
    count on the layer.
    """
    if brought.renderer:
        return True
    used = _used(go)
    if not used:
        return True
    if brought.parser or ("<|start|>" in go and "<|end|>" in go):
        return False
    if go_templates != "auto":
        return go_templates == "off"
    ours, theirs = _go_capabilities(used), _jinja_capabilities(jinja)
    ours_whole = "ToolCalls" in used and ('"tool"' in go or "ToolName" in used or "ToolCallID" in used)
    theirs_whole = "tool_calls" in jinja and any(word in jinja for word in ("'tool'", '"tool"', "tool_response"))
    if len(theirs) > len(ours):
        return not (ours_whole and not theirs_whole)
    return ours == theirs and "tools" in ours and theirs_whole and not ours_whole


def _go_capabilities(used: frozenset[str]) -> set[str]:
    kinds = {"Tools": "tools", "Suffix": "insert", "Thinking": "thinking"}
    return {capability for field, capability in kinds.items() if field in used}


def _jinja_capabilities(jinja: str) -> set[str]:
    tools = {"tools"} if "tools" in jinja or "tool_call" in jinja else set()
    thinks = "</think>" in jinja and ("<think>" in jinja or "split('</think>')" in jinja)
    return tools | ({"thinking"} if thinks else set())
