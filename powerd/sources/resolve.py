"""Name resolution: which places a name is looked for in, in which order, and what was found where.

A bare name is asked of the Ollama registry first, then of the built-in list of well-known models, then taken as the
exact repository on the Hugging Face hub. A name with a host is asked there. For names at hf.co a pull speaks the
registry protocol, as Ollama does, so that the manifest is the one Ollama would have; a declared source goes to the
hub's own interface, which knows commits, file names, digests and gates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from powerd.errors import BadRequest, NotFound, SourceFailed
from powerd.names import DEFAULT_HOST, DEFAULT_NAMESPACE, Name
from powerd.sources.hub import pull as huggingface
from powerd.sources.hub.model import HubConfig, HubFiles
from powerd.sources.hub.reference import Reference, is_hub, parse, parse_repository
from powerd.sources.registry.pull import Pulled, look
from powerd.sources.transport.outbound import Outbound
from powerd.sources.wellknown import well_known

Place = Literal["registry", "list", "hub"]


@dataclass(frozen=True, slots=True)
class Route:
    """One place to look in: a name on its registry, or a reference on the hub (from the list, or as it was written)."""

    place: Place
    name: Name | None = None
    reference: Reference | None = None

    def __str__(self) -> str:
        if self.place == "registry":
            return f"the registry {self.name.host}" if self.name is not None else ""
        return f"{self.reference} (of the built-in list)" if self.place == "list" else str(self.reference)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What was found, where, and why the places asked before did not have it."""

    route: Route
    found: Pulled | HubFiles
    failed: tuple[str, ...]  # a sentence each


def routes(text: str, *, declared: bool = False) -> tuple[Route, ...]:
    """The places to ask for a name, in order. Pure. Raises BadRequest for what is no name.

    `declared`: models.yaml asks, not a pull by name.
    """
    if is_hub(text):
        return _hub_routes(text, declared)
    try:
        name = Name.parse(text)
    except ValueError as error:
        raise BadRequest(str(error), "model") from None
    ways = [Route("registry", name)]
    if name.host.lower() != DEFAULT_HOST or text.lower().startswith(f"{DEFAULT_HOST}/") or "://" in text:
        return tuple(ways)
    listed = well_known(name)
    if listed is not None:
        ways.append(Route("list", reference=listed))
    exact = parse_repository(text) if name.namespace.lower() != DEFAULT_NAMESPACE else None
    if exact is not None:
        ways.append(Route("hub", reference=exact))
    return tuple(ways)


def _hub_routes(text: str, declared: bool) -> tuple[Route, ...]:
    reference = parse(text)
    hub = Route("hub", reference=reference)
    if declared or reference.path or reference.revision or "://" in text:
        return (hub,)
    try:
        return Route("registry", Name.parse(text)), hub
    except ValueError:
        return (hub,)


async def resolve_name(
    text: str,
    outbound: Outbound,
    hub: HubConfig,
    *,
    quantization: str = "",
    declared: bool = False,
    insecure: bool = False,
    trusted: bool = True,
    revision: str = "",
) -> Resolution:
    """Look for a name where it may be; only manifests and listings are read. `revision`: a commit of the hub.

    Raises BadRequest, Forbidden, and SourceFailed beginning with what the first place said.
    """

    async def ask(route: Route) -> Pulled | HubFiles:
        if route.name is not None:
            return await look(route.name, outbound, insecure=insecure, trusted=trusted)
        assert route.reference is not None
        return await huggingface.resolve(route.reference, outbound, hub, quantization=quantization, revision=revision)

    return await first(text, routes(text, declared=declared), ask)


async def first(text: str, ways: Sequence[Route], ask: Callable[[Route], Awaitable[Pulled | HubFiles]]) -> Resolution:
    """Ask one place after the other until one has it. What is refused, or badly asked, is not asked elsewhere."""
    failed: list[str] = []
    for route in ways:
        try:
            return Resolution(route, await ask(route), tuple(failed))
        except (SourceFailed, NotFound) as error:
            if len(ways) == 1:
                raise
            failed.append(f"{route}: {error.message}" if failed else error.message)
    raise SourceFailed(f"{failed[0]}; and neither was {text} found elsewhere: {'; '.join(failed[1:])}")
