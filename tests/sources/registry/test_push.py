"""Pushing to a scripted registry: what is said, what is sent, and what makes it stop (contract section 3.3, R18)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from powerd.errors import Conflict, Forbidden, PowerError
from powerd.names import Name
from powerd.sources.registry import push as pushing
from powerd.sources.transport.outbound import Host, Outbound
from powerd.store.manifest import StoredModel
from powerd.store.store import Store
from tests.sources.evil import redirect
from tests.sources.models import SMALL, Statuses, blobs, config, push, stored
from tests.sources.scripted import Reply, Request, Scripted


class Taking(Scripted):
    """A registry that takes uploads in parts."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.parts: dict[str, bytes] = {}  # by upload
        self.held: dict[str, bytes] = {}  # by digest
        self.manifests: dict[str, bytes] = {}
        self.special: Callable[[Request], Reply | None] = lambda _request: None

    @property
    def name(self) -> str:
        return f"{self.host}/library/x:1"

    def _reply(self, request: Request) -> Reply:
        answers = {"GET": self.get, "HEAD": self.head, "POST": self.post, "PATCH": self.patch, "PUT": self.put}
        return self.special(request) or answers[request.method](request)

    def get(self, request: Request) -> Reply:
        size = len(self.parts.get(request.path, b""))
        return Reply("204 No Content", {"Location": request.path, "Range": f"0-{max(0, size - 1)}"})

    def head(self, request: Request) -> Reply:
        return Reply("200 OK" if request.path.rpartition("/")[2] in self.held else "404 Not Found", length=0)

    def post(self, request: Request) -> Reply:
        path = f"/uploads/{len(self.parts)}"
        self.parts[path] = b""
        return Reply("202 Accepted", {"Location": f"{path}?state=1"}, length=0)

    def patch(self, request: Request) -> Reply:
        self.parts[request.path] += request.body
        return Reply("202 Accepted", {"Location": f"{request.path}?state=2"}, length=0)

    def put(self, request: Request) -> Reply:
        if "/manifests/" in request.target:
            self.manifests[request.path] = request.body
        else:
            digest = re.search(r"digest=(sha256%3A[0-9a-f]{64})", request.target)
            assert digest is not None
            self.held[digest[1].replace("%3A", ":")] = self.parts[request.path]
        return Reply("201 Created", length=0)


@pytest.fixture
def model(store: Store) -> StoredModel:
    return stored(store, "x:1")


def refused(store: Store, model: StoredModel, server: Taking, message: str, **options: object) -> None:
    before = blobs(store)
    with pytest.raises(PowerError, match=message):
        push(store, model, server.name, **options)  # type: ignore[arg-type]  # passed on as they are
    assert blobs(store) == before
    assert server.manifests == {}


def test_what_is_said_and_what_arrives(store: Store, model: StoredModel) -> None:
    heard: Statuses = []
    with Taking() as server:
        push(store, model, server.name, heard=heard)
    assert server.held == {str(digest): data for digest, data in blobs(store).items()}
    assert server.manifests == {"/v2/library/x/manifests/1": store.manifest_bytes(model.name)}
    told = [status["status"] for status in heard]
    assert told[0] == "retrieving manifest"
    assert told[-2:] == ["pushing manifest", "success"]
    assert {"status": f"pushing {model.weights_digest.short}", "digest": str(model.weights_digest)} | {
        "total": len(SMALL),
        "completed": len(SMALL),
    } in heard
    put = next(request for request in server.requests if "digest=" in request.target)
    etag = hashlib.md5(hashlib.md5(SMALL).digest()).hexdigest()
    assert f"etag={etag}-1" in put.target
    assert "state=2" in put.target
    patch = next(request for request in server.requests if request.method == "PATCH")
    assert patch.headers["content-range"] == f"0-{len(SMALL) - 1}"
    assert patch.headers["content-type"] == "application/octet-stream"
    assert server.requests[-1].headers["content-type"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_r18_what_is_there_already_is_not_sent(store: Store, model: StoredModel) -> None:
    with Taking() as server:
        push(store, model, server.name)
        before = len(server.requests)
        heard: Statuses = []
        push(store, model, server.name, heard=heard)
        assert {request.method for request in server.requests[before:]} == {"HEAD", "PUT"}
    assert all(status["completed"] == status["total"] for status in heard if "total" in status)


def test_several_parts(store: Store, model: StoredModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powerd.sources.registry.upload._SMALLEST_PART", 400)
    with Taking() as server:
        push(store, model, server.name)
        ranges = [request.headers["content-range"] for request in server.requests if request.method == "PATCH"]
    assert ranges[:3] == ["0-399", "400-799", f"800-{len(SMALL) - 1}"]
    assert server.held[str(model.weights_digest)] == SMALL


@pytest.mark.parametrize("location", ["http://{other}/upload", "//{other}/upload", "https://{here}/x", "ftp://x/", ""])
@pytest.mark.parametrize("header", ["Location", "Docker-Upload-Location"])
def test_s17_r18_an_upload_does_not_leave_its_registry(
    store: Store, model: StoredModel, location: str, header: str
) -> None:
    with Taking() as other, Taking() as server:
        there = location.format(other=other.host, here=server.host)
        server.special = lambda request: (
            Reply("202 Accepted", {header: there} if there else {}, length=0) if request.method == "POST" else None
        )
        rules = config({server.host: Host(insecure=True, token="canary")})
        refused(store, model, server, "upload location changed origin|an upload without a Location", rules=rules)
        assert other.requests == []
        assert {request.method for request in server.requests} == {"HEAD", "POST"}


def test_s17_the_same_origin_in_other_words_is_the_same(store: Store, model: StoredModel) -> None:
    with Taking() as server:

        def absolute(request: Request) -> Reply | None:
            if request.method != "POST":
                return None
            reply = server.post(request)
            reply.headers["Location"] = f"http://{server.host}{reply.headers['Location']}"
            return reply

        server.special = absolute
        push(store, model, server.name)
    assert len(server.manifests) == 1


def test_a_part_may_be_sent_elsewhere_without_credentials(store: Store, model: StoredModel) -> None:
    with Taking() as bucket, Taking() as server:
        bucket.special = lambda request: Reply("200 OK", length=0)

        def away(request: Request) -> Reply | None:
            if request.method != "PATCH":
                return None
            server.parts[request.path] += request.body
            reply = redirect(f"http://{bucket.host}/part")
            reply.headers["Docker-Upload-Location"] = request.path
            return reply

        server.special = away
        push(store, model, server.name, config({server.host: Host(insecure=True, token="canary")}))
        assert all("authorization" not in request.headers for request in bucket.requests)
    assert SMALL in [request.body for request in bucket.requests]
    assert all(request.headers["x-redirect-uploads"] == "1" for request in server.requests if request.method == "PATCH")


def test_a_layer_is_mounted_from_where_it_came(store: Store) -> None:
    base = stored(store, "base:1")
    layers = [layer for layer in base.layers if layer.digest == base.weights_digest]
    child = store.publish(Name.parse("child:1"), [replace(layers[0], origin="base:1")], base.config)
    with Taking() as server:
        server.special = lambda request: Reply("201 Created", length=0) if "mount=" in request.target else None
        push(store, child, server.name)
        mounts = [request.target for request in server.requests if "mount=" in request.target]
        assert mounts == [f"/v2/library/x/blobs/uploads/?from=library%2Fbase&mount=sha256%3A{base.weights_digest.hex}"]
        assert str(base.weights_digest) not in server.held


def test_r18_an_upload_goes_on_where_the_registry_says_it_is(
    store: Store, model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("powerd.sources.registry.upload._SMALLEST_PART", 400)
    failed: list[Request] = []

    def once(request: Request) -> Reply | None:
        if request.headers.get("content-range") != "400-799" or failed:
            return None
        failed.append(request)
        server.parts[request.path] += request.body[:100]
        return Reply("502 Bad", length=0)

    with Taking() as server:
        server.special = once
        push(store, model, server.name)
        ranges = [request.headers["content-range"] for request in server.requests if request.method == "PATCH"]
    assert ranges[:3] == ["0-399", "400-799", f"500-{500 + 399}"]
    assert server.held[str(model.weights_digest)] == SMALL


def test_r18_an_upload_the_registry_forgot_begins_anew(store: Store, model: StoredModel) -> None:
    failed: list[Request] = []

    def forgets(request: Request) -> Reply | None:
        if request.method == "PATCH" and not failed:
            failed.append(request)
            return Reply("503 Busy", length=0)
        return Reply("404 Not Found", length=0) if request.method == "GET" else None

    with Taking() as server:
        server.special = forgets
        push(store, model, server.name)
    assert server.held[str(model.weights_digest)] == SMALL


@pytest.mark.parametrize(
    ("method", "status", "message"),
    [
        ("PATCH", "404 Gone", "file does not exist"),
        ("PATCH", "413 Large", "413: "),
        ("PATCH", "500 No", "500 Internal Server Error; gave up after 6 tries"),
        ("POST", "403 No", "403: "),
        ("POST", "401 No", "unauthorized: access denied"),
        ("HEAD", "403 No", "answered 403 to HEAD"),
        ("PUT", "400 Bad", "400: "),
        ("PUT", "302 Found", "answered 302"),
    ],
)
def test_r18_registries_that_refuse(store: Store, model: StoredModel, method: str, status: str, message: str) -> None:
    with Taking() as server:
        server.special = lambda request: Reply(status, length=0) if request.method == method else None
        refused(store, model, server, message)


@pytest.mark.parametrize("what", ["digest=", "/manifests/"])
def test_r18_a_registry_that_stores_something_else(store: Store, model: StoredModel, what: str) -> None:
    wrong = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}

    def lie(request: Request) -> Reply | None:
        return Reply("201 Created", wrong, length=0) if request.method == "PUT" and what in request.target else None

    with Taking() as server:
        server.special = lie
        refused(store, model, server, "digest mismatch: the registry says")


def test_s22_strangers_push_only_where_powerd_yaml_says(store: Store, model: StoredModel) -> None:
    with Taking() as server:
        with pytest.raises(Forbidden, match="callers on other machines may push to only hosts"):
            push(store, model, server.name, insecure=False, trusted=False)
        with pytest.raises(Forbidden, match="registry host not allowed"):
            push(store, model, "registry.ollama.ai/attacker/x:1", insecure=False, trusted=False)
        assert server.requests == []
        push(store, model, server.name, config({server.host: Host(insecure=True)}), insecure=False, trusted=False)


def test_s22_a_corrupt_blob_is_not_sent(store: Store, model: StoredModel) -> None:
    model.weights.chmod(0o600)
    model.weights.write_bytes(b"secrets of the heap" + SMALL[19:])
    with Taking() as server:
        with pytest.raises(Conflict, match="corrupt, re-pull"):
            push(store, model, server.name)
        assert all(request.body == b"" for request in server.requests)


def test_a_model_that_is_not_here(store: Store, model: StoredModel) -> None:
    store.remove_manifest(model.name)
    heard: Statuses = []
    with Taking() as server, pytest.raises(Conflict, match="couldn't retrieve manifest"):
        push(store, model, server.name, heard=heard)
    assert [status["status"] for status in heard] == ["retrieving manifest", "couldn't retrieve manifest"]


def test_r18_cancelling_ends_within_a_second(store: Store, model: StoredModel) -> None:
    async def run(server: Taking) -> None:
        async with Outbound(config()) as outbound:
            name = Name.parse(server.name)
            work = pushing.push(model, name, store, outbound, on_status=lambda _: None, insecure=True)
            task = asyncio.create_task(work)
            while "PATCH" not in {request.method for request in server.requests}:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 1
            assert len(asyncio.all_tasks()) == 1

    with Taking() as server:
        server.special = lambda request: Reply(silence=30.0) if request.method == "PATCH" else None
        asyncio.run(run(server))
    assert server.manifests == {}


def test_the_path_of_a_blob_is_never_the_remote_name(store: Store, model: StoredModel, tmp_path: Path) -> None:
    with Taking() as server:
        push(store, model, server.name)
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
