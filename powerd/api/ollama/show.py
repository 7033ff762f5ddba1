"""/api/show: everything known of one model (contract sections 1.8 and 4.4; pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from powerd.api.ollama.listing import details, modified
from powerd.modelfile import Command, Modelfile, write
from powerd.reconcile.offer import Offer
from powerd.store.gguf import Header
from powerd.store.gguf_types import Array, Value
from powerd.store.manifest import ADAPTER_TYPE, DRAFT_TYPE, PROJECTOR_TYPE

#: Metadata that has a field of its own in the answer.
_SHOWN_ELSEWHERE = frozenset({"general.name", "tokenizer.chat_template"})


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file's header, and what reads the arrays it was too short for."""

    header: Header
    arrays: Callable[[Array], Sequence[object]]


def show(
    offer: Offer,
    *,
    system: str = "",
    options: Mapping[str, Any] = MappingProxyType({}),
    weights: Weights,
    projector: Weights | None = None,
    verbose: bool = False,
) -> dict[str, object]:
    """The answer. `system` and `options` are laid over the model's for display only.

    Unless `verbose`, arrays are null, which keeps the answer small. Raises what the reading of arrays raises.
    """
    stored = offer.stored
    config = stored.config
    texts = {
        "license": "\n".join(stored.licenses),
        "modelfile": modelfile(offer),
        "parameters": parameters({**_parameters(offer), **options}),
        "template": template(offer),
        "system": system or offer.system or "",
        "renderer": str(config.get("renderer") or ""),
        "parser": str(config.get("parser") or ""),
    }
    messages = [{"role": role, "content": content} for role, content in offer.messages]
    return {
        **{name: text for name, text in texts.items() if text},
        "details": details(offer, lengths=False),
        **({"messages": messages} if messages else {}),
        "model_info": info(weights, verbose=verbose),
        **({"projector_info": info(projector, verbose=verbose)} if projector is not None else {}),
        "tensors": [{"name": t.name, "type": t.type, "shape": list(t.shape)} for t in stored.header.tensors],
        "capabilities": list(offer.capabilities),
        "modified_at": modified(offer),
        **({"requires": requires} if (requires := config.get("requires")) else {}),
    }


def info(weights: Weights, *, verbose: bool) -> dict[str, object]:
    """A header's metadata with the parameter count among it."""
    found: dict[str, object] = {
        key: _plain(value, weights, verbose=verbose)
        for key, value in weights.header.metadata.items()
        if key not in _SHOWN_ELSEWHERE
    }
    found["general.parameter_count"] = weights.header.parameter_count
    return found


def _plain(value: Value, weights: Weights, *, verbose: bool) -> object:
    if not isinstance(value, Array):
        return value
    return list(weights.arrays(value)) if verbose or not value.count else None


def template(offer: Offer) -> str:
    """The template requests are rendered with."""
    return offer.chosen.text


def _parameters(offer: Offer) -> dict[str, Any]:
    """The model's own with those of the runner, which the offer has turned into a deployment."""
    return {**offer.parameters, **offer.stored.params}


def parameters(values: Mapping[str, Any]) -> str:
    """One line for each value, keys padded to 30 columns, values as Go writes them."""
    lines = []
    for name, value in sorted(values.items()):
        for item in value if isinstance(value, list | tuple) else [value]:
            lines.append(f"{name:<30} {_go(item)}")
    return "\n".join(lines)


def _go(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return msgspec.json.encode(value).decode()


def modelfile(offer: Offer) -> str:
    """A Modelfile that makes this model again."""
    stored = offer.stored
    blobs = stored.weights.parent
    commands = [Command("from", str(stored.weights))]
    for name, media_type in (("adapter", ADAPTER_TYPE), ("draft", DRAFT_TYPE), ("from", PROJECTOR_TYPE)):
        files = [layer.digest.blob_name for layer in stored.layers if layer.media_type == media_type]
        commands += [Command(name, str(blobs / file)) for file in files]
    commands.append(Command("template", stored.template or template(offer)))
    given = {"system": offer.system, "renderer": stored.config.get("renderer"), "parser": stored.config.get("parser")}
    commands += [Command(name, text) for name, text in given.items() if isinstance(text, str) and text]
    for key, value in sorted(_parameters(offer).items()):
        for item in value if isinstance(value, list | tuple) else [value]:
            commands.append(Command("parameter", item if isinstance(item, str) else _go(item), key))
    commands += [Command("license", text) for text in stored.licenses]
    commands += [Command("message", content, role) for role, content in offer.messages]
    head = '# Modelfile generated by "ollama show"\n# To build a new Modelfile based on this, replace FROM with:\n'
    return f"{head}# FROM {offer.name.display}\n\n" + write(Modelfile(tuple(commands)))
