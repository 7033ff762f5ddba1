"""Compose: a spec and its weights become a manifest of ours, and a stored model becomes an Offer.

The store is the memory: a composition's config carries, under our own key, what it was made from, so a restarted
daemon knows without fetching that nothing has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from powerd.catalog.spec import CellType, Defaults, ModelSpec, Template
from powerd.fleet.budget import estimate
from powerd.names import Name
from powerd.prompt.capabilities import capabilities
from powerd.protocol import Deployment
from powerd.reconcile.offer import Offer
from powerd.reconcile.step import Composed, Fetched, recipe
from powerd.store.gguf import Header
from powerd.store.manifest import (
    JINJA_TYPE,
    MESSAGES_TYPE,
    MODEL_TYPE,
    PARAMS_TYPE,
    SYSTEM_TYPE,
    TEMPLATE_TYPE,
    Layer,
    StoredModel,
    describe,
)
from powerd.store.store import Store

#: Tokens per sequence when nobody says (contract section 5: CPU and small GPUs).
DEFAULT_CONTEXT = 4096
#: More layers than any model has: `gpu_layers: all`.
ALL_LAYERS = 9999
#: Below this size handing work between threads costs more than it saves.
SINGLE_THREAD_BYTES = 16 << 20
#: Sequences `parallel: auto` stops at.
MAX_AUTO_PARALLEL = 16
#: Cells that `parallel: auto` may take whatever the weights' size.
AUTO_CELLS_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class NodeDefaults:
    """What powerd.yaml and OLLAMA_* say of models nobody said more about; 0 = auto."""

    context: int = 0
    parallel: int = 0
    kv_cache: CellType = "f16"


def compose(spec: ModelSpec, fetched: Fetched, header: Header, store: Store) -> StoredModel:
    """Write the spec's texts as layers and publish the manifest under the reserved host. Blocking.

    Raises StoreFailed or NoSpace.
    """
    path = store.blob(fetched.weights)
    size = path.stat().st_size if path else 0
    layers = [Layer(MODEL_TYPE, fetched.weights, size)]
    for media_type, data in _texts(spec):
        digest, length = store.put(data)
        layers.append(Layer(media_type, digest, length))
    config = describe(header) | {
        "powerd": {"source": fetched.source, "identity": fetched.identity, "recipe": recipe(spec, fetched)}
    }
    return store.publish(spec.name, layers, config)


def _texts(spec: ModelSpec) -> list[tuple[str, bytes]]:
    texts: list[tuple[str, bytes]] = []
    if spec.template is not None:
        media_type = JINJA_TYPE if spec.template.syntax == "jinja" else TEMPLATE_TYPE
        texts.append((media_type, spec.template.text.encode()))
    if spec.system is not None:
        texts.append((SYSTEM_TYPE, spec.system.encode()))
    if spec.parameters:
        texts.append((PARAMS_TYPE, msgspec.json.encode(dict(spec.parameters), order="sorted")))
    if spec.messages:
        pairs = [{"role": role, "content": content} for role, content in spec.messages]
        texts.append((MESSAGES_TYPE, msgspec.json.encode(pairs)))
    return texts


def composed_from(stored: StoredModel | None) -> Composed | None:
    """What a composition of ours says it was made from; None for anything else."""
    origin = stored.config.get("powerd") if stored is not None and stored.name.is_declared else None
    if stored is None or not isinstance(origin, dict):
        return None
    source, identity, made = (origin.get(key) for key in ("source", "identity", "recipe"))
    if not isinstance(source, str) or not isinstance(identity, str) or not isinstance(made, str):
        return None
    return Composed(Fetched(source, identity, stored.weights_digest), made, stored.digest)


@dataclass(frozen=True, slots=True)
class Choice:
    """The runner options somebody chose; None = auto."""

    gpu_layers: int | Literal["all"] | None
    context: int | None
    parallel: int | None
    kv_cache: CellType | None
    context_source: str


def deployment(stored: StoredModel, choice: Choice, node: NodeDefaults) -> Deployment:
    """The process that would serve `stored` with these options, everything automatic decided."""
    shape = stored.header.shape()
    trained = shape.trained_context or DEFAULT_CONTEXT
    alone = Deployment(
        weights=str(stored.weights),
        weights_digest=stored.weights_digest.hex,
        context=choice.context or min(node.context or DEFAULT_CONTEXT, trained),
        parallel=1,
        shape=shape,
        context_auto=choice.context is None,
        kv_cache=choice.kv_cache or node.kv_cache,
        gpu_layers=_gpu_layers(choice.gpu_layers),
        threads=1 if shape.weights_bytes < SINGLE_THREAD_BYTES else 0,
    )
    parallel = choice.parallel or node.parallel or _auto_parallel(estimate(alone).cells, shape.weights_bytes)
    return msgspec.structs.replace(alone, parallel=parallel)


def _gpu_layers(choice: int | Literal["all"] | None) -> int:
    if choice is None:
        return -1
    return ALL_LAYERS if choice == "all" else choice


def _auto_parallel(cells_per_sequence: float, weights: int) -> int:
    """The largest power of two of sequences whose cells stay below 1 GiB or half the weights, whichever is more."""
    allowed = max(AUTO_CELLS_BYTES, weights / 2)
    fit = allowed / max(cells_per_sequence, 1.0)
    return 1 if fit < 2 else min(MAX_AUTO_PARALLEL, 2 ** int(math.log2(fit)))


def declared_offer(spec: ModelSpec, stored: StoredModel, node: NodeDefaults) -> Offer:
    """The offer of a declared model."""
    if spec.context is not None:
        source = f"`context:` of {spec.display} in models.yaml"
    else:
        source = _automatic_source(stored, node)
    choice = Choice(spec.gpu_layers, spec.context, spec.parallel, spec.kv_cache, source)
    return Offer(
        name=Name.parse(f"{spec.name.model}:{spec.name.tag}"),
        stored=stored,
        deployment=deployment(stored, choice, node),
        origin="declared",
        capabilities=_capabilities(stored),
        context_source=source,
        system=spec.system,
        template=spec.template,
        parameters=spec.parameters,
        messages=spec.messages,
        keep_alive=spec.keep_alive,
        priority=spec.priority,
        overflow=spec.overflow,
        require=spec.require,
    )


def installed_offer(stored: StoredModel, defaults: Defaults, node: NodeDefaults) -> Offer:
    """The offer of a model no entry declares: its own layers over the `defaults:` block."""
    source = "`context:` under `defaults:` in models.yaml" if defaults.context else _automatic_source(stored, node)
    choice = Choice(defaults.gpu_layers, defaults.context, defaults.parallel, defaults.kv_cache, source)
    params: dict[str, Any] = dict(stored.params)
    context = params.pop("num_ctx", None)
    if isinstance(context, int) and not isinstance(context, bool) and 0 < context < 2**31:
        choice = Choice(
            choice.gpu_layers, context, choice.parallel, choice.kv_cache, "`num_ctx` of the model's own parameters"
        )
    return Offer(
        name=stored.name,
        stored=stored,
        deployment=deployment(stored, choice, node),
        origin="lower" if stored.read_only else "installed",
        capabilities=_capabilities(stored),
        context_source=choice.context_source,
        system=stored.system or defaults.system,
        template=Template(stored.jinja, "jinja") if stored.jinja else None,
        parameters=dict(defaults.parameters) | params,
        messages=stored.messages,
        keep_alive=defaults.keep_alive,
        priority=defaults.priority,
        overflow=defaults.overflow,
        require=defaults.require,
    )


def _automatic_source(stored: StoredModel, node: NodeDefaults) -> str:
    trained = stored.header.context_length or DEFAULT_CONTEXT
    if trained <= (node.context or DEFAULT_CONTEXT):
        return "the context the model was trained for"
    if node.context:
        return "OLLAMA_CONTEXT_LENGTH or `context_length` in powerd.yaml"
    return f"the default of {DEFAULT_CONTEXT} tokens"


def _capabilities(stored: StoredModel) -> tuple[str, ...]:
    return capabilities(stored.header.pooling_type)
