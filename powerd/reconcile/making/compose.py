"""Compose: a spec and its weights become a manifest of ours, and a stored model becomes an Offer.

The store is the memory: a composition's config carries, under our own key, what it was made from, so a restarted
daemon knows without fetching that nothing has changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from powerd.catalog.spec import Defaults, ModelSpec, Template
from powerd.names import Name
from powerd.prompt.capabilities import capabilities
from powerd.reconcile.decide import Choice, NodeDefaults, automatic_source, choice_of, fitted
from powerd.reconcile.making import adapters
from powerd.reconcile.making.layers import model_layer, params_of
from powerd.reconcile.offer import OWNED_TEMPLATE, Offer, chosen, format_of
from powerd.reconcile.step import Composed, Fetched, recipe
from powerd.reconcile.written import Written, read, written
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


class _Made(Written, frozen=True, kw_only=True):
    """What a composition's config remembers of how it was made, under our own key."""

    recipe: str


def compose(spec: ModelSpec, fetched: Fetched, header: Header, store: Store) -> StoredModel:
    """Write the spec's texts as layers and publish the manifest under the reserved host. Blocking.

    What came with the weights is inherited; the spec's template, system text and messages take the place of inherited
    ones, and its parameters win key by key, as with Ollama's create. Raises StoreFailed or NoSpace.
    """
    texts = _texts(spec, params_of(fetched.inherited, store))
    replaced = {kind for media_type, _ in texts for kind in _SAME_PLACE.get(media_type, {media_type})}
    layers = [model_layer(store, fetched.weights)]
    layers += [layer for layer in fetched.inherited if layer.media_type not in replaced]
    for media_type, data in texts:
        digest, length = store.put(data)
        layers.append(Layer(media_type, digest, length))
    made = _Made(**written(fetched), recipe=recipe(spec, fetched))
    ours = {"powerd": msgspec.to_builtins(made), **({OWNED_TEMPLATE: "owner"} if spec.template else {})}
    return store.publish(spec.name, layers, describe(header) | dict(fetched.traits) | ours)


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


def composed_from(stored: StoredModel | None) -> Composed | None:
    """What a composition of ours says it was made from; None for anything else."""
    origin = stored.config.get("powerd") if stored is not None and stored.name.is_declared else None
    if stored is None or origin is None:
        return None
    try:
        made = msgspec.convert(origin, _Made)
        fetched = read(made, stored.weights_digest)
    except (msgspec.ValidationError, ValueError):
        return None
    return Composed(fetched, made.recipe, stored.digest)


def declared_offer(spec: ModelSpec, stored: StoredModel, node: NodeDefaults) -> Offer:
    """The offer of a declared model. Its texts are read back from the composition, inherited ones among them."""
    params, choice = _chosen(stored, choice_of(spec, f"`context:` of {spec.display} in models.yaml"))
    decided = fitted(stored, choice, node)
    template = spec.template or _own_template(stored)
    return Offer(
        name=Name.parse(f"{spec.name.model}:{spec.name.tag}"),
        stored=stored,
        deployment=decided.deployment,
        choices=decided.sentences,
        origin="declared",
        capabilities=_capabilities(stored, template, node),
        context_source=choice.context_source or automatic_source(decided.deployment, node),
        system=stored.system,
        template=template,
        go_templates=node.go_templates,
        parameters=params,
        messages=stored.messages,
        adapters=adapters.chosen(stored, spec),
        keep_alive=spec.keep_alive,
        priority=spec.priority,
        overflow=spec.overflow,
        think=spec.think,
        require=spec.require,
        request_options=spec.request_options or ("grow" if choice.context is None else "declared"),
        scheduling_class=spec.scheduling_class,
    )


def installed_offer(stored: StoredModel, defaults: Defaults, node: NodeDefaults) -> Offer:
    """The offer of a model no entry declares: its own layers over the `defaults:` block."""
    params, choice = _chosen(stored, choice_of(defaults, "`context:` under `defaults:` in models.yaml"))
    decided = fitted(stored, choice, node)
    template = _own_template(stored)
    return Offer(
        name=stored.name,
        stored=stored,
        deployment=decided.deployment,
        choices=decided.sentences,
        origin="lower" if stored.read_only else "installed",
        capabilities=_capabilities(stored, template, node),
        context_source=choice.context_source or automatic_source(decided.deployment, node),
        system=stored.system or defaults.system,
        template=template,
        go_templates=node.go_templates,
        parameters=dict(defaults.parameters) | params,
        messages=stored.messages,
        adapters=adapters.chosen(stored),
        keep_alive=defaults.keep_alive,
        priority=defaults.priority,
        overflow=defaults.overflow,
        think=defaults.think,
        require=defaults.require,
        request_options=defaults.request_options or ("grow" if choice.context is None else "declared"),
        scheduling_class=defaults.scheduling_class,
    )


def _chosen(stored: StoredModel, choice: Choice) -> tuple[dict[str, Any], Choice]:
    """The model's own parameters without `num_ctx`, which is the context where nobody else chose one."""
    params: dict[str, Any] = dict(stored.params)
    context = params.pop("num_ctx", None)
    if choice.context is not None:
        return params, choice
    if isinstance(context, int) and not isinstance(context, bool) and 0 < context < 2**31:
        return params, replace(choice, context=context, context_source="`num_ctx` of the model's own parameters")
    return params, replace(choice, context_source="")


def _own_template(stored: StoredModel) -> Template | None:
    """The template that the model's owner wrote: a Jinja layer is always that, a Go layer where the config says so."""
    if stored.jinja:
        return Template(stored.jinja, "jinja")
    owned = stored.template and stored.config.get(OWNED_TEMPLATE)
    return Template(stored.template or "", "go") if owned else None


def _capabilities(stored: StoredModel, template: Template | None, node: NodeDefaults) -> tuple[str, ...]:
    """What the model can do with the template it is served with (contract section 9)."""
    served = chosen(stored, template, node.go_templates)
    written = format_of(stored, served)
    claimed = stored.config.get("capabilities")
    return capabilities(
        stored.header.pooling_type,
        served,
        thinks=written.thinking is not None or written.harmony,
        parses_tools=bool(stored.config.get("parser")) and written.tools is not None,
        claimed=[str(each) for each in claimed] if isinstance(claimed, list) else (),
    )
