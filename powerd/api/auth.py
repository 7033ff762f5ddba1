"""Who may ask: the Host, Origin and peer rules as pure functions of a request's headers.

Host (reliability S23): an exact list on every bind, so that a rebound DNS name never reaches us. Origin (S24,
contract section 0.3): Ollama's default origins plus the configured ones, matched whole. Management from another
machine is refused unless the owner opened it (`mutations: any`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from powerd.api.status import Refusal
from powerd.errors import Forbidden

Headers = Sequence[tuple[bytes, bytes]]

_ALWAYS_HOSTS = ("localhost", "host.docker.internal", "host.containers.internal")
_ALWAYS_ORIGINS = (
    *(f"{scheme}://{host}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "0.0.0.0")),  # noqa: S104 - a page's origin, not an address to bind
    *(f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "0.0.0.0")),  # noqa: S104 - the same
    "app://*",
    "file://*",
    "tauri://*",
    "vscode-webview://*",
    "vscode-file://*",
)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{1,5})?", re.ASCII)

ALLOWED_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
ALLOWED_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,X-Powerd-Class,OpenAI-Beta,"
    "X-Api-Key,Anthropic-Version,Anthropic-Beta,Anthropic-Dangerous-Direct-Browser-Access,"
    "x-stainless-arch,x-stainless-async,x-stainless-custom-poll-interval,x-stainless-helper-method,x-stainless-lang,"
    "x-stainless-os,x-stainless-package-version,x-stainless-poll-helper,x-stainless-retry-count,x-stainless-runtime,"
    "x-stainless-runtime-version,x-stainless-timeout"
)


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one listener."""

    hosts: frozenset[str]  # lower case, no port, no brackets
    any_address: bool  # bound to every interface: any literal address is one of ours
    origins: tuple[re.Pattern[str], ...]
    any_origin: bool
    mutations: Literal["local", "keys", "any"]


def access(
    *,
    bound: str,
    hostname: str,
    allowed_hosts: Iterable[str] = (),
    allowed_origins: Iterable[str] = (),
    mutations: Literal["local", "keys", "any"] = "local",
) -> Access:
    """The rules for a listener on the address or name `bound` of the machine `hostname`.

    A name rebound by DNS is what the list keeps out; a literal address cannot be rebound, so a listener on every
    interface takes each of them for its own.
    """
    origins = [origin.strip() for origin in allowed_origins]
    return Access(
        hosts=frozenset(
            host.strip().lower().removeprefix("[").removesuffix("]")
            for host in (*_ALWAYS_HOSTS, bound, hostname, *allowed_hosts)
            if host.strip()
        ),
        any_address=_is_wildcard(bound),
        origins=tuple(_pattern(origin) for origin in (*_ALWAYS_ORIGINS, *origins) if origin and origin != "*"),
        any_origin="*" in origins,
        mutations=mutations,
    )


def check_host(headers: Headers, rules: Access) -> None:
    """Raise Refusal(400) for no Host or two, Forbidden for one that is not on the list."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1:
        raise Refusal(400, "a request needs exactly one Host header")
    if not _host_allowed(hosts[0].decode("latin-1"), rules):
        raise Forbidden(
            "this Host is not allowed; use localhost, this machine's name or the address powerd listens on, or add the "
            "name to `allowed_hosts` in powerd.yaml"
        )


def check_origin(headers: Headers, rules: Access) -> dict[str, str]:
    """The CORS headers an answer carries. Raises Forbidden for a foreign page."""
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if not origins:
        if any(name == b"sec-fetch-site" and value == b"cross-site" for name, value in headers):
            raise _foreign()
        return {}
    if len(origins) > 1:
        raise Refusal(400, "a request has at most one Origin header")
    if rules.any_origin:
        return {"Access-Control-Allow-Origin": "*"}
    if _same_host(origins[0], headers):
        return {}
    if not any(pattern.fullmatch(origins[0]) for pattern in rules.origins):
        raise _foreign()
    return {"Access-Control-Allow-Origin": origins[0], "Vary": "Origin"}


def preflight() -> dict[str, str]:
    """The further headers of an answered OPTIONS."""
    return {
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": "43200",
    }


def check_management(peer: str | None, rules: Access) -> None:
    """Raise Forbidden when a peer that is not on this machine may not change models; `peer` is an address."""
    if rules.mutations != "any" and not is_loopback(peer):
        raise Forbidden(
            "models can only be changed from this machine; set `mutations: any` in powerd.yaml to allow it from others"
        )


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's own; an unknown one is not."""
    address = _address(peer or "")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def _host_allowed(host: str, rules: Access) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].lower().removeprefix("[").removesuffix("]")
    if name in rules.hosts or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and (rules.any_address or is_loopback(name))


def _same_host(origin: str, headers: Headers) -> bool:
    host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
    return origin in {f"http://{host}", f"https://{host}"}


def _foreign() -> Forbidden:
    return Forbidden(
        "this page's Origin is not allowed; add it to `allowed_origins` in powerd.yaml or to OLLAMA_ORIGINS"
    )


def _pattern(origin: str) -> re.Pattern[str]:
    """An origin with wildcards as a pattern for the whole of one.

    A port of `*` is any port; `scheme://*` is everything under that scheme; any other star stands for part of a host.
    """
    scheme, separator, rest = origin.partition("://")
    if separator and rest == "*":
        return re.compile(re.escape(scheme) + r"://[^/\s]*(?:/[^\s]*)?", re.ASCII)
    body, port = (origin[:-2], r":[0-9]{1,5}") if origin.endswith(":*") else (origin, "")
    host = r"[A-Za-z0-9_.-]*".join(re.escape(part) for part in body.split("*"))
    return re.compile(host + port, re.ASCII)


def _is_wildcard(bound: str) -> bool:
    address = _address(bound)
    return address is not None and address.is_unspecified


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
