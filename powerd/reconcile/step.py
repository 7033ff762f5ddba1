"""The next step for one declared model, from what is wanted and what is there. Pure.

Level-triggered: nobody remembers why a name is visited; want and have are read afresh and one step is taken. Lost or
doubled events are harmless, and a daemon killed between two steps goes on where the disk says it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Composed:
    """The manifest under the reserved host."""

    fetched: Fetched
    recipe: str  # hash of everything that went into it
    manifest: Digest


@dataclass(frozen=True, slots=True)
class Have:
    """What is there for one name."""

    identity: str = ""  # how the source looks now
    fetched: Fetched | None = None  # by this run, not yet composed
    composed: Composed | None = None
    offered: tuple[ModelSpec, Digest] | None = None  # spec and manifest of the offer in the library


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
    """Weights that are still what the spec means: same source, source unchanged, the pinned digest if there is one."""
    for fetched in (have.fetched, have.composed.fetched if have.composed else None):
        if (
            fetched is not None
            and fetched.source == spec.source
            and fetched.identity == have.identity
            and fetched.quantization == (spec.quantization or "")
            and (spec.digest is None or str(spec.digest) in {str(fetched.origin), fetched.pinned})
        ):
            return fetched
    return None


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
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
