"""Compose: a spec and its weights become a manifest of ours, and a stored model becomes an Offer.

The store is the memory: a composition's config carries, under our own key, what it was made from, so a restarted
daemon knows without fetching that nothing has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from powerd.catalog.spec import CellType, Defaults, ModelSpec, Template
from powerd.digest import Digest
from powerd.fleet.budget import estimate
from powerd.names import Name
from powerd.prompt.capabilities import capabilities
from powerd.protocol import Deployment, Shape
from powerd.reconcile.acquire import model_layer
from powerd.reconcile.offer import Offer
from powerd.reconcile.step import Composed, Fetched, recipe
from powerd.store.files import read_small
from powerd.store.gguf import Header
from powerd.store.manifest import (
    JINJA_TYPE,
    MESSAGES_TYPE,
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
#: Bytes of a params layer that are read.
MAX_PARAMS = 1 << 20
#: Cells that `parallel: auto` may take whatever the weights' size.
AUTO_CELLS_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class NodeDefaults:
    """What powerd.yaml and OLLAMA_* say of models nobody said more about; 0 = auto."""

    context: int = 0
    parallel: int = 0
    kv_cache: CellType = "f16"


class _Made(msgspec.Struct):
    """What a composition's config remembers of how it was made, under our own key."""

    source: str
    identity: str
    recipe: str
    origin: str
    quantization: str
    pinned: str
    inherited: list[tuple[str, str, int]]  # media type, digest, size


def compose(spec: ModelSpec, fetched: Fetched, header: Header, store: Store) -> StoredModel:
    """Write the spec's texts as layers and publish the manifest under the reserved host. Blocking.

    What came with the weights is inherited; the spec's template, system text and messages take the place of inherited
    ones, and its parameters win key by key, as with Ollama's create. Raises StoreFailed or NoSpace.
    """
    texts = _texts(spec, _inherited_params(fetched, store))
    replaced = {kind for media_type, _ in texts for kind in _SAME_PLACE.get(media_type, {media_type})}
    layers = [model_layer(store, fetched.weights)]
    layers += [layer for layer in fetched.inherited if layer.media_type not in replaced]
    for media_type, data in texts:
        digest, length = store.put(data)
        layers.append(Layer(media_type, digest, length))
    made = _Made(
        source=fetched.source,
        identity=fetched.identity,
        recipe=recipe(spec, fetched),
        origin=str(fetched.origin),
        quantization=fetched.quantization,
        pinned=fetched.pinned,
        inherited=[(layer.media_type, str(layer.digest), layer.size) for layer in fetched.inherited],
    )
    return store.publish(spec.name, layers, describe(header) | {"powerd": msgspec.to_builtins(made)})


_SAME_PLACE = {kind: {JINJA_TYPE, TEMPLATE_TYPE} for kind in (JINJA_TYPE, TEMPLATE_TYPE)}


def _texts(spec: ModelSpec, inherited: dict[str, Any]) -> list[tuple[str, bytes]]:
    texts: list[tuple[str, bytes]] = []
    if spec.template is not None:
        media_type = JINJA_TYPE if spec.template.syntax == "jinja" else TEMPLATE_TYPE
        texts.append((media_type, spec.template.text.encode()))
    if spec.system is not None:
        texts.append((SYSTEM_TYPE, spec.system.encode()))
    if spec.parameters:
        texts.append((PARAMS_TYPE, msgspec.json.encode(inherited | dict(spec.parameters), order="sorted")))
    if spec.messages:
        pairs = [{"role": role, "content": content} for role, content in spec.messages]
        texts.append((MESSAGES_TYPE, msgspec.json.encode(pairs)))
    return texts


def _inherited_params(fetched: Fetched, store: Store) -> dict[str, Any]:
    for layer in fetched.inherited:
        if layer.media_type == PARAMS_TYPE and (path := store.blob(layer.digest)) is not None:
            try:
                params = msgspec.json.decode(read_small(path, MAX_PARAMS))
            except (OSError, ValueError):
                return {}
            return params if isinstance(params, dict) else {}
    return {}


def composed_from(stored: StoredModel | None) -> Composed | None:
    """What a composition of ours says it was made from; None for anything else."""
    origin = stored.config.get("powerd") if stored is not None and stored.name.is_declared else None
    if stored is None or origin is None:
        return None
    try:
        made = msgspec.convert(origin, _Made)
        fetched = Fetched(
            source=made.source,
            identity=made.identity,
            weights=stored.weights_digest,
            origin=Digest.parse(made.origin),
            quantization=made.quantization,
            pinned=made.pinned,
            inherited=tuple(Layer(kind, Digest.parse(digest), size) for kind, digest, size in made.inherited),
        )
    except (msgspec.ValidationError, ValueError):
        return None
    return Composed(fetched, made.recipe, stored.digest)


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
    return _decided(str(stored.weights), stored.weights_digest.hex, stored.header.shape(), choice, node)


def foretold(shape: Shape, node: NodeDefaults) -> Deployment:
    """The process that would serve weights of this shape that are not here, all options automatic."""
    return _decided("", "", shape, Choice(None, None, None, None, ""), node)


def _decided(weights: str, digest: str, shape: Shape, choice: Choice, node: NodeDefaults) -> Deployment:
    trained = shape.trained_context or DEFAULT_CONTEXT
    alone = Deployment(
        weights=weights,
        weights_digest=digest,
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
    """The offer of a declared model. Its texts are read back from the composition, inherited ones among them."""
    params, choice = _chosen(
        stored,
        Choice(
            spec.gpu_layers, spec.context, spec.parallel, spec.kv_cache, f"`context:` of {spec.display} in models.yaml"
        ),
        node,
    )
    return Offer(
        name=Name.parse(f"{spec.name.model}:{spec.name.tag}"),
        stored=stored,
        deployment=deployment(stored, choice, node),
        origin="declared",
        capabilities=_capabilities(stored),
        context_source=choice.context_source,
        system=stored.system,
        template=spec.template or _own_template(stored),
        parameters=params,
        messages=stored.messages,
        keep_alive=spec.keep_alive,
        priority=spec.priority,
        overflow=spec.overflow,
        require=spec.require,
    )


def installed_offer(stored: StoredModel, defaults: Defaults, node: NodeDefaults) -> Offer:
    """The offer of a model no entry declares: its own layers over the `defaults:` block."""
    source = "`context:` under `defaults:` in models.yaml"
    params, choice = _chosen(
        stored, Choice(defaults.gpu_layers, defaults.context, defaults.parallel, defaults.kv_cache, source), node
    )
    return Offer(
        name=stored.name,
        stored=stored,
        deployment=deployment(stored, choice, node),
        origin="lower" if stored.read_only else "installed",
        capabilities=_capabilities(stored),
        context_source=choice.context_source,
        system=stored.system or defaults.system,
        template=_own_template(stored),
        parameters=dict(defaults.parameters) | params,
        messages=stored.messages,
        keep_alive=defaults.keep_alive,
        priority=defaults.priority,
        overflow=defaults.overflow,
        require=defaults.require,
    )


def _chosen(stored: StoredModel, choice: Choice, node: NodeDefaults) -> tuple[dict[str, Any], Choice]:
    """The model's own parameters without `num_ctx`, which is the context where nobody else chose one."""
    params: dict[str, Any] = dict(stored.params)
    context = params.pop("num_ctx", None)
    if choice.context is not None:
        return params, choice
    if isinstance(context, int) and not isinstance(context, bool) and 0 < context < 2**31:
        return params, replace(choice, context=context, context_source="`num_ctx` of the model's own parameters")
    return params, replace(choice, context_source=_automatic_source(stored, node))


def _own_template(stored: StoredModel) -> Template | None:
    return Template(stored.jinja, "jinja") if stored.jinja else None


def _automatic_source(stored: StoredModel, node: NodeDefaults) -> str:
    trained = stored.header.context_length or DEFAULT_CONTEXT
    if trained <= (node.context or DEFAULT_CONTEXT):
        return "the context the model was trained for"
    if node.context:
        return "OLLAMA_CONTEXT_LENGTH or `context_length` in powerd.yaml"
    return f"the default of {DEFAULT_CONTEXT} tokens"


def _capabilities(stored: StoredModel) -> tuple[str, ...]:
    return capabilities(stored.header.pooling_type)
