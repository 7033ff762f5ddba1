"""Automatic: what a new model gets unasked because of what its weights are (contract sections 4.3 and 7.3; pure)."""

from __future__ import annotations

from dataclasses import dataclass

from powerd.output.recognise import recognise
from powerd.prompt.published import FAMILIES, match
from powerd.reconcile.making.creation import TEMPLATE_TYPES, CreateRequest
from powerd.reconcile.making.ingredients import Ingredients


@dataclass(frozen=True, slots=True)
class Unasked:
    """Defaults for what a request and its base leave open."""

    family: str = ""  # whose Go template it gets
    writer: str = ""  # the renderer and the parser of its config
    stops: tuple[str, ...] = ()


#: By the beginning of the weights' architecture.
_BY_ARCHITECTURE = {
    "gemma4": Unasked(writer="gemma4", stops=("<turn|>",)),
    "laguna": Unasked(writer="laguna"),
    "nemotron_h": Unasked(writer="nemotron-3-nano"),
}


def unasked(request: CreateRequest, made: Ingredients) -> Unasked:
    """The defaults of a model made of these ingredients; none where a template was written for it."""
    assert made.header is not None
    if request.template or any(layer.media_type in TEMPLATE_TYPES for layer in made.layers):
        return Unasked()
    jinja = made.header.chat_template or ""
    named = request.renderer or request.parser or made.config.get("renderer") or made.config.get("parser")
    found = Unasked() if named else _of_architecture(made.header.architecture, jinja)
    if not found.writer and request.files and jinja and (family := match(jinja)) is not None:
        found = Unasked(family, stops=tuple(FAMILIES[family].stops))
    return found if "stop" not in made.params else Unasked(found.family, found.writer)


def _of_architecture(architecture: str, jinja: str) -> Unasked:
    """What Ollama gives the architecture, unless the weights' own template is of another format."""
    for prefix, found in _BY_ARCHITECTURE.items():
        if architecture.startswith(prefix):
            own, theirs = recognise(jinja, "jinja"), recognise(jinja, "jinja", found.writer)
            if own.tools in (None, theirs.tools) and own.thinking in (None, theirs.thinking):
                return found
    return Unasked()
