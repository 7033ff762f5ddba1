"""Credentials: what to say to a registry that asked who we are."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Sequence

import msgspec

from powerd.errors import SourceFailed
from powerd.sources.registry.challenge import Challenge, token_query, token_url, with_query
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import Host, Outbound, raise_if_busy

DENIED = "unauthorized: access denied"

#: Registries whose token servers know people by their key.
_KEY_REGISTRIES = {"registry.ollama.ai", "ollama.com", "hf.co", "huggingface.co"}
_REFUSALS = {400, 401, 403}


class Credentials:
    """The Authorization header for one registry, fetched anew when it no longer does. For its origin alone."""

    def __init__(self, outbound: Outbound, registry: Origin, *, trusted: bool) -> None:
        self._outbound = outbound
        self._registry = registry
        self._trusted = trusted
        self._host = outbound.config.host(registry.key) or Host()
        self._asking = asyncio.Lock()
        #: The header to send; empty as long as nothing was asked for.
        self.header = f"Bearer {self._host.token}" if self._host.token else ""

    async def renew(self, challenges: Sequence[Challenge], refused: str) -> None:
        """Get a header that answers a 401 to `refused`. Raises SourceFailed when there is none."""
        async with self._asking:
            if self.header == refused:
                self.header = await self._answer(challenges)

    async def _answer(self, challenges: Sequence[Challenge]) -> str:
        offered = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if "bearer" in offered and not self._host.token:
            return f"Bearer {await self._token(offered['bearer'])}"
        if "basic" in offered and self._host.username:
            return self._basic()
        raise SourceFailed(
            f"{DENIED}; {self._registry.key} asks for {' or '.join(offered) or 'credentials'}: give them to it under "
            "`registries:` in powerd.yaml"
        )

    def _basic(self) -> str:
        pair = f"{self._host.username}:{self._host.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    async def _token(self, challenge: Challenge) -> str:
        realm = token_url(challenge, self._registry, self._host.token_hosts)
        query = token_query(challenge)
        if self._host.username:
            return await self._ask(with_query(realm, query), self._basic()) or self._denied()
        if self._registry.key not in _KEY_REGISTRIES:
            token = await self._ask(with_query(realm, query), "")
            if token or Origin.of(realm) != self._registry:
                return token or self._denied()
        return await self._signed(realm, query) or self._denied()

    def _denied(self) -> str:
        raise SourceFailed(DENIED)

    async def _signed(self, realm: str, query: list[tuple[str, str]]) -> str:
        if self._outbound.config.key is None:
            return ""
        from powerd.sources.registry.signing import SigningKey  # noqa: PLC0415  # 10 MB that most daemons never need

        key = await asyncio.to_thread(SigningKey.load, self._outbound.config.key)
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
        url = with_query(realm, [*query, ("ts", str(int(time.time()))), ("nonce", nonce)])
        return await self._ask(url, key.sign_get(url))

    async def _ask(self, url: str, authorization: str) -> str:
        """The token, or nothing when the server does not give us one. Raises SourceFailed."""
        shown = f"token server {Origin.of(url).key}"
        headers = {"Authorization": authorization} if authorization else {}

        async def ask() -> str:
            async with self._outbound.stream("GET", url, headers=headers, trusted=self._trusted) as response:
                raise_if_busy(response)
                if response.status_code in _REFUSALS:
                    return ""
                if response.status_code != 200:
                    raise SourceFailed(f"{shown}: the server answered {response.status_code}")
                return _token_in(await self._outbound.read(response), shown)

        return await self._outbound.patiently(shown, ask)


def _token_in(body: bytes, shown: str) -> str:
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise SourceFailed(f"{shown}: its answer is not JSON") from None
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise SourceFailed(f"{shown}: its answer holds no token")
    return token
