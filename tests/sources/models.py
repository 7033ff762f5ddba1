"""Small and large models in a store, and pulls and pushes run to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from powerd.digest import Digest
from powerd.names import Name
from powerd.sources.registry import pull as registry
from powerd.sources.registry import push as pushing
from powerd.sources.transport.outbound import Host, Outbound, OutboundConfig, Patience
from powerd.store.gguf import read_header
from powerd.store.manifest import (
    LICENSE_TYPE,
    MODEL_TYPE,
    PARAMS_TYPE,
    SYSTEM_TYPE,
    TEMPLATE_TYPE,
    Layer,
    StoredModel,
    describe,
)
from powerd.store.store import Store
from tests.store.shelves import weights

Statuses = list[dict[str, object]]

QUICK = Patience(connect=2.0, stall=0.5, pause=0.01, longest_pause=0.05)
SMALL = weights()


def stored(store: Store, name: str, data: bytes = SMALL, **texts: str) -> StoredModel:
    """A model of these weights with a template, parameters, license and system."""
    small = {TEMPLATE_TYPE: "{{ .Prompt }}", PARAMS_TYPE: '{"stop":["<end>"]}', LICENSE_TYPE: "MIT", SYSTEM_TYPE: name}
    digest, size = store.put(data)
    layers = [Layer(MODEL_TYPE, digest, size)]
    layers += [Layer(kind, *store.put(texts.get(kind, text).encode())) for kind, text in small.items()]
    path = store.blob(digest)
    assert path is not None
    return store.publish(Name.parse(name), layers, describe(read_header(path)))


def config(hosts: Mapping[str, Host] | None = None, patience: Patience = QUICK) -> OutboundConfig:
    return OutboundConfig(patience=patience, hosts=hosts or {})


def pull(
    store: Store,
    name: str,
    rules: OutboundConfig | None = None,
    *,
    heard: Statuses | None = None,
    insecure: bool = True,
    trusted: bool = True,
) -> StoredModel:
    async def run() -> StoredModel:
        tell: Callable[[dict[str, object]], None] = heard.append if heard is not None else lambda _: None
        async with Outbound(rules or config()) as outbound:
            return await registry.pull(
                Name.parse(name), store, outbound, on_status=tell, insecure=insecure, trusted=trusted
            )

    return asyncio.run(run())


def push(
    store: Store,
    model: StoredModel,
    destination: str,
    rules: OutboundConfig | None = None,
    *,
    heard: Statuses | None = None,
    insecure: bool = True,
    trusted: bool = True,
) -> None:
    async def run() -> None:
        tell: Callable[[dict[str, object]], None] = heard.append if heard is not None else lambda _: None
        async with Outbound(rules or config()) as outbound:
            name = Name.parse(destination)
            await pushing.push(model, name, store, outbound, on_status=tell, insecure=insecure, trusted=trusted)

    asyncio.run(run())


def opened(root: Path) -> Store:
    store = Store(root)
    store.open()
    return store


def blobs(store: Store) -> dict[Digest, bytes]:
    """Every visible blob, each of which must be what its name says."""
    found = {}
    for path in (store.root / "blobs").iterdir():
        digest = Digest.parse(path.name)
        found[digest] = path.read_bytes()
        assert Digest.of(found[digest]) == digest
    return found


def nothing(store: Store) -> bool:
    """Whether neither blobs nor beginnings of some are there."""
    return [*(store.root / ".powerd" / "ingest").iterdir(), *(store.root / "blobs").iterdir()] == []
