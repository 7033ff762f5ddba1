"""Hosts: a server as OLLAMA_HOST names it, and where one that listens is reached from this machine. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

DEFAULT_PORT = 11434

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"": _LOOPBACK, "0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104 - told apart, not listened on
_PORTS = {"http": 80, "https": 443}
_QUOTES = "\"'"


@dataclass(frozen=True, slots=True)
class Host:
    """A server of HTTP; `path` goes before the path of every request. The empty `name` is every interface."""

    scheme: str = "http"
    name: str = _LOOPBACK
    port: int = DEFAULT_PORT
    path: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{address(self.name, self.port)}{self.path}"


def address(name: str, port: int) -> str:
    """`HOST:PORT`, with brackets around an IPv6 address."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def reachable(name: str) -> str:
    """The name at which a listener bound to `name` is reached from this machine."""
    return _EVERYWHERE.get(name, name)


def parse(text: str) -> Host:
    """`[scheme://]host[:port][/path]`, each part with its default (contract section 14); no text is refused."""
    text = text.strip().strip(_QUOTES).strip()
    if text == "ollama.com":
        text = "https://ollama.com"
    scheme, given, rest = text.partition("://") if "://" in text else ("http", "", text)
    scheme = scheme.lower()
    place, _, path = rest.partition("/")
    name, port = _split(place, _PORTS.get(scheme, DEFAULT_PORT) if given else DEFAULT_PORT)
    return Host(scheme, name, port, f"/{path}".rstrip("/"))


def _split(place: str, default: int) -> tuple[str, int]:
    """Name and port of `host:port`; a port that is none gives way to the default."""
    if not place:
        return _LOOPBACK, default
    if _is_address(place.strip("[]")):
        return place.strip("[]"), default
    name, colon, digits = place.rpartition(":")
    if not colon:
        return place, default
    valid = digits.isascii() and digits.isdigit() and int(digits) < 1 << 16
    return name.strip("[]"), int(digits) if valid else default


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
