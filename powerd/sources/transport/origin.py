"""Origin: scheme, host and port of a URL. Credentials belong to one origin, and two spellings of it are one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from powerd.sources.source import check_url

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a URL leads: equal origins are the same server for the purposes of trust."""

    scheme: str
    host: str  # lower case, without the brackets of IPv6
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of an http(s) URL; a missing port is the scheme's own. Raises BadRequest for what is none."""
        check_url(url)
        parts = urlsplit(url)
        assert parts.hostname is not None
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])

    @property
    def key(self) -> str:
        """`host` or `host:port`, as powerd.yaml and model names write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"
