"""The API over its real owners in this process: a store with the demo model, the library, the render helpers and a
fleet whose runners are tests/fake_runner.py. Requests go straight into the ASGI application.

The fake runner answers "0 1 2 …", `num_predict` tokens of it, and takes orders at the end of a raw prompt.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Coroutine, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from powerd.api.app import SOCKET_ROUTES, TCP_ROUTES, AsgiApp, build_app
from powerd.api.auth import access
from powerd.api.context import ApiContext
from powerd.catalog.spec import ALWAYS, Catalog, ModelSpec, Position
from powerd.fleet.fleet import Fleet
from powerd.fleet.renderers import Renderers
from powerd.fleet.terms import FleetConfig, Wish
from powerd.names import Name
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.library import Library
from powerd.reconcile.making.compose import compose, declared_offer
from powerd.reconcile.offer import OWNED_TEMPLATE, Offer
from powerd.reconcile.pulls import Pulls
from powerd.reconcile.reach import Reach
from powerd.reconcile.step import Fetched
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Outbound
from powerd.store.manifest import LICENSE_TYPE, MODEL_TYPE, PARAMS_TYPE, TEMPLATE_TYPE, Layer, describe
from powerd.store.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
EMBED = ROOT / "tests" / "models" / "tiny-embed-q8_0.gguf"
RUNNER = (sys.executable, str(ROOT / "tests" / "fake_runner.py"))

Result = TypeVar("Result")


class Rig:
    """Its own event loop in a thread, so that plain tests can ask and wait."""

    def __init__(self, directory: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.store = Store(directory / "store")
        self.reasons: list[str] = []
        self.stopping = False

    def __enter__(self) -> Rig:
        self._thread.start()
        self.store.open()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self.store.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, Result], timeout: float = 30) -> Result:
        """Await something on the rig's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    async def _start(self) -> None:
        self.fleet = Fleet(FleetConfig(max_queue=4), RUNNER)
        self.library = Library(
            self.store, self.fleet, NodeDefaults(), Pulls(Reach(self.store, Outbound(), HubConfig()))
        )
        self.renderers = Renderers(count=1)
        await self.fleet.start()
        await self.renderers.start()
        await asyncio.to_thread(self._publish)
        await self.library.refresh()
        self.context = ApiContext(
            library=self.library,
            store=self.store,
            fleet=self.fleet,
            renderers=self.renderers,
            version="0.1.0",
            started=time.monotonic(),
            stopping=lambda: self.stopping,
            not_ready=lambda: self.reasons,
            fresh=self._look,
        )
        self.tcp = self.app()
        self.socket = build_app(self.context, None, SOCKET_ROUTES)

    async def _look(self) -> None:
        """Nothing is known here that could be out of date."""

    async def _stop(self) -> None:
        await self.fleet.stop(0)
        await self.renderers.stop()

    def app(self, *, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = (), **changes: Any) -> AsgiApp:
        """A TCP application; `changes` are fields of the context, `mutations` of the rules."""
        mutations = changes.pop("mutations", "local")
        rules = access(
            bound="127.0.0.1", hostname="rig", allowed_hosts=hosts, allowed_origins=origins, mutations=mutations
        )
        return build_app(replace(self.context, **changes), rules, TCP_ROUTES)

    # ------------------------------------------------------------ models

    def _publish(self) -> None:
        """`demo` and `tuned` are installed, `plain` can only complete, `embed` makes vectors only."""
        weights = self.store.take(DEMO)
        layer = Layer(MODEL_TYPE, weights, DEMO.stat().st_size)
        demo = self.store.publish(Name.parse("demo"), [layer], {"model_format": "gguf", "model_type": "2.89M"})
        params, size = self.store.put(json.dumps({"num_predict": 3, "stop": ["<a>", "<b>"]}).encode())
        license_text, length = self.store.put(b"Do as you like.")
        layers = [layer, Layer(PARAMS_TYPE, params, size), Layer(LICENSE_TYPE, license_text, length)]
        self.store.publish(Name.parse("ns/tuned:v1"), layers, describe(demo.header))
        template, length = self.store.put(b"{{ .Prompt }}")
        layers = [layer, Layer(TEMPLATE_TYPE, template, length)]
        self.store.publish(Name.parse("plain"), layers, {**describe(demo.header), OWNED_TEMPLATE: "owner"})
        vectors = self.store.take(EMBED)
        self.store.publish(Name.parse("embed"), [Layer(MODEL_TYPE, vectors, EMBED.stat().st_size)], {})

    def declare(self, name: str, **fields: Any) -> Offer:
        """Declare the demo model under a name, as models.yaml would."""
        return self.run(self._declare(name, fields))

    async def _declare(self, name: str, fields: dict[str, Any]) -> Offer:
        spec = ModelSpec(Name.declared(name), "builtin:demo", Position("models.yaml", 1, 1), **fields)
        installed = self.library.find("demo").stored
        fetched = Fetched(spec.source, "builtin", installed.weights_digest, installed.weights_digest)
        stored = await asyncio.to_thread(compose, spec, fetched, installed.header, self.store)
        offer = declared_offer(spec, stored, NodeDefaults())
        self.library.declare(Catalog({spec.display: spec}))
        self.library.set_offer(spec, offer)
        key = offer.deployment.key
        stays = spec.state == "loaded" or spec.keep_alive == ALWAYS
        self.fleet.wish({key: Wish(offer.deployment, (name,), loaded=stays, keep_alive=spec.keep_alive)})
        return offer

    def withdraw(self) -> None:
        """Nothing is declared any more."""
        self.run(self._withdraw())

    async def _withdraw(self) -> None:
        for spec in [declared.spec for declared in self.library._declared.values()]:
            self.library.forget(spec)
        self.fleet.wish({})

    # ------------------------------------------------------------ requests

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        app: AsgiApp | None = None,
        peer: str = "127.0.0.1",
        **headers: str,
    ) -> httpx.Response:
        """One request; a body that is not bytes goes as JSON. Header names are written with underscores."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.run(self._ask(app or self.tcp, method, path, content, peer, sent))

    @staticmethod
    async def _ask(
        app: AsgiApp, method: str, path: str, content: bytes | None, peer: str, headers: dict[str, str]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False) as client:
            return await client.request(method, path, content=content, headers=headers)

    def get(self, path: str, **headers: Any) -> httpx.Response:
        """GET over TCP."""
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: object, **headers: Any) -> httpx.Response:
        """POST over TCP."""
        return self.ask("POST", path, body, **headers)

    def lines(self, path: str, body: object) -> list[dict[str, Any]]:
        """The objects of an NDJSON answer."""
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.text.endswith("\n")
        return [json.loads(line) for line in answer.text.splitlines()]

    def events(self, path: str, body: object) -> list[dict[str, Any] | str]:
        """The data of a stream of server-sent events; `[DONE]` stays text."""
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/event-stream"
        blocks = answer.text.split("\n\n")
        assert blocks.pop() == ""
        texts = [block.removeprefix("data: ") for block in blocks]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]


@dataclass
class Client:
    """A client by hand: sends what it is told, and may go away."""

    app: AsgiApp
    path: str
    pieces: list[bytes | None]  # None = no more comes, and nothing says so
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    sent: list[MutableMapping[str, Any]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    deaf: bool = False  # stops reading after the head

    async def receive(self) -> MutableMapping[str, Any]:
        """The next piece of the body, else nothing until the client goes away."""
        if self.pieces and (piece := self.pieces.pop(0)) is not None:
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a piece of the answer, unless deaf."""
        if self.deaf and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.sent.append(message)

    async def talk(self) -> None:
        """The whole exchange."""
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "query_string": b"",
            "headers": [(b"host", b"localhost"), *self.headers],
            "client": ("127.0.0.1", 1),
        }
        await self.app(scope, self.receive, self.send)

    @property
    def status(self) -> int:
        """Of the answer, 0 when none came."""
        return next((message["status"] for message in self.sent if message["type"] == "http.response.start"), 0)

    @property
    def body(self) -> bytes:
        """Of the answer so far."""
        return b"".join(message.get("body", b"") for message in self.sent)
