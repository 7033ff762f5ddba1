"""What a 401 asks for, and where a token may be fetched: never further than the registry's own origin says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from powerd.errors import BadRequest, SourceFailed
from powerd.sources.transport.origin import Origin

_MAX_TEXT = 8192
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PIECE = re.compile(rf'[ \t,]*({_WORD})(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))|(?=[ \t,]|$))', re.ASCII)

#: Registries whose tokens are known to come from another host of the same owner.
TOKEN_HOSTS: Mapping[str, tuple[str, ...]] = {
    "registry-1.docker.io": ("auth.docker.io",),
    "registry.ollama.ai": ("ollama.com",),
}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers: `basic` or `bearer`, and its parameters with their names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Every challenge of the WWW-Authenticate headers (RFC 9110 section 11.6.1); what is none ends its header."""
    found: list[Challenge] = []
    for value in values:
        found += _challenges(value) if len(value) <= _MAX_TEXT else []
    return found


def _challenges(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    parameters: dict[str, str] = {}
    at = 0
    while match := _PIECE.match(text, at):
        name, quoted, plain = match.groups()
        at = match.end()
        if quoted is None and plain is None:
            parameters = {}
            found.append(Challenge(name.lower(), parameters))
        elif found:
            parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return found


def token_url(challenge: Challenge, registry: Origin, token_hosts: Iterable[str]) -> str:
    """The realm of a bearer challenge, if credentials for `registry` may go there.

    The realm must be on the registry's origin, or on a host in `token_hosts` (as `host` or `host:port`) by the same
    scheme or a safer one. Raises SourceFailed.
    """
    realm = challenge.parameters.get("realm", "")
    try:
        origin = Origin.of(realm)
    except BadRequest as error:
        raise SourceFailed(f"the registry names no usable token realm: {error.message}") from None
    if origin == registry:
        return realm
    if registry.scheme == "https" and origin.scheme != "https":
        raise SourceFailed(f'realm "{origin}" is not https, as {registry} is; no credentials are sent there')
    if origin.key not in {*token_hosts, *TOKEN_HOSTS.get(registry.key, ())}:
        raise SourceFailed(f'realm host "{origin.key}" does not match original host "{registry.key}"')
    return realm


def with_query(url: str, pairs: Iterable[tuple[str, str]]) -> str:
    """`url` with these pairs added to its query, sorted by key."""
    mark = "&" if urlsplit(url).query else "?"
    return url.partition("#")[0] + mark + urlencode(sorted(pairs, key=lambda pair: pair[0]))


def token_query(challenge: Challenge) -> list[tuple[str, str]]:
    """`service`, and one `scope` for each of the challenge's scopes (contract section 3.1)."""
    service = challenge.parameters.get("service")
    scopes = challenge.parameters.get("scope", "").split()
    return ([("service", service)] if service else []) + [("scope", scope) for scope in scopes]
