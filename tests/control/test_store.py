"""The store's routes on the control socket, over a real store, in this process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from powerd.control import store as routes
from powerd.control.app import _refuse
from powerd.control.schema_store import Step
from powerd.digest import Digest
from powerd.errors import Cancelled, PowerError
from powerd.names import Name
from powerd.store.store import Store
from tests.store.deeds import content, pull
from tests.store.shelves import add_model

Client = TestClient[Litestar]


class Rig:
    """A store and its routes. `in_use`: what runners have open; `refreshed`: how often models were read anew."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.in_use: set[Digest] = set()
        self.refreshed = 0

    async def changed(self) -> None:
        self.refreshed += 1

    def app(self) -> Litestar:
        handlers = routes.handlers(self.store, 0.5, lambda: self.in_use, self.changed)
        return Litestar(handlers, openapi_config=None, exception_handlers={PowerError: _refuse})


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path / "store")
    rig.store.open()
    yield rig
    rig.store.close()


@pytest.fixture
def client(rig: Rig) -> Iterator[Client]:
    with TestClient(rig.app()) as client:
        yield client


def lines(client: Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_df_is_the_stores_usage(rig: Rig, client: Client) -> None:
    pull(rig.store, "one", 1, "text")
    usage = client.get("/v1/store/df").json()
    assert usage["blobs"] == 3
    assert [model["name"] for model in usage["models"]] == ["one:latest"]


def test_gc_deletes_what_is_not_needed_and_keeps_what_runs(rig: Rig, client: Client) -> None:
    pull(rig.store, "one", 1, "text")
    pull(rig.store, "two", 2, "text")
    rig.store.remove_manifest(Name.parse("one"))
    rig.in_use = {Digest.of(content(1))}
    (rig.store.root / ".powerd" / "ingest" / "left").write_bytes(bytes(10_000))
    reply = client.post("/v1/store/gc", json={}).json()
    assert len(reply["deleted"]) == 1  # the config; the weights are in use, the text is shared
    assert reply["bytes"] > 10_000
    assert rig.store.blob(Digest.of(content(1))) is not None
    rig.in_use = set()
    assert client.post("/v1/store/gc", json={"grace": 3600}).json()["deleted"] == []
    assert len(client.post("/v1/store/gc", json={}).json()["deleted"]) == 1
    assert [model.name.model for model in rig.store.models()] == ["two"]


def test_gc_keeps_to_the_fraction_unless_forced_and_tells_what_blocks_it(rig: Rig, client: Client) -> None:
    pull(rig.store, "one", 1, "text")
    rig.store.remove_manifest(Name.parse("one"))
    refused = client.post("/v1/store/gc", json={})
    assert refused.status_code == 409
    assert "max_delete_fraction" in refused.json()["error"]
    torn = rig.store.root / "manifests/registry.ollama.ai/library/torn/latest"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"{")
    assert client.post("/v1/store/gc", json={"force": True}).json() == {
        "deleted": [],
        "bytes": 0,
        "blocked": [str(torn)],
    }
    torn.unlink()
    assert len(client.post("/v1/store/gc", json={"force": True}).json()["deleted"]) == 3
    assert client.post("/v1/store/gc", json={"grace": -1}).status_code == 400


def test_s06_fsck_streams_to_its_report(rig: Rig, client: Client) -> None:
    pull(rig.store, "one", 1, "text")
    path = rig.store.blob(Digest.of(content(1)))
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))
    *_, last = lines(client, "/v1/store/fsck", {})
    assert last["report"]["sound"] is False
    assert [finding["kind"] for finding in last["report"]["findings"]] == ["corrupt"]
    assert path.exists()
    *_, last = lines(client, "/v1/store/fsck", {"repair": True})
    assert last["report"]["findings"][0]["moved_to"]
    assert not path.exists()
    assert rig.refreshed == 2


def test_adopt_and_forget(rig: Rig, client: Client, tmp_path: Path) -> None:
    add_model(tmp_path / "theirs", "registry.ollama.ai/library/demo/latest")
    *_, last = lines(client, "/v1/store/adopt", {"path": str(tmp_path / "theirs")})
    assert last["adopted"]["models"] == ["demo:latest"]
    assert [model.read_only for model in rig.store.models()] == [True]
    *_, last = lines(client, "/v1/store/adopt", {"path": str(tmp_path / "theirs"), "how": "forget"})
    assert last["adopted"]["how"] == "forget"
    assert rig.store.models() == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"path": "/nowhere"}, "neither an Ollama directory"),
        ({"path": "relative"}, "absolute path"),
        ({"path": "/nowhere", "how": "forget"}, "was not adopted"),
    ],
)
def test_what_cannot_be_adopted_ends_the_stream_with_the_reason(
    client: Client, body: dict[str, Any], text: str
) -> None:
    (line,) = lines(client, "/v1/store/adopt", body)
    assert text in line["error"]


def test_an_unknown_way_to_adopt_is_refused(client: Client) -> None:
    assert client.post("/v1/store/adopt", json={"path": "/x", "how": "steal"}).status_code == 400


def test_progress_is_paced_and_a_client_that_leaves_stops_the_work() -> None:
    stopped = threading.Event()

    def work(tell: routes.Tell) -> Step:
        try:
            for number in range(10_000_000):
                tell("x", number, 10_000_000)
        except Cancelled:
            stopped.set()
            raise
        return Step()

    async def leave() -> list[dict[str, Any]]:
        async def changed() -> None:
            """Nothing has."""

        stream = routes._lines(work, changed)
        heard = [json.loads(await anext(stream)) for _ in range(3)]
        await stream.aclose()
        assert await asyncio.to_thread(stopped.wait, 5)
        return heard

    heard = asyncio.run(leave())
    assert [step["subject"] for step in heard] == ["x"] * 3
    assert heard[0]["completed"] < heard[1]["completed"] < heard[2]["completed"]


def test_a_bug_in_the_work_is_told_without_its_inside() -> None:
    def work(_tell: routes.Tell) -> Step:
        raise RuntimeError("secret")

    async def run() -> list[bytes]:
        async def changed() -> None:
            """Nothing has."""

        return [line async for line in routes._lines(work, changed)]

    (line,) = asyncio.run(run())
    assert json.loads(line) == {"error": "internal error; see powerd's log"}
