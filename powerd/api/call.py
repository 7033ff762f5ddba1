"""Call: one HTTP request and its one answer; Dialect and Route: how the answer looks and what may be asked.

Raw ASGI, because the contract wants bodies, statuses and methods its own way and a token must cost one send.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from powerd.api.auth import Access
from powerd.api.context import ApiContext
from powerd.api.form import Form, parsed
from powerd.api.status import Refusal, headers_of, status_of
from powerd.api.strict import Request, decode
from powerd.api.unpacking import MAX_UNPACKED, unpacked
from powerd.errors import BadRequest, Cancelled, PowerError, TooLarge

_log = structlog.get_logger("powerd.api")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: A body of this many bytes takes long enough to decode that others would notice.
LARGE = 256 << 10
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one API family speaks: its name in logs and metrics, its JSON type and its errors."""

    name: str
    json_type: str
    empty_body: str  # what a missing body is answered with
    error: Callable[[PowerError | Refusal], bytes]  # the whole body
    ping: bytes = b""  # what keeps a quiet stream alive; empty where this API has nothing for it

    def headers(self, request_id: str) -> dict[str, str]:
        """The headers that tell a request's id."""
        return {"X-Request-Id": request_id}

    def failure(self, error: PowerError | Refusal, request_id: str) -> tuple[bytes, str]:
        """The body of a failed request's answer, and its type; what HTTP's router refuses is bare text, as Ollama's."""
        if isinstance(error, Refusal) and error.plain:
            return error.message.encode(), "text/plain; charset=utf-8"
        return self.error(error), self.json_type


@dataclass(slots=True)
class Call:
    """One request: what was asked, what has been answered so far, and the notes for the log."""

    context: ApiContext
    access: Access | None  # None = the control socket, whose directory is the guard
    scope: Scope
    receive: Receive
    send: Send
    id: str
    dialect: Dialect
    path: str  # as sent, percent-decoded by the server
    route: str = "unknown"
    headers: dict[str, str] = field(default_factory=dict)  # go out with the answer
    started: int = field(default_factory=time.monotonic_ns)
    status: int = 0  # 0 = nothing sent yet
    limit: int = 0  # bytes of body
    failure: PowerError | Refusal | None = None
    model: str = ""  # as the library names it
    prompt_tokens: int = 0
    output_tokens: int = 0
    _blocked_since: float = math.inf  # monotonic seconds; inf while no send is under way

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.scope["method"])

    @property
    def below(self) -> str:
        """What follows the route's own path, without slashes around it."""
        return self.path.removeprefix(self.route).strip("/")

    def header(self, name: bytes) -> str:
        """A request header's first value, or an empty string; `name` in lower case."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    # ------------------------------------------------------------ reading

    async def body(self) -> bytes:
        """The whole body.

        Raises BadRequest for none, TooLarge, Refusal(408) past the deadline, Cancelled when the client has gone.
        """
        self._check_type()
        encoding = self._encoding("zstd" if self.route.startswith("/v1/") else "")
        body = await self._received()
        if body and encoding == "zstd":
            body = await self._unpacked(body)
        if not body:
            raise BadRequest(self.dialect.empty_body)
        return body

    async def form(self) -> Form:
        """The multipart form that was sent. Raises as `body` does, and BadRequest for what is none."""
        self._encoding()
        body = await self._received()
        return await asyncio.to_thread(parsed, self.header(b"content-type"), body)

    async def _received(self) -> bytes:
        length = self.header(b"content-length")
        if length.isascii() and length.isdigit() and int(length[:18]) > self.limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.context.body_seconds):
                return await self._read()
        except TimeoutError:
            text = f"the body did not arrive within {self.context.body_seconds:g} s"
            raise Refusal(408, text, {"Connection": "close"}) from None

    async def _unpacked(self, body: bytes) -> bytes:
        """A compressed body's text, made beside the event loop. Raises BadRequest or TooLarge."""
        limit = min(self.limit, MAX_UNPACKED)
        text = await asyncio.to_thread(unpacked, body, limit)
        if text is None:
            raise TooLarge(f"the body is larger than the {limit} bytes that a compressed one may unpack to")
        return text

    async def decoded(self, schema: type[Request]) -> Request:
        """The body as a `schema`; a large one is decoded beside the event loop. Raises as `body` and `decode` do."""
        body = await self.body()
        return decode(schema, body) if len(body) < LARGE else await asyncio.to_thread(decode, schema, body)

    async def _read(self) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Cancelled("the client went away while sending its request")
            piece = message.get("body", b"")
            total += len(piece)
            if total > self.limit:
                raise self._too_large()
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)

    def _encoding(self, taken: str = "") -> str:
        """How the body is packed. Raises Refusal unless it is not packed, or as `taken` says."""
        encoding = self.header(b"content-encoding").strip().lower()
        if encoding not in {"", "identity", taken}:
            raise Refusal(415, "request bodies are not accepted in this encoding; send the text as it is")
        return encoding

    def _check_type(self) -> None:
        kind = self.header(b"content-type").lower()
        if kind.startswith("multipart/"):
            raise Refusal(415, "multipart bodies are not accepted here; send JSON")
        _, given, charset = kind.partition("charset=")
        if given and charset.strip().strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise Refusal(415, "JSON bodies are UTF-8; send them without another charset")

    def _too_large(self) -> TooLarge:
        self.headers["Connection"] = "close"
        return TooLarge(f"the body is larger than the {self.limit} bytes this route takes")

    # ------------------------------------------------------------ answering

    async def answer(self, body: bytes, content_type: str | None = None, status: int = 200) -> None:
        """Send a complete answer."""
        if status != 204:
            self.headers["Content-Length"] = str(len(body))
        await self.start(status, content_type or self.dialect.json_type)
        await self._send_body({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def json(self, value: object, status: int = 200) -> None:
        """Send a value as JSON."""
        await self.answer(msgspec.json.encode(value), status=status)

    async def fail(self, error: PowerError | Refusal) -> None:
        """Send a failure in the dialect's shape; nothing may have been sent before."""
        self.failure = error
        self.headers |= headers_of(error)
        body, kind = self.dialect.failure(error, self.id)
        await self.answer(body, kind, status_of(error))

    async def start(self, status: int, content_type: str) -> None:
        """Send the head of the answer."""
        self.status = status
        headers = {"Content-Type": content_type, **self.dialect.headers(self.id), **self.headers}
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            }
        )

    async def write(self, chunk: bytes, content_type: str) -> None:
        """Send a piece of a streamed answer, its head first."""
        if not self.status:
            await self.start(200, content_type)
        await self._send_body({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _send_body(self, message: MutableMapping[str, Any]) -> None:
        self._blocked_since = time.monotonic()
        await self.send(message)
        self._blocked_since = math.inf

    async def finish(self) -> None:
        """End a streamed answer."""
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def unexpected(self) -> Refusal:
        """Log the exception being handled, and what to tell the client instead of it."""
        _log.exception("a request failed unexpectedly", request=self.id, route=self.route)
        self.failure = Refusal(503, f"internal error; see the log under request id {self.id}")
        return self.failure

    async def while_connected(self, work: Awaitable[None]) -> None:
        """Await `work`; a client that goes away or stops reading cancels it. Raises Cancelled then."""
        task = asyncio.current_task()
        assert task is not None
        reason = ""

        def leave(why: str) -> None:
            nonlocal reason
            reason = why
            task.cancel()

        watchers = [asyncio.create_task(self._disconnected(leave)), asyncio.create_task(self._stalled(leave))]
        try:
            await work
        except asyncio.CancelledError:
            if not reason or task.uncancel() > 0:
                raise
            raise Cancelled(reason) from None
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def _disconnected(self, leave: Callable[[str], None]) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        leave("the client went away")

    async def _stalled(self, leave: Callable[[str], None]) -> None:
        """Look now and then, so that a token costs no timer of its own."""
        limit = self.context.write_seconds
        while time.monotonic() - self._blocked_since < limit:  # noqa: ASYNC110 - an event would cost each token more
            await asyncio.sleep(limit / 4)
        leave(f"the client read nothing for {limit:g} s")


Handler = Callable[[Call], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """A path and what answers it, with its guards: no route exists without a body limit and an origin of errors."""

    path: str
    dialect: Dialect
    methods: Mapping[str, Handler]
    inference: bool = False  # takes the large body limit, stops with the daemon
    manages: bool = False  # changes models: needs the right to
    below: bool = False  # also answers every path below it
