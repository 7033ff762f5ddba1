"""A registry that follows a script: right in everything a test does not change."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable

from powerd.digest import Digest
from powerd.store.manifest import CONFIG_TYPE, LICENSE_TYPE, MANIFEST_TYPE, MODEL_TYPE
from tests.sources.models import SMALL
from tests.sources.scripted import Reply, Request, Scripted, ranged, whole

CONFIG = b'{"model_format":"gguf","model_family":"llama","rootfs":{"type":"layers"}}'
LICENSE = b"Do what you like."

Handler = Callable[[Request], Reply | None]


def layer(data: bytes, kind: str = MODEL_TYPE) -> dict[str, object]:
    return {"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data)}


def manifest(*layers: dict[str, object], **changes: object) -> bytes:
    """Indented, so that nobody can have made the same bytes again by chance."""
    value: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": layer(CONFIG, CONFIG_TYPE),
        "layers": list(layers) or [layer(SMALL), layer(LICENSE, LICENSE_TYPE)],
    }
    return json.dumps(value | changes, indent=3).encode()


def bearer(realm: str, **more: str) -> Reply:
    """A 401 that asks for a token."""
    pairs = {"realm": realm, "service": "lab", "scope": "repository:library/x:pull"} | more
    text = ",".join(f'{key}="{value}"' for key, value in pairs.items())
    return Reply("401 Unauthorized", {"WWW-Authenticate": f"Bearer {text}"}, length=0)


def redirect(target: str, status: str = "307 Temporary Redirect") -> Reply:
    return Reply(status, {"Location": target}, length=0)


class Evil(Scripted):
    """Serves `blobs` and one manifest; `handle` may answer in its place."""

    def __init__(
        self,
        handle: Handler = lambda _: None,
        *,
        says: bytes | None = None,
        blobs: tuple[bytes, ...] = (SMALL, LICENSE, CONFIG),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._reply, tls=tls)
        self.handle = handle
        self.says = manifest() if says is None else says
        self.blobs = {str(Digest.of(data)): data for data in blobs}

    @property
    def name(self) -> str:
        return f"{self.host}/library/x:1"

    @property
    def asked(self) -> list[str]:
        """Methods and paths, the last part of each."""
        return [f"{request.method} {request.path.rpartition('/')[2]}" for request in self.requests]

    def blob_requests(self) -> list[Request]:
        return [request for request in self.requests if "/blobs/" in request.target]

    def _reply(self, request: Request) -> Reply:
        special = self.handle(request)
        if special is not None:
            return special
        last = request.path.rpartition("/")[2]
        if "/manifests/" in request.target:
            return whole(self.says)
        if last in self.blobs:
            return ranged(self.blobs[last])(request)
        return Reply("404 Not Found", length=0)
