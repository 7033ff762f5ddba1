"""Explain: every effective value of a model, who set it, and what the engine says it has. Pure.

The order of who wins is the design's: built-in, powerd.yaml and the variables, `defaults:`, the model's entry; what
the model itself brings stands where none of them speaks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from powerd.catalog.show import redacted, short
from powerd.catalog.spec import Catalog, Defaults, ModelSpec, Position
from powerd.protocol import Deployment, ReadBack
from powerd.reconcile.offer import Offer

BUILT_IN = "built-in"
AUTOMATIC = "automatic"
OWN = "the model's own parameters"
OWN_POOLING = "the GGUF's own pooling_type"


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value. `have` is what the engine says it has, None where it does not say."""

    field: str
    value: object
    origin: str
    have: object = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is explained."""

    offer: Offer
    spec: ModelSpec | None  # of a declared model
    catalog: Catalog
    settings: Mapping[str, str]  # where the daemon's options come from, by key
    keep_alive: float  # seconds, the daemon's own
    have: ReadBack | None = None


#: The daemon's option that stands behind a field nobody set in models.yaml.
_SETTINGS = {
    "context": "context_length",
    "parallel": "parallel",
    "kv_cache": "kv_cache",
    "keep_alive": "keep_alive",
    "flash_attention": "flash_attention",
    "placement": "sched_spread",
}
#: What powerd or the engine chooses where nobody says.
_CHOSEN = frozenset(
    {"context", "parallel", "gpu_layers", "threads", "placement", "flash_attention", "load_mode", "pooling"}
)


def explain(subject: Subject) -> list[Value]:
    """Every value, those of the process first."""
    return [*_identity(subject), *_process(subject), *_behaviour(subject), *_texts(subject), *_parameters(subject)]


def _identity(subject: Subject) -> Iterator[Value]:
    spec, stored = subject.spec, subject.offer.stored
    if spec is not None:
        yield _written(subject, "state", spec.state)
        yield _written(subject, "source", redacted(spec.source))
        if spec.quantization:
            yield _written(subject, "quantization", spec.quantization)
        if spec.aliases:
            yield _written(subject, "aliases", [short(alias) for alias in spec.aliases])
    pinned = spec is not None and spec.digest is not None
    resolved = "what the source resolved to" if spec else "its manifest"
    yield Value("digest", f"sha256:{stored.weights_digest.hex}", _place(subject, "digest") if pinned else resolved)
    yield Value("manifest", f"sha256:{stored.digest.hex}", "powerd composed it" if spec else "installed")


def _process(subject: Subject) -> Iterator[Value]:
    deployment, have = subject.offer.deployment, subject.have
    read: Mapping[str, object] = _read_back(deployment, have) if have else {}
    for field, value in _deployed(deployment).items():
        origin = _origin(subject, field)
        if origin in {BUILT_IN, AUTOMATIC}:
            origin = _of_itself(subject.offer, field) or origin
        yield Value(field, value, origin, read.get(field))


def _of_itself(offer: Offer, field: str) -> str:
    """Where a value comes from that nobody set, if that can be said."""
    if field == "context":
        return offer.context_source
    return OWN_POOLING if field == "pooling" and offer.deployment.shape.pooling else ""


def _deployed(deployment: Deployment) -> dict[str, object]:
    place = deployment.placement
    return {
        "context": deployment.context,
        "parallel": deployment.parallel,
        "kv_cache": deployment.kv_cache,
        "gpu_layers": _layers(deployment),
        "threads": deployment.threads or "auto",
        "batch": deployment.batch,
        "load_mode": deployment.load_mode,
        "flash_attention": deployment.flash_attention,
        "pooling": deployment.pooling or deployment.shape.pooling or "mean",
        "placement": {"devices": list(place.devices) or "auto", "split": list(place.split) or place.mode},
        "adapters": [digest[:12] for digest, _, _ in deployment.adapters],
    }


def _layers(deployment: Deployment) -> object:
    if deployment.gpu_layers < 0:
        return "auto"
    return "all" if deployment.gpu_layers > deployment.shape.layers else deployment.gpu_layers


def _read_back(deployment: Deployment, have: ReadBack) -> dict[str, object]:
    """By field, as the engine told it after the load."""
    return {
        "context": have.context,
        "parallel": have.sequences,
        "kv_cache": have.kv_cache,
        "gpu_layers": f"{have.gpu_layers} of {have.layers}",
        "threads": have.threads,
        "batch": have.batch or None,
        "load_mode": have.load_mode or None,
        "flash_attention": "on" if have.flash_attention else "off",
        "pooling": have.pooling or None,
        "placement": {name: share.size for name, share in have.devices.items()} or have.device,
        "adapters": [digest[:12] for digest in have.adapters],
    }


def _behaviour(subject: Subject) -> Iterator[Value]:
    offer, spec = subject.offer, subject.spec
    keep_alive = subject.keep_alive if offer.keep_alive is None else offer.keep_alive
    yield _written(subject, "keep_alive", "always" if keep_alive == math.inf else f"{keep_alive:g}s")
    yield _written(subject, "priority", offer.priority)
    yield _written(subject, "overflow", offer.overflow)
    require = {"gpu": offer.require.gpu, "full_offload": offer.require.full_offload}
    yield _written(subject, "require", [name for name, wanted in require.items() if wanted])
    options, scheduling = (
        (spec.request_options, spec.scheduling_class)
        if spec
        else (subject.catalog.defaults.request_options, subject.catalog.defaults.scheduling_class)
    )
    yield _written(subject, "request_options", options or ("grow" if offer.deployment.context_auto else "declared"))
    yield _written(subject, "class", scheduling)
    scales = {digest[:12]: scale for digest, scale in offer.adapters}
    if scales:
        origin = _place(subject, "adapters") or "the model's own adapters"
        yield Value("adapters.scale", scales, origin)
    if spec is not None:
        yield _written(subject, "think", "auto" if spec.think is None else spec.think)


def _texts(subject: Subject) -> Iterator[Value]:
    offer, stored = subject.offer, subject.offer.stored
    if offer.system is not None:
        own = OWN if stored.system == offer.system and _at(subject, "system") is None else _origin(subject, "system")
        yield Value("system", offer.system, own)
    chosen = offer.chosen
    origins = {
        "owner": _place(subject, "template") or "the model's own template",
        "layer": "the model's own template",
        "model": "the GGUF's own template",
    }
    known = {"named": chosen.name, "generic": "generic"}
    yield Value("template", known.get(chosen.origin, chosen.syntax), origins.get(chosen.origin, BUILT_IN))


def _parameters(subject: Subject) -> Iterator[Value]:
    declared = subject.spec.parameters if subject.spec else {}
    for name, value in sorted(subject.offer.parameters.items()):
        field = f"parameters.{name}"
        shown = list(value) if isinstance(value, tuple) else value
        if name in declared:
            yield Value(field, shown, _place(subject, field) or _place(subject, "parameters"))
        elif not subject.spec and subject.catalog.defaults.parameters.get(name) == value:
            yield Value(field, shown, _DEFAULTS)
        else:
            yield Value(field, shown, OWN)


# ---------------------------------------------------------------- who set it

_DEFAULTS = "`defaults:` in models.yaml"


def _written(subject: Subject, field: str, value: object) -> Value:
    return Value(field, value, _origin(subject, field))


def _origin(subject: Subject, field: str) -> str:
    place = _place(subject, field)
    if place:
        return place
    if subject.spec is None and _set_for_all(subject.catalog.defaults, field):
        return _DEFAULTS
    setting = _SETTINGS.get(field, "")
    if setting in subject.settings:
        return subject.settings[setting]
    return AUTOMATIC if field in _CHOSEN else BUILT_IN


def _set_for_all(defaults: Defaults, field: str) -> bool:
    attribute = "scheduling_class" if field == "class" else field
    return bool(getattr(defaults, attribute, None) != getattr(Defaults(), attribute, None))


def _at(subject: Subject, field: str) -> Position | None:
    return subject.spec.origins.get(field) if subject.spec else None


def _place(subject: Subject, field: str) -> str:
    """`models.yaml:7`, with a word where that is the `defaults:` block; "" where the file does not say."""
    at = _at(subject, field)
    if at is None:
        return ""
    return f"{at.file}:{at.line}" + (" (defaults)" if _of_defaults(subject, at) else "")


def _of_defaults(subject: Subject, at: Position) -> bool:
    """Whether a place lies outside the model's own entry: before it, after the next one, or in another file."""
    spec = subject.spec
    if spec is None or at.file != spec.at.file or at.line < spec.at.line:
        return True
    lines = [other.at.line for other in subject.catalog.models.values() if other.at.file == at.file]
    return any(spec.at.line < line <= at.line for line in lines)
