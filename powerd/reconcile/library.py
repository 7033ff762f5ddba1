"""Library: which names can be served, looked up in the order declared, alias, installed, lower stores.

Lookups read an index in memory; the index of installed models is read again from the store every few seconds and
after every change of ours, off the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from powerd.catalog.spec import Catalog, ModelSpec
from powerd.digest import Digest
from powerd.errors import BadRequest, Busy, Conflict, NotFound
from powerd.fleet.fleet import Fleet
from powerd.fleet.terms import Reason
from powerd.names import Name
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.making.adapters import joining
from powerd.reconcile.making.compose import installed_offer
from powerd.reconcile.offer import Offer
from powerd.reconcile.pulls import Pulls, narrated
from powerd.reconcile.remote import is_cloud, refusal, spellings
from powerd.sources.hub.reference import is_hub
from powerd.store.manifest import StoredModel
from powerd.store.store import Store

REFRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared model as lookups see it: its offer, or why there is none."""

    spec: ModelSpec
    offer: Offer | None
    why_not: str = ""


class Library:
    """The one answer to "what is X?". The Reconciler tells it what is declared; it reads the rest itself."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        node: NodeDefaults,
        pulls: Pulls,
        *,
        hide_unmanaged: bool = False,
        default_model: str = "",
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._pulls = pulls
        self._node = node
        self._hide = hide_unmanaged
        self._default = default_model
        self._catalog = Catalog()
        self._declared: dict[str, Declared] = {}
        self._aliases: dict[str, tuple[Name, str]] = {}  # alias key -> (alias, key of its target)
        self._installed: dict[str, Offer] = {}
        self._stored: list[StoredModel] = []
        #: Progress of a declared model's fetch as Ollama's status objects; set by the Reconciler.
        self.follow: Callable[[str], AsyncIterator[dict[str, object]]] = _nothing

    # ------------------------------------------------------------ what the Reconciler tells

    def declare(self, catalog: Catalog) -> None:
        """Take over a new generation's names and defaults; offers already made stay until they are replaced."""
        self._catalog = catalog
        wanted = {_key(spec): spec for spec in catalog.models.values() if spec.state != "absent"}
        for key, spec in wanted.items():
            before = self._declared.get(key)
            self._declared[key] = Declared(spec, before.offer if before else None, before.why_not if before else "")
        self._aliases = {
            alias.key: (alias, key) for key, spec in wanted.items() for alias in spec.aliases if key in self._declared
        }
        self._index()

    def set_offer(self, spec: ModelSpec, offer: Offer | None, why_not: str = "") -> None:
        """Put a declared model's offer in place; without one, `why_not` is what a request is told."""
        self._declared[_key(spec)] = Declared(spec, offer, why_not)

    def forget(self, spec: ModelSpec) -> None:
        """Drop a withdrawn model."""
        self._declared.pop(_key(spec), None)
        self._aliases = {alias: pair for alias, pair in self._aliases.items() if pair[1] != _key(spec)}

    # ------------------------------------------------------------ reading

    def find(self, text: str) -> Offer:
        """The offer a client means by `text`.

        Raises BadRequest for what is no name, NotFound for a name nobody has, Forbidden for a model of Ollama's cloud,
        Busy for a declared model that is not ready to be served, with the reason.
        """
        wanted = text or self._default
        for spelled in spellings(wanted):
            name = _parse(spelled)
            if (offer := self._served(name)) is not None:
                return offer
            if name.key in self._store.remotes:
                raise refusal(self._store.remotes[name.key])
        if is_cloud(wanted):
            raise refusal()
        raise NotFound(f"model '{text}' not found")

    def _served(self, name: Name) -> Offer | None:
        """The offer of exactly that name. Raises Busy."""
        found = self._declared.get(name.key)
        if found is not None:
            return _ready(found, found.offer)
        alias = self._aliases.get(name.key)
        if alias is not None:
            target = self._declared[alias[1]]
            offer = target.offer and replace(target.offer, name=alias[0], origin="alias", target=target.offer.name)
            return _ready(target, offer)
        return self._installed.get(name.key)

    def offers(self) -> list[Offer]:
        """Every name that can be served, most recently modified first."""
        own = [entry.offer for entry in self._declared.values() if entry.offer is not None]
        aliases = [
            replace(entry.offer, name=alias, origin="alias", target=entry.offer.name)
            for alias, key in self._aliases.values()
            if (entry := self._declared[key]).offer is not None
        ]
        taken = {offer.name.key for offer in (*own, *aliases)}
        rest = [offer for key, offer in self._installed.items() if key not in taken]
        return sorted((*own, *aliases, *rest), key=lambda offer: offer.stored.modified, reverse=True)

    def declared_name(self, text: str) -> str | None:
        """The file's name for what `text` means, if the file declares it (by name or alias)."""
        key = _parse(text).key
        key = self._aliases[key][1] if key in self._aliases else key
        found = self._declared.get(key)
        return found.spec.display if found else None

    async def refresh(self) -> None:
        """Read the installed models again."""
        self._stored = await asyncio.to_thread(self._store.models)
        self._index()

    async def keep_fresh(self) -> None:
        """Refresh for ever: other programs add to the lower stores."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()

    def _index(self) -> None:
        declared = [each.offer.deployment for each in self._declared.values() if each.offer is not None]
        adapters = {deployment.weights_digest: deployment.adapters for deployment in declared}
        installed: dict[str, Offer] = {}
        for stored in [] if self._hide else self._stored:
            if not stored.name.is_declared and stored.name.key not in installed:
                offer = installed_offer(stored, self._catalog.defaults, self._node)
                installed[stored.name.key] = joining(offer, adapters)
        self._installed = installed

    # ------------------------------------------------------------ changing

    async def delete(self, text: str) -> None:
        """Delete an installed model and the blobs nobody else uses.

        Raises NotFound, Conflict for a declared model (naming the file), Forbidden for a lower store's.
        """
        self._refuse_declared(text, "deleted")
        name = _parse_for(text, f'name "{text}" is invalid')
        offer = self._installed.get(name.key)
        if offer is None:
            raise NotFound(f"model '{text}' not found")
        key = offer.deployment.key
        running = {Digest(view.digest) for view in self._fleet.views()}
        await asyncio.to_thread(self._store.delete, offer.stored.name, running)
        await self.refresh()
        if all(other.deployment.key != key for other in self.offers()):
            await self._fleet.unload(key, Reason.OPERATOR)

    async def copy(self, source: str, destination: str) -> None:
        """Copy a manifest under another name.

        Raises BadRequest for names outside the grammar, NotFound, Conflict when the destination is declared.
        """
        origin = _parse_for(source, f'source "{source}" is invalid')
        target = _parse_for(destination, f'destination "{destination}" is invalid')
        if target.is_declared:
            raise BadRequest(f'destination "{destination}" is invalid', "destination")
        self._refuse_declared(destination, "overwritten")
        if origin.key in self._aliases:
            raise Conflict(f'"{source}" is an alias in models.yaml; copy the model it stands for')
        declared = self._declared.get(origin.key)
        offer = declared.offer if declared else self._installed.get(origin.key)
        if offer is None:
            raise NotFound(f'model "{source}" not found')
        await asyncio.to_thread(self._store.copy, offer.stored.name, target)
        await self.refresh()

    async def size(self, text: str, *, trusted: bool) -> int | None:
        """Bytes of the weights a pull of `text` would bring; None where no place has it or its size is not told."""
        return await self._pulls.size(text, trusted=trusted)

    async def _pull_undeclared(
        self, text: str, *, insecure: bool, trusted: bool
    ) -> AsyncGenerator[dict[str, object], None]:
        if not is_hub(text):
            if is_cloud(text) and text.count("/") < 2:
                raise refusal()
            text = spellings(text)[-1]
            _parse(text)
        async with aclosing(
            narrated(lambda tell: self._pulls.pull(text, tell, insecure=insecure, trusted=trusted))
        ) as statuses:
            async for status in statuses:
                if status.get("status") == "success":
                    await self.refresh()
                yield status

    async def push(
        self, text: str, destination: str = "", *, insecure: bool = False, trusted: bool = True
    ) -> AsyncGenerator[dict[str, object], None]:
        """Ollama's progress objects of a push to the registry in the model's name, or to `destination`.

        Raises BadRequest, NotFound, and what the push raises.
        """
        target = _parse(destination or text)
        try:
            stored = self.find(text).stored
        except NotFound:
            raise NotFound(f"couldn't retrieve manifest: model '{text}' not found") from None
        async with aclosing(
            narrated(lambda tell: self._pulls.push(stored, target, tell, insecure=insecure, trusted=trusted))
        ) as statuses:
            async for status in statuses:
                yield status

    def _refuse_declared(self, text: str, verb: str) -> None:
        try:
            declared = self.declared_name(text)
        except BadRequest:
            return
        if declared is not None:
            raise Conflict(
                f'"{text}" is declared as "{declared}" in models.yaml and cannot be {verb} here; edit the file instead'
            )

    async def pull(
        self, text: str, *, insecure: bool = False, trusted: bool = True
    ) -> AsyncGenerator[dict[str, object], None]:
        """Ollama's progress objects of a pull. `trusted`: the caller is on this machine.

        For a declared model nothing is changed: its own fetch is followed to its end. Anything else is fetched from the
        first place that has it. Raises what the fetch raises.
        """
        declared = None if is_hub(text) else self.declared_name(text)
        if declared is None:
            async for status in self._pull_undeclared(text, insecure=insecure, trusted=trusted):
                yield status
            return
        yield {"status": "pulling manifest"}
        async for status in self.follow(declared):
            yield status
        for layer in self.find(text).stored.layers:
            yield {
                "status": f"pulling {layer.digest.short}",
                "digest": str(layer.digest),
                "total": layer.size,
                "completed": layer.size,
            }
        for stage in ("verifying sha256 digest", "writing manifest", "success"):
            yield {"status": stage}


async def _nothing(_name: str) -> AsyncIterator[dict[str, object]]:
    return
    yield {}


def _key(spec: ModelSpec) -> str:
    """The key clients' names arrive under: the declared name with Ollama's default host and namespace."""
    return Name.parse(f"{spec.name.model}:{spec.name.tag}").key


def _parse(text: str) -> Name:
    return _parse_for(text, "invalid model name")


def _parse_for(text: str, message: str) -> Name:
    try:
        return Name.parse(text)
    except ValueError:
        raise BadRequest(message, "model") from None


def _ready(declared: Declared, offer: Offer | None) -> Offer:
    if offer is None:
        raise Busy(declared.why_not or f"model '{declared.spec.display}' is declared and not here yet", 5.0)
    return offer
