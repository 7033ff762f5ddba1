"""The next step for one declared model, from what is wanted and what is there. Pure.

Level-triggered: nobody remembers why a name is visited; want and have are read afresh and one step is taken. Lost or
doubled events are harmless, and a daemon killed between two steps goes on where the disk says it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from powerd.catalog.spec import ModelSpec
from powerd.digest import Digest
from powerd.store.manifest import Layer


@dataclass(frozen=True, slots=True)
class Fetched:
    """Weights that are in the store, and what they were fetched from."""

    source: str  # as the spec writes it
    identity: str  # how the source looked then: changes when a local file does
    weights: Digest
    origin: Digest  # what was fetched: other than `weights` where these were quantized here
    quantization: str = ""  # what the spec asked for
    pinned: str = ""  # the digest the spec asked for, which the source answered to
    inherited: tuple[Layer, ...] = ()  # template, parameters, licence … that came with the weights
    revision: str = ""  # the source's own word for what it gave: a manifest's digest, a commit, an ETag
    traits: tuple[tuple[str, str], ...] = ()  # what the config that came along says, and holds for what is made of it


@dataclass(frozen=True, slots=True)
class Composed:
    """The manifest under the reserved host."""

    fetched: Fetched
    recipe: str  # hash of everything that went into it
    manifest: Digest


@dataclass(frozen=True, slots=True)
class Loss:
    """Something of the composition that the disk does not have as it should."""

    what: Literal["manifest", "weights", "projector", "adapter", "layer"]
    how: Literal["missing", "changed"]
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Have:
    """What is there for one name."""

    identity: str = ""  # how the source looks now
    fetched: Fetched | None = None  # by this run, not yet composed
    composed: Composed | None = None
    offered: tuple[ModelSpec, Digest] | None = None  # spec and manifest of the offer in the library
    recorded: Fetched | None = None  # what the accepted generation resolved to, where all of it is in the store
    pinned: bool = False  # a rollback: what is recorded stands, whatever the source looks like
    lock: str = ""  # the digest that models.lock.yaml says the source gives
    lost: tuple[Loss, ...] = ()  # what was there, and is gone or was changed on disk


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring the weights into the store, verified."""


@dataclass(frozen=True, slots=True)
class Compose:
    """Write the manifest from these weights and the spec's own texts."""

    fetched: Fetched


@dataclass(frozen=True, slots=True)
class MakeOffer:
    """Put the composition into the library."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the offer and the manifest away."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to do until something changes."""


Step = Fetch | Compose | MakeOffer | Withdraw | Settled


def step(spec: ModelSpec | None, have: Have) -> Step:
    """The one next step towards `spec`; None and `state: absent` mean the model should not be here."""
    if spec is None or spec.state == "absent":
        return Withdraw() if have.composed or have.offered else Settled()
    fetched = _usable(spec, have)
    if fetched is None:
        return Fetch()
    if have.composed is None or have.composed.fetched != fetched or have.composed.recipe != recipe(spec, fetched):
        return Compose(fetched)
    if have.offered != (spec, have.composed.manifest):
        return MakeOffer()
    return Settled()


def _usable(spec: ModelSpec, have: Have) -> Fetched | None:
    """Weights that are still what the spec means, the newest first.

    What the generation recorded goes before what the composition was made of, so that a rollback and an update take
    hold; and a composition that got lost is made again of the same bytes, wherever the source's tag has moved since.
    """
    for fetched in (have.fetched, have.recorded, have.composed.fetched if have.composed else None):
        if fetched is None:
            continue
        unchanged = fetched.identity == have.identity or (have.pinned and fetched is have.recorded)
        if unchanged and answers(spec, fetched, have.lock):
            return fetched
    return None


def answers(spec: ModelSpec, fetched: Fetched, lock: str = "") -> bool:
    """Whether weights are what the spec asks for: its source and quantization, its pin, and the lock's."""
    return (
        fetched.source == spec.source
        and fetched.quantization == (spec.quantization or "")
        and (spec.digest is None or str(spec.digest) in {str(fetched.origin), fetched.pinned})
        and (not lock or lock == str(fetched.origin))
    )


def taken(spec: ModelSpec | None, have: Have, following: Step, fetched: Fetched) -> Have:
    """What will be there once a step was taken; `fetched` is what a Fetch would bring."""
    match following:
        case Fetch():
            return replace(have, fetched=fetched)
        case Compose(weights):
            assert spec is not None
            made = recipe(spec, weights)
            return replace(have, fetched=None, composed=Composed(weights, made, Digest(made)), lost=())
        case MakeOffer():
            assert spec is not None
            assert have.composed is not None
            return replace(have, offered=(spec, have.composed.manifest))
        case Withdraw():
            return replace(have, composed=None, offered=None, fetched=None)
    return have


def recipe(spec: ModelSpec, fetched: Fetched) -> str:
    """A hash of everything the manifest is made of; equal recipes give equal manifests."""
    parts = (
        spec.source,
        fetched.identity,
        fetched.weights.hex,
        [(layer.media_type, layer.digest.hex) for layer in fetched.inherited],
        spec.system,
        (spec.template.syntax, spec.template.text) if spec.template else None,
        sorted(spec.parameters.items()),
        spec.messages,
        *([fetched.traits] if fetched.traits else []),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
