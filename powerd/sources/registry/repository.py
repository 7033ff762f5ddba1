"""Repository: one model's manifests and blobs on one registry, by the distribution protocol (contract section 3)."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import httpx

from powerd import __version__
from powerd.digest import Digest
from powerd.errors import BadRequest, Forbidden, SourceFailed
from powerd.names import Name
from powerd.sources.registry.challenge import parse_challenges
from powerd.sources.registry.credentials import DENIED, Credentials
from powerd.sources.source import show_url
from powerd.sources.transport.broken import Interrupted
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import MAX_MANIFEST, REDIRECTS, Content, Host, Outbound, next_hop, raise_if_busy
from powerd.store.manifest import MANIFEST_TYPE

#: The Ollama this speaks the protocol of; registries may ask for one that is new enough.
OLLAMA_VERSION = "0.33.0"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MACHINE = _ARCHITECTURES.get(platform.machine(), platform.machine())
_AGENT = f"ollama/{OLLAMA_VERSION} ({_MACHINE} {sys.platform}) Go/go1.24 powerd/{__version__}"

_MAX_HOPS = 10
_SHOWN_BODY = 500


class Repository:
    """`<base>/v2/<namespace>/<model>`. Requests carry credentials to this origin and nowhere else."""

    def __init__(self, outbound: Outbound, base: str, name: Name, *, trusted: bool) -> None:
        self.origin = Origin.of(base)
        self.outbound = outbound
        self.trusted = trusted
        self.root = f"{base}/v2/{name.namespace}/{name.model}"
        self._credentials = Credentials(outbound, self.origin, trusted=trusted)

    @contextlib.asynccontextmanager
    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: Content | None = None
    ) -> AsyncIterator[httpx.Response]:
        """One request to this origin and its answer; a 401 is answered once. Raises Interrupted, SourceFailed."""
        if Origin.of(url) != self.origin:
            raise SourceFailed(f"{show_url(url)} is not on {self.origin}; no credentials are sent there")
        for last in (False, True):
            said = self._credentials.header
            every = {"User-Agent": _AGENT, **(headers or {})} | ({"Authorization": said} if said else {})
            async with self.outbound.stream(
                method, url, headers=every, content=content, trusted=self.trusted
            ) as response:
                if response.status_code != 401:
                    yield response
                    return
                challenges = parse_challenges(response.headers.get_list("www-authenticate"))
            if last:
                raise SourceFailed(DENIED)
            await self._credentials.renew(challenges, said)

    @contextlib.asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str], *, on_direct: list[str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """GET, at most 10 redirects followed; from the first other origin on without credentials.

        The URL on that origin is put into `on_direct`.
        """
        for _ in range(_MAX_HOPS + 1):
            async with self.send("GET", url, headers=headers) as response:
                if response.status_code not in REDIRECTS:
                    yield response
                    return
                url = next_hop(url, response)
            if Origin.of(url) != self.origin:
                if on_direct is not None:
                    on_direct[:] = [url]
                async with self.outbound.follow("GET", url, headers=headers, trusted=self.trusted) as response:
                    yield response
                return
        raise SourceFailed(f"{self.root}: more than {_MAX_HOPS} redirects")

    async def manifest(self, tag: str) -> bytes:
        """The manifest's bytes as they are there. Raises SourceFailed("file does not exist") and others."""

        async def ask() -> bytes:
            async with self.get(f"{self.root}/manifests/{tag}", {"Accept": MANIFEST_TYPE}) as response:
                raise_if_busy(response)
                await self.refuse(response)
                data = await self.outbound.read(response, MAX_MANIFEST)
                check_said_digest(response, Digest.of(data))
                return data

        return await self.outbound.patiently(self.origin.key, ask)

    async def refuse(self, response: httpx.Response) -> None:
        """Raise SourceFailed for an answer that is none of 2xx and 3xx, in Ollama's words."""
        status = response.status_code
        if status == 404:
            raise SourceFailed("file does not exist")
        if status >= 400:
            try:
                body = await self.outbound.read(response)
            except SourceFailed:
                body = b""
            raise SourceFailed(f"{status}: {_printable(body)}")


def _printable(body: bytes) -> str:
    text = body[: 4 * _SHOWN_BODY].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_SHOWN_BODY].strip()


def check_said_digest(response: httpx.Response, digest: Digest) -> None:
    """Raise SourceFailed when the answer's Docker-Content-Digest says another digest."""
    said = response.headers.get("docker-content-digest")
    if said is not None and said != str(digest):
        raise SourceFailed(f"digest mismatch: the registry says {said[:80]!r} of what is {digest}")


class RemoteBlob:
    """A blob on a registry or its mirrors, as a transfer's Location.

    Where the registry sends us on to another host, that URL is used for further parts until it no longer answers.
    """

    def __init__(self, repositories: Sequence[Repository], digest: Digest) -> None:
        self._repositories = list(repositories)
        self._digest = digest
        self._direct: list[str] = []

    @property
    def shown(self) -> str:
        """The blob's URL on the registry asked first."""
        return f"{self._repositories[0].root}/blobs/{self._digest}"

    @contextlib.asynccontextmanager
    async def open(self, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """The answer to a GET. A mirror that lacks the blob is asked no more."""
        opened = False
        try:
            async with self._ask(headers) as response:
                if response.status_code < 400 or not self._elsewhere():
                    opened = True
                    yield response
                    return
        except (Interrupted, SourceFailed):
            if opened or not self._elsewhere():
                raise
        async with self.open(headers) as response:
            yield response

    def _ask(self, headers: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        repository = self._repositories[0]
        if not self._direct:
            return repository.get(self.shown, headers, on_direct=self._direct)
        return repository.outbound.follow("GET", self._direct[0], headers=headers, trusted=repository.trusted)

    def _elsewhere(self) -> bool:
        """Give up the place that failed; says whether there is another."""
        if self._direct:
            self._direct.clear()
            return True
        if len(self._repositories) == 1:
            return False
        del self._repositories[0]
        return True


def repositories(
    outbound: Outbound, name: Name, *, insecure: bool, trusted: bool, push: bool = False
) -> list[Repository]:
    """Where a model is to be asked for, mirrors first; for a push only the registry itself.

    Raises Forbidden for a registry this caller may not name, BadRequest for a host that is none.
    """
    host = _allowed(outbound, name, insecure=insecure, trusted=trusted, push=push)
    scheme = "http" if insecure or host.insecure else "https"
    bases = [] if push else [mirror.rstrip("/") for mirror in host.mirrors]
    try:
        return [
            Repository(outbound, base, name, trusted=trusted or base in bases)
            for base in (*bases, f"{scheme}://{name.host}")
        ]
    except BadRequest:
        raise BadRequest("invalid model name") from None


def _allowed(outbound: Outbound, name: Name, *, insecure: bool, trusted: bool, push: bool) -> Host:
    config = outbound.config
    key = name.host.lower()
    listed = config.host(key)
    host = listed or config.host("*") or Host()
    if not host.allow:
        raise Forbidden(f"registry host not allowed: `registries:` in powerd.yaml does not allow {key}")
    if not trusted and listed is None and (push or insecure):
        what = "push to" if push else "reach without TLS"
        raise Forbidden(
            f"registry host not allowed: callers on other machines may {what} only hosts that `registries:` in "
            f"powerd.yaml lists, and {key} is not"
        )
    if not trusted and insecure and not host.insecure:
        raise Forbidden(f"registry host not allowed: {key} is not `insecure: true` in powerd.yaml")
    return host
