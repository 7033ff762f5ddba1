"""Wishes: what the fleet is told of the declared models, by deployment. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from powerd.catalog.spec import ALWAYS, ModelSpec
from powerd.fleet.terms import Wish
from powerd.protocol import Deployment

#: A declared model as the fleet sees it: its name, its spec, its deployment, and whether it can ever be loaded here.
Declared = tuple[str, ModelSpec, Deployment, bool]


def wishes(models: Iterable[Declared]) -> dict[str, Wish]:
    """What should be in memory, whole: models that share a deployment share its wish."""
    by_key: dict[str, list[Declared]] = {}
    for declared in models:
        by_key.setdefault(declared[2].key, []).append(declared)
    return {key: _wish(together) for key, together in by_key.items()}


def _wish(models: list[Declared]) -> Wish:
    specs = [spec for _, spec, _, _ in models]
    keep_alives = [spec.keep_alive for spec in specs if spec.keep_alive is not None]
    return Wish(
        deployment=models[0][2],
        names=tuple(name for name, *_ in models),
        loaded=any(spec.state == "loaded" and fits for _, spec, _, fits in models),
        pinned=any(spec.keep_alive == ALWAYS for spec in specs),
        keep_alive=max(keep_alives) if keep_alives else None,
        priority=max(spec.priority for spec in specs),
    )
