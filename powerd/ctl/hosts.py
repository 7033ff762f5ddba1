"""OLLAMA_HOST: which server the `ollama` command asks (contract section 14). Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

_PORTS = {"http": 80, "https": 443}
_NAME = "127.0.0.1"
_PORT = 11434
_QUOTES = "\"'"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - such an address is for listening, not for calling


@dataclass(frozen=True, slots=True)
class Host:
    """A server of HTTP; `path` goes before the path of every request."""

    scheme: str = "http"
    name: str = _NAME
    port: int = _PORT
    path: str = ""

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{name}:{self.port}{self.path}"


def host(environ: Mapping[str, str]) -> Host:
    """The server OLLAMA_HOST names: `[scheme://]host[:port][/path]`, each part with its default."""
    text = environ.get("OLLAMA_HOST", "").strip().strip(_QUOTES).strip()
    scheme, given, rest = text.partition("://")
    if not given:
        scheme, rest = "http", text
    port = _PORTS.get(scheme, _PORT) if given else _PORT
    if not given and text == "ollama.com":
        scheme, port = "https", _PORTS["https"]
    place, _, path = rest.partition("/")
    name, port = _split(place, port)
    return Host(scheme, _EVERYWHERE.get(name, name) or _NAME, port, f"/{path}".rstrip("/"))


def _split(place: str, port: int) -> tuple[str, int]:
    """Name and port of `host:port`; a port that is none gives way to the default."""
    name = place.strip("[]")
    if _is_address(name):
        return name, port
    name, colon, digits = place.rpartition(":")
    if not colon:
        return place, port
    valid = digits.isascii() and digits.isdigit() and int(digits) < 1 << 16
    return name.strip("[]"), int(digits) if valid else port


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
