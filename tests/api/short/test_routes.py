"""The short routes over real owners."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from powerd.api.short.schema import PullRequest, wanted
from powerd.errors import BadRequest
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.library import Library
from powerd.reconcile.pulls import Pulls
from powerd.reconcile.reach import Reach
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Host, Outbound, OutboundConfig
from powerd.store.manifest import CONFIG_TYPE, MODEL_TYPE
from tests.api.rig import DEMO, EMBED, Rig

HI = [{"role": "user", "content": "hi"}]


def test_chat_answers_with_one_object(rig: Rig) -> None:
    answer = rig.post("/chat", {"model": "Demo", "messages": HI, "max_tokens": 3, "temperature": 0})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    assert told["message"] == {"role": "assistant", "content": "0 1 2 "}
    assert (told["model"], told["done"], told["done_reason"], told["eval_count"]) == ("Demo", True, "length", 3)
    assert told["created_at"].endswith("Z")
    assert all(isinstance(told[name], int) for name in told if name.endswith(("_duration", "_count")))


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "model is required"),
        ({"model": "demo"}, 400, "messages must hold at least one message"),
        ({"model": "demo", "messages": HI, "temperature": 1000}, 400, "between 0 and 100"),
        ({"model": "nope", "messages": HI}, 404, "model 'nope' not found"),
        ({"model": "demo", "messages": [{"role": "user"}]}, 400, "content"),
    ],
)
def test_a_bad_chat_says_what_is_wrong(rig: Rig, body: Any, status: int, text: str) -> None:
    answer = rig.post("/chat", body)
    assert (answer.status_code, answer.json().keys()) == (status, {"detail", "error"})
    assert text in answer.json()["detail"]


def test_models_say_which_are_loaded(rig: Rig) -> None:
    rig.post("/chat", {"model": "demo", "messages": HI, "max_tokens": 1})
    rows = {row["model"]: row for row in rig.get("/models").json()["models"]}
    assert set(rows["demo:latest"]) == {"model", "description", "loaded", "backend", "size_bytes", "load_duration"}
    assert (rows["demo:latest"]["loaded"], rows["demo:latest"]["backend"]) == (True, "llama.cpp")
    assert rows["demo:latest"]["size_bytes"] > 0


def test_status_tells_what_is_wrong(rig: Rig) -> None:
    assert rig.get("/status").json()["status"] == "ok"
    rig.reasons = ["the disk is full"]
    try:
        told = rig.get("/status").json()
    finally:
        rig.reasons = []
    assert (told["status"], told["reasons"], told["failed_loads"]) == ("degraded", ["the disk is full"], [])


@pytest.mark.parametrize(
    ("quantize", "name"),
    [
        ("auto", "Org/Repo"),
        ("q4", "Org/Repo:Q4_K_M"),
        ("no", "Org/Repo:F16"),
        ("fp32", "Org/Repo:F32"),
        ("Q5_K_S", "Org/Repo:Q5_K_S"),
    ],
)
def test_quantize_chooses_a_file_of_the_repository(quantize: str, name: str) -> None:
    assert wanted(PullRequest("Org/Repo", quantize)) == name


@pytest.mark.parametrize("model", ["llama3.2", "Org/Repo:Q8_0"])
def test_quantize_is_refused_where_it_cannot_choose(model: str) -> None:
    with pytest.raises(BadRequest, match="name the tag"):
        wanted(PullRequest(model, "q4"))


def test_pull_refuses_what_is_no_name(rig: Rig) -> None:
    assert rig.post("/pull", {}).json()["error"] == "model is required"
    assert rig.post("/pull", {"model": "../../etc"}).status_code == 400


# ---------------------------------------------------------------- which file `auto` takes


class Registry(BaseHTTPRequestHandler):
    """Two tags of one repository: `F16` is the larger one."""

    config = b"{}"
    tags: ClassVar = {"latest": EMBED.read_bytes(), "F16": DEMO.read_bytes()}

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        *_, kind, last = self.path.split("/")
        blobs = {_digest(data): data for data in (self.config, *self.tags.values())}
        data = blobs.get(last) if kind == "blobs" else self._manifest(last)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if with_body and data:
            self.wfile.write(data)

    def _manifest(self, tag: str) -> bytes | None:
        weights = self.tags.get(tag)
        if weights is None:
            return None
        layers = [_layer(MODEL_TYPE, weights)]
        return json.dumps({"schemaVersion": 2, "config": _layer(CONFIG_TYPE, self.config), "layers": layers}).encode()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _layer(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


@pytest.fixture
def repository(rig: Rig) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/org/repo"
        server.shutdown()


def pulled(rig: Rig, repository: str, q4_above: int, **more: object) -> Any:
    """The answer to a POST /pull of a powerd that may speak HTTP with the repository."""
    host = repository.partition("/")[0]
    outbound = Outbound(OutboundConfig(hosts={host: Host(insecure=True)}))
    pulls = Pulls(Reach(rig.store, outbound, HubConfig()))
    library = Library(rig.store, rig.fleet, NodeDefaults(), pulls)
    answer = rig.post("/pull", {"model": repository, **more}, app=rig.app(library=library, q4_above=q4_above))
    assert answer.status_code == 200, answer.text
    rig.run(outbound.aclose())
    rig.run(library.delete(repository))
    return answer.json()


@pytest.mark.parametrize(
    ("q4_above", "more", "taken"),
    [
        (0, {}, EMBED),
        (10**9, {}, DEMO),
        (10**6, {}, EMBED),
        (10**9, {"quantize": "AUTO"}, DEMO),
        (10**6, {"quantize": "fp16"}, DEMO),
    ],
)
def test_auto_takes_what_is_not_quantized_up_to_a_bound(
    rig: Rig, repository: str, q4_above: int, more: dict[str, str], taken: Any
) -> None:
    told = pulled(rig, repository, q4_above, **more)
    assert (told["status"], told["model"]) == ("ok", repository)
    assert told["backend"]["size_bytes"] == taken.stat().st_size + len(Registry.config)
